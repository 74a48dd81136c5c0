//! The command line as a person meets it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test that cannot go on says why by panicking"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use threadline_testdb::{Cluster, Database, ServerBinaries, TerminalProgress};

fn database() -> Database {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER
        .get_or_init(|| {
            let binaries = ServerBinaries::obtain(None, &TerminalProgress).expect("a PostgreSQL");
            Cluster::builder()
                .binaries(binaries)
                .start()
                .expect("PostgreSQL starts")
        })
        .create_database()
        .expect("a database")
}

/// Runs `threadline` in a folder, against a database if there is one.
fn threadline(folder: &Path, database: Option<&Database>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_threadline"));
    command
        .current_dir(folder)
        .args(arguments)
        .env_remove("DATABASE_URL")
        .env_remove("CARGO");
    if let Some(database) = database {
        command.env("DATABASE_URL", database.url());
    }
    command.output().expect("the command runs")
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

/// The folders of migrations, in order.
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
fn install_writes_once_and_changes_nothing_when_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let first = threadline(folder.path(), None, &["install"]);
    assert_eq!(code(&first), 0);
    assert_eq!(
        migrations(folder.path()),
        ["00000000000001_threadline_base"]
    );
    let again = threadline(folder.path(), None, &["install"]);
    assert_eq!(code(&again), 0);
    assert!(out(&again).contains("is up to date"), "{}", out(&again));
    assert_eq!(migrations(folder.path()).len(), 1);
}

#[test]
fn what_is_printed_can_be_piped_into_a_database() {
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
    database.execute_script(&out(&printed)).unwrap();
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
fn generation_writes_what_changed_and_nothing_when_nothing_did() {
    let database = installed(&format!(
        "{ORDERS}; CREATE TABLE lines (id int PRIMARY KEY)"
    ));
    let folder = tempfile::tempdir().unwrap();
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

    // A stricter rule is a new migration, of that table alone; down.sql goes back to the old rule.
    assert_eq!(code(&generate(&["--exclude", "orders.card"])), 0);
    let names = migrations(folder.path());
    assert_eq!(names.len(), 2);
    assert!(names[1] > names[0]);
    let second = folder.path().join("migrations").join(&names[1]);
    let up = fs::read_to_string(second.join("up.sql")).unwrap();
    let down = fs::read_to_string(second.join("down.sql")).unwrap();
    assert!(!up.contains("lines"));
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

    // The first down.sql takes the tables out of capture.
    let down = fs::read_to_string(first.join("down.sql")).unwrap();
    database.execute_script(&down).unwrap();
    database.execute_script("DELETE FROM orders").unwrap();
    let left = database
        .query_text("SELECT count(*) FROM threadline.audit_changes")
        .unwrap();
    assert_eq!(left.as_deref(), Some("1"));
}

#[test]
fn generated_sql_is_the_same_every_time() {
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
            "`a.b.c` is no table name",
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
            "`cadr`, which is no column",
        ),
        (
            &["gen-triggers", "--tables", "orders", "--mask", "other.card"],
            "a rule names table public.other",
        ),
        (
            &["gen-triggers", "--tables", "orders", "--mask", "card"],
            "`card` names no column",
        ),
        (
            &["gen-triggers", "--tables", "orders", "--mask", "orders.id"],
            "key column `id` cannot be redacted",
        ),
        (
            &["gen-triggers", "--tables", "threadline.audit_changes"],
            "belongs to the audit trail itself",
        ),
        (
            &["timeline", "--actor", "robot:1"],
            "`robot` is no actor type",
        ),
        (&["timeline", "--op", "upsert"], "`upsert` is no op"),
        (
            &["timeline", "--limit", "0"],
            "a page has 1 to 10000 entries, not 0",
        ),
        (&["timeline", "--after", "???"], "`???` is no cursor"),
        (&["timeline", "--before", "???"], "`???` is no cursor"),
        (
            &["timeline", "--table", "ordres"],
            "there is no table public.ordres, and the trail knows none of that name",
        ),
        (
            &["history", "ordres", "1"],
            "there is no table public.ordres",
        ),
        (&["timeline", "--meta", "{}"], "`{}` is no pattern for meta"),
        (&["timeline", "--status", "failed"], "`failed` is no status"),
        (&["timeline", "--changed", ""], "is no column name"),
        (
            &["timeline", "--scan-values", " "],
            "cannot be searched for",
        ),
        (&["timeline", "--category", ""], "is no category"),
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
        (&["actor", "robot:1"], "`robot` is no actor type"),
        (&["history", "orders", "1", "--became", "x"], "--field"),
        (
            &["timeline", "--from", "yesterday"],
            "invalid value 'yesterday'",
        ),
        (&["incident", "not-a-uuid"], "invalid value 'not-a-uuid'"),
        (&["demo"], "there is no demonstration here"),
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
fn what_cannot_run_exits_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let url = "postgres://nobody@127.0.0.1:1/nothing";
    let output = threadline(folder.path(), None, &["timeline", "--database-url", url]);
    assert_eq!(code(&output), 3);
    assert!(err(&output).contains("cannot connect"), "{}", err(&output));
}

