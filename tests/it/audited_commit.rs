//! The statements that begin and end an audited write: pipelined statements run in order, and a failed
//! commit leaves neither changes nor an open transaction.

use std::cell::RefCell;

use diesel::connection::{AnsiTransactionManager, CacheSize, SimpleConnection, TransactionManager};
use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use proptest::prelude::*;
use threadline::blocking;
use threadline::prelude::*;
use tracing::subscriber::{NoSubscriber, with_default};

use crate::harness::{Trail, block_on, captured};

/// A table with a deferred constraint, which is checked at commit.
fn accounts() -> Trail {
    captured(
        "CREATE TABLE accounts (
             id int PRIMARY KEY,
             holder int CONSTRAINT holder_exists REFERENCES accounts DEFERRABLE INITIALLY DEFERRED
         )",
        &["accounts"],
    )
}

fn by(id: &str) -> AuditedWrite {
    AuditedWrite::new(AuditContext::new(ActorRef::user(id).unwrap()))
        .action(Action::new("account.open").unwrap())
}

/// Runs work without a `tracing` subscriber. The captured changes are then not counted.
fn without_subscriber<T>(work: impl FnOnce() -> T) -> T {
    with_default(NoSubscriber::default(), work)
}

async fn run(conn: &mut AsyncPgConnection, sql: &str) -> Result<(), AuditError> {
    Ok(conn.batch_execute(sql).await?)
}

fn actions(trail: &Trail) -> String {
    trail.query_text(
        "SELECT COALESCE(string_agg(concat_ws(' ', status, reason), ', ' ORDER BY id), 'none') \
         FROM threadline.audit_actions",
    )
}

#[test]
fn a_pipelined_commit_runs_after_end_audited_work() {
    let trail = accounts();
    without_subscriber(|| {
        block_on(async {
            for cache in [CacheSize::Unbounded, CacheSize::Disabled] {
                // The first write on a connection prepares the statements, later ones reuse them.
                let mut conn = trail.connect().await;
                conn.set_prepared_statement_cache_size(cache);
                for _ in 0..3 {
                    let done = threadline::audited(&mut conn, &by("1"), async |conn| {
                        run(conn, "INSERT INTO accounts SELECT count(*) FROM accounts").await
                    })
                    .await
                    .unwrap();
                    assert!(done.transaction_id.is_some());
                    let idle =
                        threadline::audited(&mut conn, &by("1"), async |_| Ok::<_, AuditError>(()))
                            .await
                            .unwrap();
                    assert_eq!(idle.transaction_id, None);
                }
            }
        });
    });
    assert_eq!(
        (trail.changes().len(), trail.transactions()),
        (6, 6),
        "every write is committed"
    );
}

#[test]
fn the_outcome_is_the_same_with_and_without_a_tracing_subscriber() {
    let trail = accounts();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let mut write = |id: i32| {
        let done = blocking::audited(&mut conn, &by("1"), |conn| {
            conn.batch_execute(&format!("INSERT INTO accounts VALUES ({id})"))
                .map_err(AuditError::from)
        })
        .unwrap();
        let id = done.transaction_id.expect("something was captured");
        let incident = blocking::incident(&mut conn, id).unwrap().unwrap();
        assert_eq!(incident.changes.len(), 1);
    };
    write(1);
    without_subscriber(|| write(2));
}

#[test]
fn a_failed_commit_on_an_async_connection_leaves_no_change_and_no_open_transaction() {
    let trail = accounts();
    without_subscriber(|| {
        block_on(async {
            let mut conn = trail.connect().await;
            let write = by("1").record_failures();
            for _ in 0..2 {
                let failed = threadline::audited(&mut conn, &write, async |conn| {
                    run(conn, "INSERT INTO accounts VALUES (1, 2)").await
                })
                .await;
                let error = failed.unwrap_err().to_string();
                assert!(error.contains("holder_exists"), "{error}");
                // The connection is not in a transaction, and its transaction manager agrees.
                conn.transaction(async |conn| conn.batch_execute("SELECT 1").await)
                    .await
                    .unwrap();
            }
        });
    });
    assert_eq!(trail.changes().len(), 0);
    assert_eq!(actions(&trail), "error commit_failed, error commit_failed");
}

#[test]
fn a_failed_commit_on_a_sync_connection_leaves_no_change_and_no_open_transaction() {
    let trail = accounts();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let failed = without_subscriber(|| {
        blocking::audited(&mut conn, &by("1").record_failures(), |conn| {
            conn.batch_execute("INSERT INTO accounts VALUES (1, 2)")
                .map_err(AuditError::from)
        })
    });
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("holder_exists"), "{error}");
    let status = AnsiTransactionManager::transaction_manager_status_mut(&mut conn);
    assert_eq!(status.transaction_depth().unwrap(), None);
    assert_eq!(trail.changes().len(), 0);
    assert_eq!(actions(&trail), "error commit_failed");
}

