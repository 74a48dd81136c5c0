//! Maintenance: baselines, the feed, retention.

use super::*;

#[test]
fn baseline_shows_a_plan_and_records_only_with_execute_and_actor() {
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
    assert_eq!(err(&done), "", "progress without a terminal");
    assert_eq!(
        (&json(&done)["state"], &json(&done)["rows_recorded"]),
        (&"finished".into(), &5.into())
    );
    assert_eq!(code(&run(&["continuity"])), 0);
    assert_eq!(code(&run(&["continuity", "--table", "nothing"])), 1);
}

#[test]
fn a_feed_consumer_is_created_read_and_dropped() {
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

    // Lines that were not acknowledged are printed again.
    let mut id = serde_json::Value::Null;
    for arguments in [
        &["feed", "read", "search", "--limit", "1"][..],
        &["feed", "read", "search", "--limit", "1", "--acknowledge"],
    ] {
        let read = run(arguments);
        assert_eq!(code(&read), 0, "{}", err(&read));
        let printed = out(&read);
        assert_eq!(printed.lines().count(), 1, "{printed}");
        let change: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(change["kind"], "change");
        assert_eq!(change["change"]["table_pk"]["id"], "1");
        id = change["id"].clone();
    }
    let behind = run(&["feed", "lag", "search", "--json"]);
    let lag: serde_json::Value = serde_json::from_str(&out(&behind)).unwrap();
    assert_eq!(lag["behind_at_most"], 1);
    assert_eq!(lag["acknowledged_to"], id);
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
fn retention_shows_a_plan_and_removes_only_with_execute() {
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
        (
            &["plan", "--keep-days", "0"],
            "the retention period `0 days` is out of range",
        ),
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