fn captured_orders() -> Database {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let sql = out(&threadline(
        folder.path(),
        Some(&database),
        &["gen-triggers", "--tables", "orders", "--print"],
    ));
    database.execute_script(&sql).unwrap();
    database
        .execute_script(
            "SELECT set_config('threadline.actor_ref', '{\"type\":\"user\",\"id\":\"42\"}', true);
             INSERT INTO orders VALUES (1, 'open', NULL)",
        )
        .unwrap();
    database
        .execute_script("UPDATE orders SET status = E'pa\\x1b[31mid'")
        .unwrap();
    database
}

#[test]
fn the_trail_can_be_read_by_people_and_by_machines() {
    let database = captured_orders();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);

    let shown = out(&run(&["timeline"]));
    assert!(
        shown.contains("user:42") && shown.contains("— nobody —"),
        "{shown}"
    );
    assert!(
        !shown.contains('\u{1b}'),
        "a terminal must not act on stored values: {shown:?}"
    );

    let page: serde_json::Value =
        serde_json::from_str(&out(&run(&["timeline", "--json", "--limit", "1"]))).unwrap();
    assert_eq!(
        page["entries"][0]["changed_fields"],
        serde_json::json!(["status"])
    );
    assert_eq!(page["has_more"], true);
    let next = page["next"].as_str().unwrap();
    let rest: serde_json::Value = serde_json::from_str(&out(&run(&[
        "timeline", "--json", "--limit", "1", "--after", next,
    ])))
    .unwrap();
    assert_eq!(
        rest["entries"][0]["actor_ref"],
        serde_json::json!({"type": "user", "id": "42"})
    );
    assert_eq!(rest["next"], serde_json::Value::Null);

    let history = out(&run(&["history", "orders", "1"]));
    assert!(
        history.contains("insert") && history.contains("update"),
        "{history}"
    );

    let id = rest["entries"][0]["change"]["transaction_id"]
        .as_str()
        .unwrap();
    let incident = run(&["incident", id]);
    assert!(out(&incident).contains("user:42"));
    let missing = run(&["incident", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(code(&missing), 1);
}

#[test]
fn lists_go_both_ways_and_come_as_lines() {
    let database = captured_orders();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&out(&run(arguments))).unwrap()
    };

    let first = json(&["timeline", "--json", "--limit", "1"]);
    assert_eq!(first["has_previous"], false);
    let next = first["next"].as_str().unwrap();
    let second = json(&["timeline", "--json", "--limit", "1", "--after", next]);
    let previous = second["previous"].as_str().unwrap();
    let back = json(&["timeline", "--json", "--limit", "1", "--before", previous]);
    assert_eq!(back["entries"], first["entries"]);
    let shown = out(&run(&["timeline", "--limit", "1", "--after", next]));
    assert!(shown.contains("before: --before "), "{shown}");

    let lines = out(&run(&["timeline", "--ndjson"]));
    assert_eq!(lines.lines().count(), 2);
    for line in lines.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(entry["change"]["table_name"], "orders");
    }
    let by_actor = json(&["actor", "user:42", "--json"]);
    assert_eq!(by_actor["entries"].as_array().unwrap().len(), 1);
    let changed = json(&["timeline", "--changed", "status", "--json"]);
    assert_eq!(changed["entries"].as_array().unwrap().len(), 1);
    let opened = out(&run(&[
        "history", "orders", "1", "--field", "status", "--became", "open",
    ]));
    assert!(
        opened.contains("user:42") && !opened.contains("nobody"),
        "{opened}"
    );
    let nothing = run(&["correlation", "none"]);
    assert_eq!(code(&nothing), 0);
    assert!(out(&nothing).contains("nothing is known of correlation none"));
    assert_eq!(out(&run(&["actions"])), "no actions match\n");
}

