//! Exports read by independent tools have exactly the values of the trail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use threadline_core::action;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_diesel::{AuditError, AuditedWrite, Timeline, audited};
use threadline_export::{ActionColumns, CsvOptions, Export, Format, FormulaGuard};

use crate::harness::{Trail, block_on};
use crate::python::python_with;

/// Texts that exports often escape incorrectly.
const SPECIAL_TEXTS: [&str; 16] = [
    "",
    " ",
    "'",
    "''=1",
    "=cmd|' /C calc'!A0",
    "+1",
    "-1+2",
    "@SUM(A1)",
    "\t=1",
    "\r\n=1",
    "\"quoted\", and; separated",
    "a\nb\r\nc\rd",
    "\\N \\. \\u0041 \u{1} \u{7f}",
    "日本語 🦀 e\u{301} \u{202e}abc \u{2028}\u{feff}",
    "＝1",
    "NULL",
];

/// Converts an actor into its JSON form.
const ACTOR_JSON: &str = r#"
    CREATE FUNCTION actor_json(actor text) RETURNS text LANGUAGE sql RETURN
        CASE WHEN actor = 'anonymous' THEN '{"type": "anonymous"}' ELSE (
            SELECT json_build_object('type', parts[1], 'id', parts[2])::text
            FROM regexp_match(actor, '^([^:]*):(.*)$') AS parts WHERE parts IS NOT NULL
        ) END"#;

