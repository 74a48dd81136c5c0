//! Scenarios of the command line against a real PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    clippy::format_push_string,
    reason = "a test fails by panicking"
)]

#[path = "commands/configuration.rs"]
mod configuration;
#[path = "commands/delivery.rs"]
mod delivery;
#[path = "commands/empty_answers.rs"]
mod empty_answers;
#[path = "commands/evidence.rs"]
mod evidence;
#[path = "commands/failures.rs"]
mod failures;
#[path = "commands/follow.rs"]
mod follow;
#[path = "commands/generation.rs"]
mod generation;
#[path = "commands/init.rs"]
mod init;
#[path = "commands/layout.rs"]
mod layout;
#[path = "commands/maintenance.rs"]
mod maintenance;
#[path = "commands/pooling.rs"]
mod pooling;
#[path = "commands/reading.rs"]
mod reading;
#[path = "commands/seal.rs"]
mod seal;
#[path = "commands/terminal.rs"]
mod terminal;
#[path = "commands/typed_values.rs"]
mod typed_values;
#[path = "commands/views.rs"]
mod views;
#[path = "commands/wrong_questions.rs"]
mod wrong_questions;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use threadline_testdb::{Cluster, Database, Progress, ServerBinaries};

fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let binaries = ServerBinaries::obtain(None, Progress::Terminal).expect("a PostgreSQL");
        Cluster::builder()
            .binaries(binaries)
            .start()
            .expect("PostgreSQL starts")
    })
}

fn database() -> Database {
    cluster().create_database().expect("a database")
}

/// Runs `threadline` in a directory, with or without a database.
fn threadline(folder: &Path, database: Option<&Database>, arguments: &[&str]) -> Output {
    command(folder, database, arguments)
        .output()
        .expect("the command runs")
}

fn command(folder: &Path, database: Option<&Database>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadline"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("DIESEL_CONFIG_FILE")
        .env_remove("MIGRATION_DIRECTORY")
        .env_remove("CARGO")
        .env_remove("COLUMNS")
        .env_remove("NO_COLOR")
        .env_remove("TZ")
        .env(
            "THREADLINE_WEBHOOK_SECRET",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        )
        .env("THREADLINE_SEAL_KEY", seal::pem(seal::FIRST_KEY));
    if let Some(database) = database {
        command.env("DATABASE_URL", database.url());
    }
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// The names of the migrations, in order.
fn migrations(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder.join("migrations"))
        .expect("migrations")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("UTF-8")
        })
        .collect();
    names.sort();
    names
}

fn installed(tables: &str) -> Database {
    let database = database();
    let folder = tempfile::tempdir().unwrap();
    let sql = out(&threadline(folder.path(), None, &["install", "--print"]));
    database.execute_script(&sql).unwrap();
    database.execute_script(tables).unwrap();
    database
}

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, status text, card text)";

#[test]
fn the_help_texts_are_stable() {
    let folder = tempfile::tempdir().unwrap();
    let help = |arguments: &[&str]| out(&threadline(folder.path(), None, arguments));
    let commands = [
        "gen-triggers",
        "redeploy-triggers",
        "disable-capture",
        "timeline",
        "history",
    ];
    let mut text = help(&["--help"]);
    for command in commands {
        text.push_str(&format!("\n$ threadline {command} --help\n"));
        text.push_str(&help(&[command, "--help"]));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn options_of_one_trigger_command_are_refused_by_the_others() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["gen-triggers", "--redeploy", "t"][..],
        &["redeploy-triggers"],
        &["redeploy-triggers", "t", "--mask", "t.card"],
        &["disable-capture"],
        &["disable-capture", "t", "--check"],
    ] {
        let output = threadline(folder.path(), None, arguments);
        assert_eq!(code(&output), 2, "{arguments:?}");
    }
}

#[test]
fn install_writes_once_and_changes_nothing_when_run_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    let first = threadline(folder.path(), None, &["install"]);
    assert_eq!(code(&first), 0);
    let written = migrations(folder.path());
    assert_eq!(written[0], "00000000000001_threadline_0001");
    assert!(written[1].ends_with("_threadline_0002"), "{written:?}");
    let again = threadline(folder.path(), None, &["install"]);
    assert_eq!(code(&again), 0);
    assert!(out(&again).contains("up to date"), "{}", out(&again));
    assert_eq!(migrations(folder.path()), written);
}