#[test]
fn a_table_that_is_not_captured_is_a_bad_answer() {
    let database = captured_orders();
    database
        .execute_script("CREATE TABLE notes (id int)")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = threadline(
        folder.path(),
        Some(&database),
        &["timeline", "--table", "notes"],
    );
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("is not captured"), "{}", err(&output));
    let quiet = ["timeline", "--table", "orders", "--op", "delete"];
    let quiet = threadline(folder.path(), Some(&database), &quiet);
    assert_eq!(
        (code(&quiet), out(&quiet).as_str()),
        (0, "no changes match\n")
    );
}

/// H 3.4.32: a transaction that begins first and commits last.
#[test]
fn following_prints_what_commits_late() {
    use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
    use std::io::{BufRead, BufReader};

    let database = captured_orders();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let session = || {
        runtime
            .block_on(AsyncPgConnection::establish(&database.url()))
            .unwrap()
    };
    let (mut late, mut early) = (session(), session());
    let run = |conn: &mut AsyncPgConnection, sql: &str| {
        runtime.block_on(conn.batch_execute(sql)).unwrap();
    };
    run(
        &mut late,
        "BEGIN; INSERT INTO orders VALUES (2, 'late', NULL)",
    );

    let mut following = Command::new(env!("CARGO_BIN_EXE_threadline"))
        .args(["timeline", "--follow", "--ndjson", "--table", "orders"])
        .env("DATABASE_URL", database.url())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let (printed, keys) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            let key = entry["change"]["table_pk"]["id"]
                .as_str()
                .unwrap()
                .to_owned();
            if printed.send(key).is_err() {
                break;
            }
        }
    });
    // What is there when it begins is no news, so there is news until it has some.
    let interval = std::time::Duration::from_millis(100);
    let mut n = 10;
    let first = loop {
        run(
            &mut early,
            &format!("INSERT INTO orders VALUES ({n}, 'early', NULL)"),
        );
        n += 1;
        if let Ok(key) = keys.recv_timeout(interval) {
            break key;
        }
        assert!(following.try_wait().unwrap().is_none(), "it goes on");
    };
    assert_ne!(first, "2", "what is not committed is not printed");
    run(&mut late, "COMMIT");
    let late = keys.iter().find(|key| key == "2");
    assert_eq!(late.as_deref(), Some("2"));
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let database = captured_orders();
    let script = format!(
        "{} timeline --json | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_threadline")
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .env("DATABASE_URL", database.url())
        .output()
        .unwrap();
    assert_eq!(out(&output).trim(), "0", "{}", err(&output));
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_baseline_says_first_what_it_would_do_and_needs_somebody_to_do_it() {
    let database = installed(ORDERS);
    database
        .execute_script(
            "INSERT INTO orders SELECT g, 'open', '4111' FROM generate_series(1, 5) AS g",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);
    let missing = run(&["baseline", "--table", "orders"]);
    assert_eq!(code(&missing), 3);
    assert!(
        err(&missing).contains("is not captured"),
        "{}",
        err(&missing)
    );
    let generated = run(&[
        "gen-triggers",
        "--tables",
        "orders",
        "--mask",
        "orders.card",
        "--print",
    ]);
    database.execute_script(&out(&generated)).unwrap();

    let broken = run(&["continuity", "--json"]);
    assert_eq!(
        (code(&broken), json(&broken)["unbroken"].as_bool()),
        (1, Some(false))
    );
    let planned = run(&["baseline", "--table", "orders", "--json"]);
    assert_eq!(code(&planned), 0, "{}", err(&planned));
    assert_eq!(json(&planned)["would_record"], 5);
    assert_eq!(json(&planned)["executed"], false);
    assert_eq!(
        code(&run(&["baseline", "--table", "orders", "--execute"])),
        2
    );
    assert_eq!(
        code(&run(&[
            "baseline",
            "--table",
            "orders",
            "--batch-size",
            "0"
        ])),
        2
    );
    let count = "SELECT count(*) FROM threadline.audit_changes";
    assert_eq!(database.query_text(count).unwrap().as_deref(), Some("0"));

    let done = run(&[
        "baseline",
        "--table",
        "orders",
        "--execute",
        "--actor",
        "admin:rita",
        "--batch-size",
        "2",
        "--json",
    ]);
    assert_eq!(code(&done), 0, "{}", err(&done));
    assert_eq!(err(&done), "", "progress is for terminals");
    assert_eq!(
        (&json(&done)["state"], &json(&done)["rows_recorded"]),
        (&"finished".into(), &5.into())
    );
    assert_eq!(code(&run(&["continuity"])), 0);
    assert_eq!(code(&run(&["continuity", "--table", "nothing"])), 1);
}

