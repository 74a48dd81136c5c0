//! Finding and seeing: lists, rows, diffs.

use super::*;

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
fn timeline_history_and_incident_print_text_and_json() {
    let database = captured_orders();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);

    let shown = out(&run(&["timeline"]));
    assert!(
        shown.contains("user:42") && shown.contains("— (db user postgres,"),
        "{shown}"
    );
    assert!(
        !shown.contains('\u{1b}'),
        "unescaped control character: {shown:?}"
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
    let change = rest["entries"][0]["change"]["id"].to_string();
    assert_eq!(out(&run(&["incident", &change])), out(&incident));
    let missing = run(&["incident", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(code(&missing), 1);
    let missing = run(&["incident", "4711"]);
    assert_eq!(
        (code(&missing), err(&missing).as_str()),
        (1, "there is no change 4711\n")
    );
}

#[test]
fn lists_have_cursors_in_both_directions_and_ndjson() {
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
        opened.contains("user:42") && !opened.contains("—"),
        "{opened}"
    );
    let nothing = run(&["correlation", "none"]);
    assert_eq!(code(&nothing), 0);
    assert!(out(&nothing).contains("nothing is recorded for correlation none"));
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

/// A transaction that begins first and commits last.
#[test]
fn timeline_follow_prints_changes_that_commit_late() {
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
    // Changes that exist at the start are not printed; insert until one is.
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
        assert!(following.try_wait().unwrap().is_none(), "it is running");
    };
    assert_ne!(first, "2", "an uncommitted change was printed");
    run(&mut late, "COMMIT");
    let late = keys.iter().find(|key| key == "2");
    assert_eq!(late.as_deref(), Some("2"));
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn a_closed_pipe_exits_with_0() {
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

#[test]
fn diff_prints_text_and_json() {
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
    // Ids 1 and 2 are the policy and the insert.
    let people = run(&["diff", "3"]);
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
    let document = json(&run(&["diff", "3", "--json"]));
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["fields"][0]["after"]["state"], "masked");
    assert_eq!(code(&run(&["diff", "99"])), 1);
    let transaction = document["transaction_id"].as_str().unwrap();
    let incident = json(&run(&["incident", transaction, "--json"]));
    assert_eq!(incident["diffs"][1], document);
    assert_eq!(incident["changes"][1]["id"], 3);
}

#[test]
fn as_of_shows_a_row_its_deletion_or_the_start_of_its_trail() {
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
        out(&later).contains("the row was deleted before: delete at"),
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
    assert_eq!(code(&run(&["as-of", "orders", "1", "tomorrow"])), 2);
}

#[test]
fn restore_prints_a_script_that_brings_the_row_back() {
    let database = captured_orders();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);

    let present = run(&["restore", "orders", "1"]);
    assert_eq!(code(&present), 2);
    assert!(err(&present).contains("--as-of"), "{}", err(&present));
    assert_eq!(code(&run(&["restore", "orders", "7"])), 1);
    assert_eq!(code(&run(&["restore", "ordres", "1"])), 2);

    let row = "SELECT orders::text FROM orders";
    let before = database.query_text(row).unwrap();
    database.execute_script("DELETE FROM orders").unwrap();
    let plan = json(&run(&["restore", "orders", "1", "--json"]));
    assert_eq!(plan["removed_by"]["op"], "delete");
    assert_eq!(plan["statements"][0]["operation"], "insert");
    let script = run(&["restore", "orders", "1"]);
    assert_eq!(code(&script), 0, "{}", err(&script));
    assert_eq!(database.query_text(row).unwrap(), None);
    database.execute_script(&out(&script)).unwrap();
    assert_eq!(database.query_text(row).unwrap(), before);
}

#[test]
fn answers_about_a_row_name_the_suspension_after_its_last_change() {
    let database = captured_orders();
    database
        .execute_script(
            "BEGIN; SELECT threadline.suspend_capture('{orders}', E'back\\x1b[31mfill');
             DELETE FROM orders WHERE id = 1; COMMIT",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| threadline(folder.path(), Some(&database), arguments);

    let answer = run(&["as-of", "orders", "1", "2099-01-01T00:00:00Z"]);
    assert_eq!(code(&answer), 1);
    let shown = out(&answer);
    assert!(
        shown.starts_with("the row is uncertain at this instant"),
        "{shown}"
    );
    assert!(
        shown.contains("by postgres: back␣[31mfill") && shown.contains("recorded:"),
        "{shown}"
    );
    let answer = run(&["as-of", "orders", "1", "2099-01-01T00:00:00Z", "--json"]);
    assert_eq!(code(&answer), 1);
    let document: serde_json::Value = serde_json::from_str(&out(&answer)).unwrap();
    assert_eq!(document["state"], "uncertain");
    assert_eq!(document["recorded"]["row"]["row"]["id"], 1);
    assert_eq!(document["gaps"][0]["kind"], "suspended");

    let history = run(&["history", "orders", "1"]);
    assert_eq!(code(&history), 0);
    assert!(
        err(&history).contains("changes may be missing: capture was suspended at "),
        "{}",
        err(&history)
    );
    let continuity = out(&run(&["continuity", "--no-count"]));
    assert!(
        continuity.contains("public.orders: capture was suspended at "),
        "{continuity}"
    );
}
