//! Wrong and empty questions: misspelt names, incomplete keys, unknown rows, missing privileges.

use super::*;

const WAREHOUSE: &str = "
    CREATE SCHEMA wms;
    CREATE TABLE wms.items (sku text PRIMARY KEY, cents int);
    CREATE TABLE \"Shipments\" (\"Id\" bigint PRIMARY KEY, \"Status\" text);
    CREATE TABLE lines (shipment bigint, place int, sku text, PRIMARY KEY (shipment, place));
    CREATE TABLE customers (id uuid PRIMARY KEY, name text, email text, password text);
    CREATE TABLE notes (line text)";

pub(crate) const CUSTOMER: &str = "0e3c8a4e-5c8e-4d0f-9a51-3f0c53c1c0de";

pub(crate) fn captured_warehouse() -> Database {
    let database = installed(WAREHOUSE);
    let folder = tempfile::tempdir().unwrap();
    let tables = "wms.items,\"Shipments\",lines,customers,notes";
    let arguments = [
        "gen-triggers",
        "--tables",
        tables,
        "--mask",
        "customers.email",
        "--exclude",
        "customers.password",
        "--print",
    ];
    let sql = out(&threadline(folder.path(), Some(&database), &arguments));
    database.execute_script(&sql).unwrap();
    database
        .execute_script(&format!(
            "INSERT INTO \"Shipments\" VALUES (150, 'new');
             INSERT INTO lines VALUES (7, 1, 'a');
             INSERT INTO customers VALUES ('{CUSTOMER}', 'Ada', 'a@b.c', 'x');
             INSERT INTO wms.items VALUES ('old', 1), ('50', 2);
             UPDATE wms.items SET sku = 'x=50' WHERE sku = 'old';"
        ))
        .unwrap();
    database
        .execute_script(
            "SELECT threadline.begin_audited_work('{
                 \"actor_ref\": {\"type\": \"admin\", \"id\": \"7\"},
                 \"context\": {\"request_id\": \"req-1\",
                               \"on_behalf_of\": {\"type\": \"user\", \"id\": \"4\"}},
                 \"action\": {\"id\": \"019a0000-0000-7000-8000-000000000001\",
                              \"name\": \"item.add\", \"reason\": \"shelf\"}}');
             INSERT INTO wms.items VALUES ('old', 9);",
        )
        .unwrap();
    database
}

/// Exit code, standard output and standard error of a command.
pub(crate) fn run(database: &Database, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = threadline(folder.path(), Some(database), arguments);
    (code(&output), out(&output), err(&output))
}

#[test]
fn a_misspelt_table_is_wrong_usage_and_lists_similar_tables() {
    let database = captured_warehouse();
    for (given, meant) in [
        ("items", "; similar: wms.items"),
        ("shipments", "; similar: public.\"Shipments\""),
        ("customer", "; similar: public.customers"),
        ("WMS.Items", "; similar: wms.items"),
        ("nothing_like_it", "recorded for one\n"),
    ] {
        for question in [
            vec!["timeline", "--table", given],
            vec!["history", given, "1"],
            vec!["as-of", given, "1", "2099-01-01T00:00:00Z"],
        ] {
            let (code, _, err) = run(&database, &question);
            assert_eq!(code, 2, "{question:?}: {err}");
            assert!(err.contains(meant), "{question:?}: {err}");
        }
    }
}

#[test]
fn an_export_of_a_misspelt_table_writes_no_file() {
    let database = captured_warehouse();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("items.csv");
    let arguments = ["export", "--table", "items", "-o", file.to_str().unwrap()];
    let (code, _, err) = run(&database, &arguments);
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("similar: wms.items"), "{err}");
    assert!(!file.exists());
    let quiet = [
        "export",
        "--table",
        "lines",
        "--op",
        "delete",
        "-o",
        file.to_str().unwrap(),
    ];
    let (code, out, err) = run(&database, &quiet);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("wrote 0 changes"), "{out}");
}