#[test]
fn a_diff_is_a_document_for_machines_and_readable_for_people() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);
    let generated = run(&[
        "gen-triggers",
        "--tables",
        "orders",
        "--mask",
        "orders.card",
        "--print",
    ]);
    database.execute_script(&out(&generated)).unwrap();
    database
        .execute_script("INSERT INTO orders VALUES (1, 'open', '4111'); UPDATE orders SET status = 'paid', card = '4222'")
        .unwrap();
    let people = run(&["diff", "2"]);
    assert_eq!(code(&people), 0, "{}", err(&people));
    for line in [
        "update public.orders id=1",
        "  card    (masked), changed",
        "  status  open → paid",
    ] {
        assert!(
            out(&people).lines().any(|shown| shown == line),
            "{}",
            out(&people)
        );
    }
    let document = json(&run(&["diff", "2", "--json"]));
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["fields"][0]["after"]["state"], "masked");
    assert_eq!(code(&run(&["diff", "99"])), 1);
    let transaction = document["transaction_id"].as_str().unwrap();
    let incident = json(&run(&["incident", transaction, "--json"]));
    assert_eq!(incident["diffs"][1], document);
    assert_eq!(incident["changes"][1]["id"], 2);
}

#[test]
fn a_consumer_of_the_feed_is_made_read_for_and_dropped() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);
    let sql = run(&["gen-triggers", "--tables", "orders", "--print"]);
    database.execute_script(&out(&sql)).unwrap();
    database
        .execute_script("INSERT INTO orders VALUES (1, 'open', '4'), (2, 'open', '4')")
        .unwrap();
    assert_eq!(code(&run(&["feed", "read", "search"])), 1);
    assert_eq!(code(&run(&["feed", "create", "No Name"])), 2);
    assert_eq!(code(&run(&["feed", "create", "search"])), 0);
    let again = run(&["feed", "create", "search"]);
    assert_eq!(code(&again), 1);
    assert!(err(&again).contains("already"), "{}", err(&again));

    // Without an acknowledgement the same changes come again.
    for arguments in [
        &["feed", "read", "search", "--limit", "1"][..],
        &["feed", "read", "search", "--limit", "1", "--acknowledge"],
    ] {
        let read = run(arguments);
        assert_eq!(code(&read), 0, "{}", err(&read));
        let printed = out(&read);
        assert_eq!(printed.lines().count(), 1, "{printed}");
        let change: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(change["change"]["table_pk"]["id"], "1");
    }
    let behind = run(&["feed", "lag", "search", "--json"]);
    let lag: serde_json::Value = serde_json::from_str(&out(&behind)).unwrap();
    assert_eq!(lag["behind_at_most"], 1);
    assert_eq!(lag["acknowledged_to"], 1);
    database.execute_script("SELECT pg_sleep(1.1)").unwrap();
    let late = run(&["feed", "lag", "search", "--max-behind", "1"]);
    assert_eq!(code(&late), 1, "{}", out(&late));

    let shown = run(&["feed", "drop", "search"]);
    assert!(
        out(&shown).contains("nothing was dropped"),
        "{}",
        out(&shown)
    );
    assert_eq!(code(&run(&["feed", "drop", "search", "--execute"])), 0);
    let none = run(&["feed", "list"]);
    assert!(
        out(&none).contains("there are no consumers"),
        "{}",
        out(&none)
    );
}