#[test]
fn a_database_error_ignored_by_the_closure_still_fails_the_write() {
    let trail = accounts();
    without_subscriber(|| {
        block_on(async {
            let mut conn = trail.connect().await;
            let failed = threadline::audited(&mut conn, &by("1").record_failures(), async |conn| {
                run(conn, "INSERT INTO accounts VALUES (1)").await?;
                let _ = run(conn, "SELECT 1 / 0").await;
                Ok::<_, AuditError>(())
            })
            .await;
            assert!(matches!(failed, Err(AuditError::Database(_))), "{failed:?}");
            run(&mut conn, "INSERT INTO accounts VALUES (2)")
                .await
                .unwrap();
        });
    });
    assert_eq!(trail.events(), ["insert accounts 2"]);
    assert_eq!(actions(&trail), "error database_error");
}

#[test]
fn a_write_that_cannot_begin_leaves_no_open_transaction() {
    let trail = accounts();
    // PostgreSQL cannot store NUL in a text.
    let impossible = by("1").action(Action::new("x").unwrap().meta("note", "\0"));
    block_on(async {
        let mut conn = trail.connect().await;
        let failed = threadline::audited(&mut conn, &impossible, async |conn| {
            run(conn, "INSERT INTO accounts VALUES (1)").await
        })
        .await;
        assert!(matches!(failed, Err(AuditError::Database(_))), "{failed:?}");
        // The same inside another audited write.
        threadline::audited(&mut conn, &by("1"), async |conn| {
            let failed =
                threadline::audited(conn, &impossible, async |_| Ok::<_, AuditError>(())).await;
            assert!(failed.is_err());
            run(conn, "INSERT INTO accounts VALUES (2)").await
        })
        .await
        .unwrap();
    });
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let failed = blocking::audited(&mut conn, &impossible, |conn| {
        conn.batch_execute("INSERT INTO accounts VALUES (3)")
            .map_err(AuditError::from)
    });
    assert!(failed.is_err());
    conn.batch_execute("INSERT INTO accounts VALUES (4)")
        .unwrap();
    assert_eq!(trail.events(), ["insert accounts 2", "insert accounts 4"]);
}

#[test]
fn a_marker_set_by_the_session_is_not_reported_as_a_captured_change() {
    let trail = accounts();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    conn.batch_execute("SET threadline.recorded = '1|'")
        .unwrap();
    let done = without_subscriber(|| {
        blocking::audited(&mut conn, &by("1"), |_| Ok::<_, AuditError>(())).unwrap()
    });
    assert_eq!(done.transaction_id, None);
}

#[test]
fn any_text_is_stored_unchanged_with_standard_conforming_strings_on_or_off() {
    let trail = accounts();
    let conn = RefCell::new(PgConnection::establish(&trail.url()).unwrap());
    let texts = prop_oneof![
        "[^\\x00]{0,40}",
        // Characters with a meaning in SQL literals, in JSON or in batches.
        "(['\"\\\\;$]|E'|''|\\\\u00|--|/\\*|\\{\\}|\n){0,12}",
    ];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let outcome = runner.run(&(texts, any::<bool>()), |(text, standard)| {
        let conn = &mut *conn.borrow_mut();
        conn.batch_execute(&format!(
            "SET standard_conforming_strings = {}; SET escape_string_warning = off",
            if standard { "on" } else { "off" }
        ))
        .unwrap();
        let action = Action::new("x")
            .unwrap()
            .comment(&text)
            .meta(&text, text.clone());
        let done =
            blocking::audited(conn, &by("1").action(action), |_| Ok::<_, AuditError>(())).unwrap();
        let id = done.action_id.unwrap().as_uuid();
        let found: (String, serde_json::Value) = diesel::select((
            diesel::dsl::sql::<diesel::sql_types::Text>(&format!(
                "(SELECT comment FROM threadline.audit_actions WHERE id = '{id}')"
            )),
            diesel::dsl::sql::<diesel::sql_types::Jsonb>(&format!(
                "(SELECT meta FROM threadline.audit_actions WHERE id = '{id}')"
            )),
        ))
        .get_result(conn)
        .unwrap();
        prop_assert_eq!(&found.0, &text);
        prop_assert_eq!(&found.1, &serde_json::json!({ text.clone(): text }));
        Ok(())
    });
    outcome.unwrap();
}