#[test]
fn a_key_that_lacks_columns_is_wrong_usage_and_shows_the_key_columns() {
    let database = captured_warehouse();
    for key in ["7", "7,1", "shipment=7", "shipment=7,line=1"] {
        let (code, _, err) = run(&database, &["history", "lines", key]);
        assert_eq!(code, 2, "{key}: {err}");
        assert!(
            err.contains("has the key (shipment, place)"),
            "{key}: {err}"
        );
    }
    let (code, out, err) = run(&database, &["history", "lines", "place=1,shipment=7"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("insert"), "{out}");
}

#[test]
fn a_history_accepts_the_names_of_renamed_key_columns() {
    let database = captured_warehouse();
    database
        .execute_script(
            "ALTER TABLE lines DROP CONSTRAINT lines_pkey;
             ALTER TABLE lines RENAME COLUMN place TO position;
             ALTER TABLE lines ADD PRIMARY KEY (shipment, position)",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["gen-triggers", "--tables", "lines", "--print"];
    let sql = out(&threadline(folder.path(), Some(&database), &arguments));
    database.execute_script(&sql).unwrap();
    let (code, out, err) = run(&database, &["history", "lines", "place=1,shipment=7"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("place is named position now"), "{err}");
    assert!(out.contains("insert"), "{out}");
}

#[test]
fn a_history_of_a_table_without_key_is_wrong_usage() {
    let database = captured_warehouse();
    for key in ["1", "line=1", "line=1,id=2"] {
        let (code, _, err) = run(&database, &["history", "notes", key]);
        assert_eq!(code, 2, "{key}: {err}");
        assert!(err.contains("notes has no key"), "{key}: {err}");
    }
}

#[test]
fn a_key_value_with_an_equals_sign_is_not_parsed_as_a_column() {
    let database = captured_warehouse();
    for key in ["x=50", "sku=x=50"] {
        let (code, out, err) = run(&database, &["history", "wms.items", key]);
        assert_eq!((code, err.as_str()), (0, ""), "{key}");
        assert!(out.contains("old → x=50"), "{key}: {out}");
    }
    let (_, out, _) = run(&database, &["history", "wms.items", "sku=50"]);
    assert!(out.contains("cents=2") && !out.contains("x=50"), "{out}");
    let at = ["as-of", "wms.items", "x=50", "2099-01-01T00:00:00Z"];
    let (code, out, _) = run(&database, &at);
    assert_eq!(code, 0);
    assert!(out.contains("x=50"), "{out}");
}

#[test]
fn a_history_names_earlier_rows_with_the_same_key() {
    let database = captured_warehouse();
    let (code, out, err) = run(&database, &["history", "wms.items", "old"]);
    assert_eq!(code, 0);
    assert!(out.contains("cents=9") && !out.contains("x=50"), "{out}");
    assert!(err.contains("another row, which became `x=50`"), "{err}");
    let (_, _, err) = run(&database, &["history", "wms.items", "x=50"]);
    assert_eq!(err, "");
}

/// A truncate is a change of the table, so the history of a row does not list it.
#[test]
fn a_history_reports_the_truncate_that_removed_the_row() {
    let database = captured_warehouse();
    let history = |key: &str| run(&database, &["history", "wms.items", key]);
    assert!(!history("50").2.contains("truncated"));
    database
        .execute_script(
            "DELETE FROM wms.items WHERE sku = 'x=50'; TRUNCATE wms.items;
             INSERT INTO wms.items VALUES ('old', 10)",
        )
        .unwrap();
    let (_, _, err) = history("50");
    assert!(err.contains("the table was truncated at 20"), "{err}");
    let change = err
        .split("`diff ")
        .nth(1)
        .unwrap()
        .split('`')
        .next()
        .unwrap();
    let (_, out, _) = run(&database, &["diff", change]);
    assert!(out.contains("truncate wms.items"), "{out}");
    // Deleted before the truncate, or inserted after it.
    for key in ["x=50", "old"] {
        let (_, _, err) = history(key);
        assert!(!err.contains("truncated"), "{key}: {err}");
    }
}

#[test]
fn a_misspelt_column_is_wrong_usage_and_an_unchanged_one_is_not() {
    let database = captured_warehouse();
    for question in [
        vec![
            "timeline",
            "--table",
            "\"Shipments\"",
            "--changed",
            "status",
        ],
        vec!["history", "\"Shipments\"", "150", "--field", "status"],
    ] {
        let (code, _, err) = run(&database, &question);
        assert_eq!(code, 2, "{err}");
        assert!(
            err.contains("the columns Id, Status, and without `status`"),
            "{err}"
        );
    }
    let quiet = [
        "timeline",
        "--table",
        "\"Shipments\"",
        "--changed",
        "Status",
    ];
    let (code, out, err) = run(&database, &quiet);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "no changes match\n", "")
    );
}

#[test]
fn a_local_time_that_occurs_twice_is_wrong_usage() {
    let database = captured_warehouse();
    for question in [
        vec!["timeline", "--from", "2026-10-25 02:30"],
        vec!["timeline", "--since", "2026-10-25 02:30"],
        vec!["history", "customers", "1", "--since", "2026-10-25 02:30"],
        vec!["actor", "user:1", "--to", "2026-10-25 02:30"],
        vec!["actions", "--from", "2026-10-25 02:30"],
        vec!["as-of", "customers", "1", "2026-10-25 02:30"],
        vec!["restore", "customers", "1", "--as-of", "2026-10-25 02:30"],
        vec!["coverage", "--since", "2026-10-25 02:30"],
        vec!["export", "--to", "2026-10-25 02:30"],
    ] {
        let question = [&question[..], &["--tz", "Europe/Berlin"]].concat();
        let (code, _, err) = run(&database, &question);
        assert_eq!(code, 2, "{question:?}");
        assert!(
            err.contains("write 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00"),
            "{err}"
        );
    }
    let pasted = [
        "timeline",
        "--from",
        "2026-11-21 02:30:00 UTC",
        "--to",
        "2099-01-01 00:00+02",
    ];
    assert_eq!(run(&database, &pasted).0, 0);
}

#[test]
fn diff_shows_actor_action_and_request_of_a_change_in_a_list() {
    let database = captured_warehouse();
    let (_, out, _) = run(&database, &["timeline", "--request", "req-1"]);
    let row = out.lines().find(|line| line.contains("item.add")).unwrap();
    // Date, time, id.
    let id = row.split_whitespace().nth(2).unwrap();
    let (code, out, _) = run(&database, &["diff", id]);
    assert_eq!(code, 0);
    assert!(out.contains("insert wms.items sku=old"), "{out}");
    assert!(
        out.contains("by admin:7 for user:4 under item.add: shelf, request req-1"),
        "{out}"
    );
    let (_, out, _) = run(&database, &["actor", "admin:7"]);
    assert!(out.contains("request req-1"), "{out}");
}

#[test]
fn a_missing_privilege_and_a_missing_trail_exit_with_3_and_a_remedy() {
    let database = captured_warehouse();
    let role = format!("stranger_{}", database.name());
    database
        .execute_script(&format!("CREATE ROLE {role} LOGIN"))
        .unwrap();
    let url = database.url_as(&role);
    let (code, _, err) = run(&database, &["timeline", "--database-url", &url]);
    database
        .execute_script(&format!("DROP ROLE {role}"))
        .unwrap();
    assert_eq!(code, 3);
    assert!(err.contains("this role lacks a privilege"), "{err}");
    let without = super::database();
    let (code, _, err) = run(&without, &["timeline"]);
    assert_eq!(code, 3);
    assert!(err.contains("there is no trail in this database"), "{err}");
}

#[test]
fn a_role_without_usage_on_a_schema_can_read_the_trail_of_its_tables() {
    let database = captured_warehouse();
    let role = format!("reader_{}", database.name());
    database
        .execute_script(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA threadline TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO {role}"
        ))
        .unwrap();
    let url = database.url_as(&role);
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["--database-url", url.as_str()]].concat();
        super::wrong_questions::run(&database, &arguments)
    };
    let quiet = run(&["timeline", "--table", "wms.items", "--op", "delete"]);
    let export = run(&["export", "--table", "wms.items", "--no-formula-guard"]);
    let history = run(&["history", "wms.items", "old"]);
    let misspelt = run(&["history", "items", "old"]);
    database
        .execute_script(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .unwrap();
    assert_eq!(quiet, (0, "no changes match\n".to_owned(), String::new()));
    assert_eq!((export.0, export.1.lines().count()), (0, 5), "{export:?}");
    assert!(history.2.contains("became `x=50`"), "{history:?}");
    assert!(misspelt.2.contains("similar: wms.items"), "{misspelt:?}");
}