#[test]
fn a_row_as_of_an_instant_is_shown_or_said_to_be_unknown() {
    let database = installed(ORDERS);
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);
    let printed = out(&run(&[
        "gen-triggers",
        "--tables",
        "orders",
        "--mask",
        "orders.card",
        "--print",
    ]));
    database.execute_script(&printed).unwrap();
    database
        .execute_script("INSERT INTO orders VALUES (1, 'open', '4111')")
        .unwrap();
    let instant = database
        .query_text("SELECT to_jsonb(clock_timestamp()) #>> '{}'")
        .unwrap()
        .unwrap();
    database.execute_script("DELETE FROM orders").unwrap();
    let then = run(&["as-of", "orders", "1", &instant]);
    assert_eq!(code(&then), 0, "{}", err(&then));
    assert!(
        out(&then).contains("open") && out(&then).contains("not known: card (masked)"),
        "{}",
        out(&then)
    );
    let json: serde_json::Value =
        serde_json::from_str(&out(&run(&["as-of", "orders", "1", &instant, "--json"]))).unwrap();
    assert_eq!(
        (json["state"].as_str(), json["row"]["status"].as_str()),
        (Some("row"), Some("open"))
    );
    let later = run(&["as-of", "orders", "1", "2099-01-01T00:00:00Z"]);
    assert_eq!(code(&later), 0);
    assert!(
        out(&later).contains("it was gone by then: delete at"),
        "{}",
        out(&later)
    );
    let before = run(&["as-of", "orders", "1", "2001-01-01T00:00:00Z"]);
    assert_eq!(code(&before), 1);
    assert!(
        out(&before).contains("its trail begins with insert"),
        "{}",
        out(&before)
    );
    assert_eq!(code(&run(&["as-of", "orders", "1", "yesterday"])), 2);
}

#[test]
fn retention_shows_first_and_removes_only_when_told() {
    let database = installed(ORDERS);
    database
        .execute_script(
            "INSERT INTO threadline.audit_changes (id, captured_at, transaction_id, op, table_schema, table_name)
             SELECT g, now() - interval '10 days', gen_random_uuid(), 'truncate', 'public', 'orders'
             FROM generate_series(1, 3) AS g",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let retention = |arguments: &[&str]| {
        let arguments: Vec<_> = ["retention"].iter().chain(arguments).copied().collect();
        threadline(folder.path(), Some(&database), &arguments)
    };
    let plan = retention(&["plan", "--keep-days", "5", "--json"]);
    assert_eq!(code(&plan), 0, "{}", err(&plan));
    let plan: serde_json::Value = serde_json::from_str(&out(&plan)).unwrap();
    assert_eq!(plan["parts"][0]["rows"], 3);
    let shown = retention(&["purge", "--keep-days", "5"]);
    assert!(
        err(&shown).contains("nothing was removed"),
        "{}",
        err(&shown)
    );
    let kept = retention(&[
        "purge",
        "--keep-days",
        "5",
        "--keep",
        "orders=forever",
        "--execute",
    ]);
    assert!(out(&kept).contains("removed 0 changes"), "{}", out(&kept));
    let purged = retention(&["purge", "--keep-days", "5", "--execute", "--json"]);
    assert_eq!(code(&purged), 0, "{}", err(&purged));
    let purged: serde_json::Value = serde_json::from_str(&out(&purged)).unwrap();
    assert_eq!(purged["run"]["changes"], 3);
    assert_eq!(purged["run"]["state"], "completed");
    let runs = retention(&["runs", "--json"]);
    let runs: serde_json::Value = serde_json::from_str(&out(&runs)).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 2);
    for (wrong, says) in [
        (&["plan"][..], "there is no retention policy"),
        (&["plan", "--keep-days", "0"], "not for 0 days"),
        (
            &["plan", "--keep-days", "1", "--keep", "orders"],
            "table=days",
        ),
        (
            &["purge", "--keep-days", "1", "--batch-size", "0"],
            "1 to 100000 rows",
        ),
    ] {
        let refused = retention(wrong);
        assert_eq!(code(&refused), 2, "{wrong:?}");
        assert!(err(&refused).contains(says), "{wrong:?}: {}", err(&refused));
    }
}