#[test]
fn a_printed_migration_runs_as_one_transaction() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let printed = threadline(
        folder.path(),
        Some(&database),
        &[
            "gen-triggers",
            "--tables",
            "orders",
            "--mask",
            "orders.card",
            "--print",
        ],
    );
    assert_eq!(code(&printed), 0, "{}", err(&printed));
    // A declaration that does not match the table creates no function.
    let sql = out(&printed);
    assert!(
        sql.starts_with("BEGIN;\n") && sql.ends_with("\nCOMMIT;\n"),
        "{sql}"
    );
    database
        .execute_script("ALTER TABLE orders RENAME card TO card_no")
        .unwrap();
    database.execute_script(&sql).unwrap_err();
    let functions = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'capture_public_orders%'";
    assert_eq!(database.query_text(functions).unwrap().unwrap(), "0");
    database
        .execute_script("ALTER TABLE orders RENAME card_no TO card")
        .unwrap();
    database.execute_script(&sql).unwrap();
    database
        .execute_script("INSERT INTO orders VALUES (1, 'open', '4111')")
        .unwrap();
    let stored = database
        .query_text("SELECT data_after::text FROM threadline.audit_changes")
        .unwrap();
    assert_eq!(
        stored.as_deref(),
        Some(r#"{"id": 1, "card": "[REDACTED]", "status": "open"}"#)
    );
    assert!(!folder.path().join("migrations").exists());
}

#[test]
fn gen_triggers_writes_a_migration_only_for_tables_whose_rules_changed() {
    let database = installed(&format!(
        "{ORDERS}; CREATE TABLE lines (id int PRIMARY KEY)"
    ));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    let generate = |more: &[&str]| {
        let mut arguments = vec!["gen-triggers", "--tables", "orders,lines"];
        arguments.extend(more);
        threadline(folder.path(), Some(&database), &arguments)
    };
    let lagging = generate(&["--check"]);
    assert_eq!(code(&lagging), 1);
    assert!(out(&lagging).contains("table public.orders is not captured as declared"));
    assert_eq!(code(&generate(&[])), 0);
    assert_eq!(code(&generate(&["--check"])), 0);
    assert_eq!(code(&generate(&[])), 0);
    assert_eq!(migrations(folder.path()).len(), 1);

    // A stricter rule is a migration of that table alone; its down.sql restores the old rule.
    let stricter = generate(&["--exclude", "orders.card"]);
    assert_eq!(code(&stricter), 0);
    let change = "public.orders.card: excluded, was stored in clear";
    assert!(out(&stricter).contains(change), "{}", out(&stricter));
    let names = migrations(folder.path());
    assert_eq!(names.len(), 2);
    assert!(names[1] > names[0]);
    let second = folder.path().join("migrations").join(&names[1]);
    let up = fs::read_to_string(second.join("up.sql")).unwrap();
    let down = fs::read_to_string(second.join("down.sql")).unwrap();
    assert!(!up.contains("lines"));
    assert!(
        up.starts_with(&format!("-- Changes:\n--   {change}\n\n")),
        "{up}"
    );
    let first = folder.path().join("migrations").join(&names[0]);
    for sql in [fs::read_to_string(first.join("up.sql")).unwrap(), up, down] {
        database.execute_script(&sql).unwrap();
    }
    database
        .execute_script("INSERT INTO orders VALUES (1, 'open', '4111')")
        .unwrap();
    let card = database
        .query_text("SELECT data_after ->> 'card' FROM threadline.audit_changes")
        .unwrap();
    assert_eq!(card.as_deref(), Some("4111"));

    // The down.sql of the first migration ends capture.
    let down = fs::read_to_string(first.join("down.sql")).unwrap();
    database.execute_script(&down).unwrap();
    database.execute_script("DELETE FROM orders").unwrap();
    let left = database
        .query_text("SELECT count(*) FROM threadline.audit_changes")
        .unwrap();
    assert_eq!(left.as_deref(), Some("1"));
}

#[test]
fn generated_sql_is_deterministic() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let print = || {
        out(&threadline(
            folder.path(),
            Some(&database),
            &["gen-triggers", "--tables", "orders", "--print"],
        ))
    };
    let sql = print();
    assert_eq!(sql, print());
    insta::assert_snapshot!(sql);
}