#[test]
fn timeline_follow_prints_its_header_once() {
    use std::io::{BufRead, BufReader};

    let database = captured_warehouse();
    let mut following = Command::new(env!("CARGO_BIN_EXE_threadline"))
        .args(["timeline", "--follow", "--table", "lines"])
        .env("DATABASE_URL", database.url())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (printed, read) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if printed.send(line).is_err() {
                break;
            }
        }
    });
    // Lasts several intervals, each of which prints changes.
    let interval = std::time::Duration::from_millis(100);
    let (mut n, mut shown) = (100, Vec::new());
    while shown
        .iter()
        .filter(|line: &&String| line.contains("insert"))
        .count()
        < 25
    {
        n += 1;
        assert!(n < 1000, "too few lines: {shown:?}");
        database
            .execute_script(&format!("INSERT INTO lines VALUES ({n}, 1, 'b')"))
            .unwrap();
        if let Ok(line) = read.recv_timeout(interval) {
            shown.push(line);
        }
        shown.extend(read.try_iter());
    }
    following.kill().unwrap();
    following.wait().unwrap();
    let headers = shown.iter().filter(|line| line.contains("when (UTC)"));
    assert_eq!(headers.count(), 1, "{shown:?}");
    let rules = shown.iter().filter(|line| line.starts_with('─'));
    assert_eq!(rules.count(), 1, "{shown:?}");
}

#[test]
fn coverage_of_a_misspelt_role_is_wrong_usage() {
    let database = captured_warehouse();
    let (code, _, err) = run(&database, &["coverage", "--application-role", "webb"]);
    assert_eq!(code, 2);
    assert!(err.contains("there is no role `webb`"), "{err}");
}