/// The trail as JSON from PostgreSQL, with every value as text.
const AS_TEXT: &str = r#"
    SELECT json_agg(json_build_object(
        'id', c.id::text,
        'captured_at', to_char(c.captured_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'op', c.op,
        'table_schema', c.table_schema,
        'table_name', c.table_name,
        'table_pk', c.table_pk::text,
        'changed_fields', CASE WHEN c.op = 'update' THEN
            (SELECT json_agg(field ORDER BY field COLLATE "C")::text
             FROM jsonb_object_keys(c.changed_from) AS field) END,
        'changed_from', c.changed_from::text,
        'data_after', c.data_after::text,
        'actor_ref', actor_json(c.actor),
        'on_behalf_of', actor_json(COALESCE(a.on_behalf_of,
            CASE WHEN c.actor IS NOT DISTINCT FROM t.actor THEN t.on_behalf_of END)),
        'transaction_id', c.transaction_id::text,
        'occurred_at', to_char(t.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'request_id', COALESCE(a.request_id, t.request_id),
        'correlation_id', COALESCE(a.correlation_id, t.correlation_id),
        'job_id', COALESCE(a.job_id, t.job_id),
        'source', t.context ->> 'source',
        'remote_addr', t.context ->> 'remote_addr',
        'meta', (t.context -> 'meta')::text,
        'db_user', t.db_user,
        'application_name', t.application_name,
        'partition_name', c.partition_name,
        'action_id', c.action_id::text,
        'action_name', a.name,
        'action_status', a.status,
        'verb', a.verb,
        'category', a.category,
        'reason', a.reason,
        'comment', a.comment
    ) ORDER BY c.captured_at, c.id)
    FROM threadline.audit_changes AS c
    LEFT JOIN threadline.audit_transactions AS t ON t.id = c.transaction_id
    LEFT JOIN threadline.audit_actions AS a ON a.id = c.action_id"#;

/// Values, as SQL, that exports often change or lose, by type.
const HARD_VALUES: &[(&str, &[&str])] = &[
    ("bool", &["true", "false"]),
    ("int8", &["9223372036854775807", "'-9223372036854775808'"]),
    (
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "1.0",
            "1.00",
            "1e-20",
            "1234567890123456789012345678901234567890",
            "-0.1234567890123456789012345678901234567890",
        ],
    ),
    ("float4", &["'NaN'", "'-Infinity'", "'-0'", "3.4028235e38"]),
    (
        "float8",
        &[
            "'NaN'",
            "'Infinity'",
            "'-0'",
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
        ],
    ),
    (
        "text",
        &["''", "'null'", "'NaN'", "'t'", "E'\\b\\f\\x7f'", "'=1+1'"],
    ),
    ("char(5)", &["'ab'", "''"]),
    ("bytea", &["'\\x00ff'", "''"]),
    ("date", &["'infinity'", "'0044-03-15 BC'", "'12345-01-01'"]),
    ("time", &["'24:00:00'"]),
    ("timetz", &["'23:59:59.999999-12'"]),
    (
        "timestamp",
        &[
            "'-infinity'",
            "'0001-01-01 BC'",
            "'2024-03-01 10:00:00.000001'",
        ],
    ),
    ("timestamptz", &["'infinity'", "'2024-03-01 10:00:00.5+09'"]),
    (
        "interval",
        &["'24:00'", "'1 day'", "'-1 mon +2 days -00:00:01.5'"],
    ),
    (
        "json",
        &[
            r#"'{"a":  1, "a":"\u0000"}'"#,
            r#"'"\u0000"'"#,
            "'1e400'",
            "'null'",
            "'[1.10, 1E2]'",
        ],
    ),
    (
        "jsonb",
        &[r#"'{"a": 1.10}'"#, "'1e400'", "'null'", r#"'""'"#],
    ),
    ("inet", &["'10.0.0.1/8'", "'::1'"]),
    ("money", &["'-1234567.89'"]),
    ("point", &["'(1.1,-0)'"]),
    (
        "tstzrange",
        &["'[2024-01-01 00:00+09,infinity)'", "'empty'"],
    ),
    (
        "text[]",
        &[r#"'{a,"b c",NULL,"","NULL"}'"#, "'{}'", "'[-1:0]={x,y}'"],
    ),
    (
        "numeric[]",
        &["'{1.0,NaN,1234567890123456789012345678901234567890}'"],
    ),
    ("jsonb[]", &[r#"'{"[1,2]","{}",NULL}'"#]),
];

/// Inserts a row for each value, sets the value to NULL and deletes some rows.
pub(crate) fn write_hard_values(trail: &Trail) {
    let columns: Vec<_> = HARD_VALUES
        .iter()
        .enumerate()
        .map(|(index, (of, _))| format!("c{index} {of}"))
        .collect();
    trail.run(&format!(
        "CREATE TABLE hard (id int PRIMARY KEY, {})",
        columns.join(", ")
    ));
    trail.capture("hard");
    let mut id = 0;
    for (index, (of, values)) in HARD_VALUES.iter().enumerate() {
        for value in *values {
            id += 1;
            trail.run(&format!(
                "INSERT INTO hard (id, c{index}) VALUES ({id}, {value}::{of});
                 UPDATE hard SET c{index} = NULL WHERE id = {id}"
            ));
        }
    }
    trail.run("DELETE FROM hard WHERE id % 2 = 0");
}

/// A trail with all ops and attributions, and the texts in all places where a text can be.
fn special_trail() -> Trail {
    let trail = Trail::with_table(
        "special",
        "id bigint PRIMARY KEY, body text, amount numeric, at timestamptz, \"=f()\" text[]",
    );
    trail.run(
        "INSERT INTO special VALUES
             (1, NULL, 12345678901234567890.123456789012345678901234567890, 'infinity', NULL),
             (2, '', 1.10, '2026-01-01 00:00:00.000001+05:30', ARRAY['', NULL, '\"']),
             (3, repeat('long \"text\" ', 100000), 0.000, '-infinity', '{}'),
             (9223372036854775807, 'x', 'NaN', NULL, NULL);
         UPDATE special SET amount = 1e-20, \"=f()\" = ARRAY['=1'] WHERE id = 1;
         DELETE FROM special WHERE id = 2;
         SET application_name = '=HYPERLINK(\"http://x\")'; UPDATE special SET body = 'y'",
    );
    for (number, text) in SPECIAL_TEXTS.into_iter().enumerate() {
        block_on(write(&trail, i64::try_from(number).unwrap() + 100, text)).unwrap();
    }
    trail.run("TRUNCATE special");
    write_hard_values(&trail);
    trail
}

async fn write(trail: &Trail, id: i64, text: &str) -> Result<(), AuditError> {
    let actor = ActorRef::user(format!("{text}{id}")).unwrap_or_else(|_| ActorRef::anonymous());
    let mut context = AuditContext::new(actor).source("tests").meta("text", text);
    if let Ok(represented) = ActorRef::user(text) {
        context = context.on_behalf_of(represented);
    }
    let action = action!("special.write")
        .comment(text)
        .reason(text)
        .verb("=write");
    let write = AuditedWrite::new(context).action(action);
    audited(&mut trail.connect().await, &write, async |conn| {
        diesel::sql_query("INSERT INTO special VALUES ($1, $2)")
            .bind::<diesel::sql_types::BigInt, _>(id)
            .bind::<Text, _>(text)
            .execute(conn)
            .await?;
        Ok::<_, AuditError>(())
    })
    .await?;
    Ok(())
}

/// Exports the trail and compares the export with the trail in Python.
fn assert_reads_back(python: &Path, kind: &str, file_name: &str, export: &Export) {
    let trail = special_trail();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(file_name);
    let export = export.clone().action_columns(ActionColumns::With);
    block_on(async {
        export
            .write_file(&mut trail.connect().await, &path, |_| {})
            .await
    })
    .unwrap();
    let expected = directory.path().join("trail.json");
    trail.run(ACTOR_JSON);
    fs::write(&expected, trail.query(AS_TEXT)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/read_back.py");
    let output = Command::new(python)
        .arg(script)
        .arg(kind)
        .args([&path, &expected])
        .output();
    let output = output.expect("python3 runs");
    let changes = trail.query("SELECT count(*) FROM threadline.audit_changes");
    assert_eq!(stdout(&output).trim(), format!("{changes} rows agree"));
}

fn stdout(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn full_export() -> Export {
    Export::new(Timeline::new())
}

#[test]
fn python_reads_guarded_csv_back_exactly() {
    let export = full_export().format(Format::Csv(CsvOptions::new()));
    assert_reads_back(Path::new("python3"), "csv", "trail.csv", &export);
}

#[test]
fn python_reads_unguarded_csv_back_exactly() {
    let options = CsvOptions::new().formula_guard(FormulaGuard::Off);
    let export = full_export().format(Format::Csv(options));
    assert_reads_back(Path::new("python3"), "csv-unguarded", "trail.csv", &export);
}

#[test]
fn python_reads_ndjson_back_exactly() {
    assert_reads_back(
        Path::new("python3"),
        "ndjson",
        "trail.ndjson",
        &full_export(),
    );
}

#[test]
fn python_reads_the_json_document_back_exactly() {
    let export = full_export().format(Format::Json);
    assert_reads_back(Path::new("python3"), "json", "trail.json.out", &export);
}

#[test]
fn python_reads_gzipped_ndjson_back_exactly() {
    let export = full_export().compression(threadline_export::Compression::Gzip);
    assert_reads_back(Path::new("python3"), "ndjson", "trail.ndjson.gz", &export);
}

#[test]
fn pyarrow_reads_parquet_back_exactly() {
    let Some(python) = python_with_readers() else {
        return;
    };
    let export = full_export().format(Format::Parquet);
    assert_reads_back(python, "parquet", "trail.parquet", &export);
}

#[test]
fn duckdb_reads_parquet_back_exactly() {
    let Some(python) = python_with_readers() else {
        return;
    };
    let export = full_export().format(Format::Parquet);
    assert_reads_back(python, "duckdb-parquet", "trail.parquet", &export);
}

#[test]
fn duckdb_reads_csv_back_exactly_with_null_and_empty_strings() {
    let Some(python) = python_with_readers() else {
        return;
    };
    let options = CsvOptions::new().formula_guard(FormulaGuard::Off);
    let export = full_export().format(Format::Csv(options));
    assert_reads_back(python, "duckdb-csv", "trail.csv", &export);
}

/// A Python virtual environment with pyarrow and `DuckDB`; none if it cannot be created.
pub(crate) fn python_with_readers() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let create = || python_with("readers", &["pyarrow", "duckdb"], "import duckdb, pyarrow");
    PYTHON.get_or_init(create).as_deref()
}

/// Converts the trail into the form of an export and compares both.
const COMPARE_IN_JQ: &str = r#"
    ["table_pk", "changed_fields", "changed_from", "data_after", "actor_ref", "on_behalf_of", "meta"]
        as $documents
    | ["id"] as $numbers
    | [$trail[0][] | with_entries(
        .key as $name
        | if .value == null then .
          elif $documents | index($name) then .value |= fromjson
          elif $numbers | index($name) then .value |= tonumber
          else . end
      )] as $expected
    | if $expected == $export then "\($export | length) rows agree"
      else [$expected, $export] | transpose | map(select(.[0] != .[1])) | first end"#;

#[test]
fn jq_reads_ndjson_back_exactly() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("skipped: jq is not installed");
        return;
    }
    let trail = special_trail();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trail.ndjson");
    let export = full_export().action_columns(ActionColumns::With);
    block_on(async {
        export
            .write_file(&mut trail.connect().await, &path, |_| {})
            .await
    })
    .unwrap();
    let expected = directory.path().join("trail.json");
    trail.run(ACTOR_JSON);
    fs::write(&expected, trail.query(AS_TEXT)).unwrap();
    let output = Command::new("jq")
        .args(["-n", "-r", "--slurpfile", "trail"])
        .arg(&expected)
        .args(["--slurpfile", "export"])
        .arg(&path)
        .arg(COMPARE_IN_JQ)
        .output()
        .unwrap();
    let changes = trail.query("SELECT count(*) FROM threadline.audit_changes");
    assert_eq!(stdout(&output).trim(), format!("{changes} rows agree"));
}

#[test]
fn csv_distinguishes_null_from_the_empty_string() {
    let trail = Trail::with_changes(1);
    trail.run("SET application_name = ''; UPDATE notes SET body = ''");
    let (csv, _) = trail.export(&full_export().format(Format::Csv(CsvOptions::new())));
    // The columns from request_id to meta are NULL, application_name is empty, the rest is NULL.
    let user = trail.query("SELECT current_user");
    let expected = format!(r#"Z,,,,,,,{user},"","#);
    assert!(csv.ends_with(&format!("{expected}\r\n")), "{csv}");
}