#[test]
fn wrong_usage_names_the_value_and_exits_with_2() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["gen-triggers"][..], "the code declares no audited table"),
        (
            &["gen-triggers", "--tables", "nothing"],
            "table public.nothing does not exist",
        ),
        (
            &["gen-triggers", "--tables", "a.b.c"],
            "`a.b.c` is not a table name",
        ),
        (
            &["gen-triggers", "--tables", "orders,public.orders"],
            "table public.orders is named twice",
        ),
        (
            &[
                "gen-triggers",
                "--tables",
                "orders",
                "--mask",
                "orders.cadr",
            ],
            "a rule names the unknown column `cadr`",
        ),
        (
            &["gen-triggers", "--tables", "orders", "--mask", "other.card"],
            "a rule names table public.other",
        ),
        (
            &["gen-triggers", "--tables", "orders", "--mask", "card"],
            "`card` is not a column",
        ),
        (
            &["gen-triggers", "--tables", "orders", "--mask", "orders.id"],
            "key column `id` cannot be excluded, masked or ignored",
        ),
        (
            &["gen-triggers", "--tables", "threadline.audit_changes"],
            "belongs to the audit trail itself",
        ),
        (
            &["timeline", "--actor", "robot:1"],
            "`robot` is not an actor type",
        ),
        (
            &["timeline", "--op", "upsert"],
            "`upsert` is not an operation",
        ),
        (
            &["timeline", "--limit", "0"],
            "a page has 1 to 10000 entries, not 0",
        ),
        (&["timeline", "--after", "???"], "`???` is not a cursor"),
        (&["timeline", "--before", "???"], "`???` is not a cursor"),
        (
            &["timeline", "--table", "ordres"],
            "there is no table public.ordres, and no changes are recorded for one",
        ),
        (
            &["history", "ordres", "1"],
            "there is no table public.ordres",
        ),
        (
            &["timeline", "--meta", "{}"],
            "`{}` is not a pattern for meta",
        ),
        (
            &["timeline", "--status", "failed"],
            "`failed` is not a status",
        ),
        (&["timeline", "--changed", ""], "is not a column name"),
        (
            &["timeline", "--scan-values", " "],
            "cannot be searched for",
        ),
        (&["timeline", "--category", ""], "is not a category"),
        (
            &[
                "actions",
                "--from",
                "2026-02-01T00:00:00Z",
                "--to",
                "2026-01-01T00:00:00Z",
            ],
            "it ends before it begins",
        ),
        (&["actor", "robot:1"], "`robot` is not an actor type"),
        (&["history", "orders", "1", "--became", "x"], "--field"),
        (
            &["timeline", "--from", "tomorrow"],
            "invalid value 'tomorrow'",
        ),
        (
            &["timeline", "--since", "2h", "--from", "3h"],
            "cannot be used with",
        ),
        (
            &[
                "timeline",
                "--from",
                "2026-10-25 02:30",
                "--tz",
                "Europe/Berlin",
            ],
            "--from: `2026-10-25 02:30:00` occurs twice in Europe/Berlin; write 2026-10-25T02:30:00+02:00 or \
             2026-10-25T02:30:00+01:00",
        ),
        (
            &[
                "as-of",
                "orders",
                "1",
                "2026-03-29 02:30",
                "--tz",
                "Europe/Berlin",
            ],
            "INSTANT: `2026-03-29 02:30:00` does not exist in Europe/Berlin",
        ),
        (
            &["timeline", "--tz", "Europe/Berln"],
            "`Europe/Berln` is not a time zone; write a name of the IANA database, such as Europe/Berlin",
        ),
        (
            &["timeline", "--color", "sometimes"],
            "[possible values: auto, always, never]",
        ),
        (
            &["incident", "not-a-uuid"],
            "write the id of a transaction, a UUID, or that of a change, a number",
        ),
        (&["demo"], "`demo` needs the example application"),
    ] {
        let output = threadline(folder.path(), Some(&database), arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
        assert!(
            err(&output).contains(expected),
            "{arguments:?}: {}",
            err(&output)
        );
        assert_eq!(out(&output), "");
    }
    let nowhere = threadline(folder.path(), None, &["timeline"]);
    assert_eq!(code(&nowhere), 2);
    assert!(
        err(&nowhere).contains("--database-url"),
        "{}",
        err(&nowhere)
    );
}

#[test]
fn an_unreachable_database_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://nobody@127.0.0.1:1/nothing";
    let output = threadline(folder.path(), None, &["timeline", "--database-url", url]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("cannot connect"), "{}", err(&output));
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}
