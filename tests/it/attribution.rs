//! The SQL contract for writers that are not Rust: two settings, whose values never fail a write.

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;
use serde_json::{Value, json};
use threadline::table::{ActorPolicy, AuditedTable};

use crate::harness::{Trail, captured, empty_trail};

fn table() -> Trail {
    captured("CREATE TABLE t (id int PRIMARY KEY, v int)", &["t"])
}

fn set(name: &str, value: &str) -> String {
    format!(
        "SELECT set_config('threadline.{name}', '{}', true);",
        value.replace('\'', "''")
    )
}

fn transaction(trail: &Trail) -> Value {
    trail.query_json(
        "SELECT to_jsonb(t) FROM threadline.audit_transactions AS t ORDER BY id DESC LIMIT 1",
    )
}

#[test]
fn every_context_field_is_stored_on_the_transaction() {
    let trail = table();
    let context = json!({
        "on_behalf_of": {"type": "user", "id": "42"}, "request_id": "r", "correlation_id": "c",
        "job_id": "j", "source": "cron", "remote_addr": "10.0.0.1", "meta": {"plan": "gold"}
    });
    trail.run(&format!(
        "{}{} INSERT INTO t VALUES (1, 1)",
        set("actor_ref", r#"{"type":"admin","id":"7"}"#),
        set("context", &context.to_string())
    ));
    let stored = transaction(&trail);
    assert_eq!(stored["actor"], json!("admin:7"));
    assert_eq!(stored["on_behalf_of"], json!("user:42"));
    for field in ["request_id", "correlation_id", "job_id"] {
        assert_eq!(stored[field], context[field], "{field}");
    }
    let rest = json!({"source": "cron", "remote_addr": "10.0.0.1", "meta": {"plan": "gold"}});
    assert_eq!(stored["context"], rest);
}

#[test]
fn database_user_application_name_and_pid_are_stored_beside_a_forged_actor() {
    let trail = table();
    trail.run(&format!(
        "SET application_name = 'nightly import'; {} INSERT INTO t VALUES (1, 1)",
        set("actor_ref", r#"{"type":"user","id":"forged"}"#)
    ));
    let stored = transaction(&trail);
    assert_eq!(stored["db_user"], json!("postgres"));
    assert_eq!(stored["application_name"], json!("nightly import"));
    assert!(stored["backend_pid"].as_i64().unwrap() > 0);
}

#[test]
fn malformed_contexts_are_stored_as_errors_and_the_write_succeeds() {
    let hostile = [
        ("actor_ref", "{broken"),
        ("actor_ref", r#"{"type":"robot","id":"1"}"#),
        ("actor_ref", r#"{"type":"user"}"#),
        ("actor_ref", r#"{"type":"user","id":""}"#),
        ("actor_ref", r#"["user","1"]"#),
        ("actor_ref", r#"{"type":"user","id":"\u0000"}"#),
        ("actor_ref", "null"),
        ("context", "not json"),
        ("context", "[]"),
        ("context", r#"{"requestid":"misspelt"}"#),
        ("context", r#"{"on_behalf_of":{"type":"nobody"}}"#),
        ("context", r#"{"action_id":"not a uuid"}"#),
        ("action_id", "not a uuid"),
        ("action_id", "'; DROP TABLE t; --"),
    ];
    let trail = table();
    for (n, (setting, value)) in hostile.iter().enumerate() {
        trail.run(&format!(
            "{} INSERT INTO t VALUES ({n}, 1); UPDATE t SET v = 2 WHERE id = {n}",
            set(setting, value)
        ));
        let stored = transaction(&trail);
        let error = stored["context"]["context_error"].as_str().unwrap();
        let named = match *setting {
            "context" if value.starts_with('{') => value.split('"').nth(1).unwrap(),
            _ => value,
        };
        assert!(error.contains(named), "{setting} = {value}: {error}");
        assert_eq!(stored["actor"], Value::Null);
    }
    assert_eq!(trail.changes().len(), 2 * hostile.len());
}

#[test]
fn oversized_contexts_are_truncated_and_the_write_succeeds() {
    let trail = table();
    trail.run(
        "SELECT set_config('threadline.context', '{\"meta\":{\"x\":\"' || repeat('y', 1000000) || '\"}}', true);
         INSERT INTO t VALUES (1, 1)",
    );
    let stored = transaction(&trail);
    let error = stored["context"]["context_error"].as_str().unwrap();
    assert_eq!(error.len(), "threadline.context: ".len() + 1024);
}

#[test]
fn empty_settings_left_by_an_earlier_transaction_are_ignored() {
    // Hazard 45: after the transaction a local setting is an empty string, not null.
    let trail = table();
    trail.run(&format!(
        "BEGIN; {} INSERT INTO t VALUES (1, 1); COMMIT; BEGIN; INSERT INTO t VALUES (2, 2); COMMIT",
        set("actor_ref", r#"{"type":"user","id":"1"}"#)
    ));
    let stored = transaction(&trail);
    assert_eq!(
        (&stored["actor"], &stored["context"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn an_actor_set_within_a_transaction_applies_to_later_changes() {
    let trail = table();
    trail.run(&format!(
        "INSERT INTO t VALUES (1, 1); {}{} INSERT INTO t VALUES (2, 2); UPDATE t SET v = 3; {} DELETE FROM t WHERE id = 1",
        set("actor_ref", r#"{"type":"user","id":"late"}"#),
        set("context", r#"{"request_id":"r"}"#),
        set("actor_ref", ""),
    ));
    let late = "user:late".to_owned();
    let actors: Vec<_> = trail.changes().iter().map(|c| c.actor.clone()).collect();
    assert_eq!(
        actors,
        [
            None,
            Some(late.clone()),
            Some(late.clone()),
            Some(late),
            None
        ]
    );
    assert_eq!(transaction(&trail)["request_id"], json!("r"));
}

#[test]
fn changes_are_attributed_to_the_actor_in_force_across_savepoints() {
    let trail = table();
    trail.run(&format!(
        "BEGIN; {} INSERT INTO t VALUES (1, 1);
         SAVEPOINT s; {} INSERT INTO t VALUES (2, 2); ROLLBACK TO s;
         INSERT INTO t VALUES (3, 3);
         SAVEPOINT u; {} INSERT INTO t VALUES (4, 4); RELEASE u; INSERT INTO t VALUES (5, 5); COMMIT",
        set("actor_ref", r#"{"type":"user","id":"a"}"#),
        set("actor_ref", r#"{"type":"user","id":"b"}"#),
        set("actor_ref", r#"{"type":"user","id":"c"}"#),
    ));
    let (a, c) = ("user:a".to_owned(), "user:c".to_owned());
    let actors: Vec<_> = trail.changes().iter().map(|c| c.actor.clone()).collect();
    assert_eq!(actors, [Some(a.clone()), Some(a), Some(c.clone()), Some(c)]);
}

#[test]
fn strict_mode_refuses_writes_without_an_actor() {
    let trail = empty_trail();
    trail.run(
        "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE lenient (id int PRIMARY KEY)",
    );
    trail.capture(&trail.introspect("lenient"));
    let found = trail.introspect("t");
    let strict = AuditedTable::builder(found.name().clone())
        .columns(found.columns().to_vec())
        .key(["id"])
        .actor(ActorPolicy::Required)
        .build()
        .unwrap();
    trail.capture(&strict);
    for write in [
        "INSERT INTO t VALUES (1, 1)",
        "TRUNCATE t",
        // A change of a table that needs no actor has already inserted the transaction's row.
        "INSERT INTO lenient VALUES (1); INSERT INTO t VALUES (1, 1)",
    ] {
        let error = trail.expect_error(write);
        assert!(
            error.contains("unattributed write to public.t refused"),
            "{error}"
        );
    }
    let forged = set("actor_ref", "garbage");
    assert!(
        trail
            .expect_error(&format!("{forged} INSERT INTO t VALUES (1, 1)"))
            .contains("unattributed")
    );
    // Statements that affect no row need no actor.
    trail.run("INSERT INTO t SELECT 1, 1 WHERE false; UPDATE t SET v = 2; DELETE FROM t");
    assert_eq!(trail.changes().len(), 0);
    let signed = set("actor_ref", r#"{"type":"system","id":"seed"}"#);
    trail.run(&format!(
        "{signed} INSERT INTO t VALUES (1, 1); UPDATE t SET v = 2; DELETE FROM t; TRUNCATE t"
    ));
    assert_eq!(trail.changes().len(), 4);
}

#[test]
fn reset_all_inside_a_transaction_loses_no_change_and_no_actor() {
    let trail = captured(
        "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t SELECT g, g FROM generate_series(1, 9) AS g",
        &["t"],
    );
    let a = json!({"type": "user", "id": "a"});
    let b = json!({"type": "user", "id": "b"});
    for write in [
        "UPDATE t SET v = v + 1 WHERE id = 1",
        "UPDATE t SET id = id + 100 WHERE id = 2",
        "INSERT INTO t VALUES (20, 1), (21, 1)",
        "DELETE FROM t WHERE id IN (3, 4)",
    ] {
        let before = trail.count();
        trail.run(&format!(
            "BEGIN; {} UPDATE t SET v = -v WHERE id = 9; RESET ALL; {} {write}; COMMIT",
            set("actor_ref", &a.to_string()),
            set("actor_ref", &b.to_string())
        ));
        let changes = trail.changes().split_off(before);
        let mut transactions: Vec<_> = changes.iter().map(|c| &c.transaction_id).collect();
        transactions.dedup();
        assert_eq!(transactions.len(), 1, "{write}");
        assert_eq!(changes[0].actor.as_deref(), Some("user:a"), "{write}");
        assert!(
            changes[1..]
                .iter()
                .all(|c| c.actor.as_deref() == Some("user:b")),
            "{write}"
        );
    }
}

#[test]
fn ids_too_long_for_an_index_are_stored_as_context_errors() {
    let trail = captured("CREATE TABLE t (id int PRIMARY KEY)", &["t"]);
    let long = "(SELECT string_agg(md5(g::text), '') FROM generate_series(1, 300) AS g)";
    for (id, setting) in [
        (
            1,
            format!("'threadline.context', json_build_object('request_id', {long})::text"),
        ),
        (
            2,
            format!("'threadline.context', json_build_object('correlation_id', {long})::text"),
        ),
        (
            3,
            format!("'threadline.context', json_build_object('job_id', {long})::text"),
        ),
        (
            4,
            format!(
                "'threadline.context', json_build_object('on_behalf_of', json_build_object('type', 'user', 'id', {long}))::text"
            ),
        ),
        (
            5,
            format!(
                "'threadline.actor_ref', json_build_object('type', 'user', 'id', {long})::text"
            ),
        ),
    ] {
        trail.run(&format!(
            "BEGIN; SELECT set_config({setting}, true); INSERT INTO t VALUES ({id}); COMMIT"
        ));
    }
    let malformed = trail.query_text(
        "SELECT count(*) FROM threadline.audit_transactions WHERE context ? 'context_error' AND actor IS NULL",
    );
    assert_eq!(malformed, "5");
}

#[test]
fn serializable_transactions_that_change_actors_do_not_conflict() {
    let trail = captured(
        "CREATE TABLE a (id int PRIMARY KEY, v int); CREATE TABLE b (id int PRIMARY KEY, v int)",
        &["a", "b"],
    );
    trail.run("INSERT INTO a SELECT g, 0 FROM generate_series(1, 300) AS g; INSERT INTO b SELECT g, 0 FROM generate_series(1, 300) AS g; ANALYZE");
    let mut sessions = ["a", "b"].map(|table| {
        let conn = diesel::PgConnection::establish(&trail.url()).unwrap();
        (conn, table)
    });
    for round in 1..=20 {
        let actor = |n: i32| {
            format!(
                "SELECT set_config('threadline.actor_ref', '{{\"type\":\"user\",\"id\":\"{n}\"}}', true);"
            )
        };
        for step in 0..4 {
            for (conn, table) in &mut sessions {
                let sql = match step {
                    0 => format!(
                        "BEGIN ISOLATION LEVEL SERIALIZABLE; {} INSERT INTO {table} VALUES ({}, 1)",
                        actor(1),
                        1000 + round
                    ),
                    1 => format!(
                        "{} UPDATE {table} SET v = v + 1 WHERE id = {round}",
                        actor(2)
                    ),
                    2 => format!("INSERT INTO {table} VALUES ({}, 1)", 2000 + round),
                    _ => "COMMIT".to_owned(),
                };
                conn.batch_execute(&sql).unwrap();
            }
        }
    }
    let actors = trail.query_text(
        "SELECT string_agg(DISTINCT actor || ' ' || (data_after ->> 'id'), ', ')
         FROM threadline.audit_changes
         WHERE table_name = 'a' AND (data_after ->> 'id') IN ('1001', '1', '2001') AND actor IS NOT NULL",
    );
    assert_eq!(actors, "user:1 1001, user:2 1, user:2 2001");
}
