//! The audited write, sync and async.

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use threadline::prelude::*;
use threadline::{ActionId, AuditTransactionId, blocking};

use crate::harness::{Trail, block_on, captured};

diesel::table! {
    accounts (id) {
        id -> Integer,
        balance -> Integer,
    }
}

#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error("refused by the host")]
    Refused,
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

fn bank() -> Trail {
    captured(
        "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL)",
        &["accounts"],
    )
}

fn user(id: &str) -> AuditContext {
    AuditContext::new(ActorRef::user(id).unwrap())
}

fn action(name: &str) -> Action {
    Action::new(name).unwrap()
}

async fn open(conn: &mut AsyncPgConnection, id: i32) -> QueryResult<usize> {
    diesel_async::RunQueryDsl::execute(
        diesel::insert_into(accounts::table).values((accounts::id.eq(id), accounts::balance.eq(0))),
        conn,
    )
    .await
}

#[test]
fn a_sync_write_is_attributed_and_returns_its_transaction_and_action_ids() {
    let trail = bank();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let write = AuditedWrite::new(user("42").request_id("r-1".parse().unwrap()))
        .action(action("account.open").reason("signup"));
    let done = blocking::audited(&mut conn, &write, |conn| {
        diesel::insert_into(accounts::table)
            .values((accounts::id.eq(1), accounts::balance.eq(10)))
            .execute(conn)
            .map_err(HostError::from)
    })
    .unwrap();
    assert_eq!(done.value, 1);
    let id = done.transaction_id.expect("something was captured");
    let incident = blocking::incident(&mut conn, id).unwrap().unwrap();
    assert_eq!(incident.transaction.request_id.as_deref(), Some("r-1"));
    assert_eq!(incident.actions.len(), 1);
    assert_eq!(incident.actions[0].reason.as_deref(), Some("signup"));
    assert_eq!(
        incident.changes[0].action_id,
        done.action_id.map(ActionId::as_uuid)
    );
    assert_eq!(
        incident.transaction.action_id,
        done.action_id.map(ActionId::as_uuid)
    );
}

#[test]
fn an_async_write_is_attributed_and_returns_its_transaction_id() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let write = AuditedWrite::new(user("42")).action(action("account.open"));
        let id = 1;
        let done = threadline::audited(&mut conn, &write, async |conn| {
            open(conn, id).await?;
            Ok::<_, HostError>("value")
        })
        .await
        .unwrap();
        assert_eq!(done.value, "value");
        let page = threadline::timeline(&mut conn, &Timeline::new())
            .await
            .unwrap();
        let entry = &page.entries[0];
        assert_eq!(entry.change.actor.as_ref().unwrap().to_string(), "user:42");
        assert_eq!(entry.action.as_ref().unwrap().name, "account.open");
        assert_eq!(
            Some(entry.change.transaction_id),
            done.transaction_id.map(AuditTransactionId::as_uuid)
        );
    });
}

#[test]
fn a_failed_closure_rolls_back_changes_and_action() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let write = AuditedWrite::new(user("1")).action(action("account.open"));
        let failed = threadline::audited(&mut conn, &write, async |conn| {
            open(conn, 1).await?;
            Err::<(), _>(HostError::Refused)
        })
        .await;
        assert!(matches!(failed, Err(HostError::Refused)));
    });
    assert_eq!((trail.changes().len(), trail.transactions()), (0, 0));
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_actions"),
        "0"
    );
}

#[test]
fn a_failed_write_stores_its_action_as_error_with_record_failures() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let write = AuditedWrite::new(user("1"))
            .action(action("account.open"))
            .record_failures();
        let _ = threadline::audited(&mut conn, &write, async |conn| {
            open(conn, 1).await?;
            open(conn, 1).await?;
            Ok::<_, HostError>(())
        })
        .await;
        // The connection is still usable.
        open(&mut conn, 2).await.unwrap();
    });
    let recorded = trail
        .query_text("SELECT name || ' ' || status || ' ' || actor FROM threadline.audit_actions");
    assert_eq!(recorded, "account.open error user:1");
    assert_eq!(trail.events(), ["insert accounts 2"]);
}

#[test]
fn a_write_without_an_actor_is_refused_unless_allowed() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let unattributed = AuditedWrite::new(AuditContext::unattributed());
        let refused =
            threadline::audited(&mut conn, &unattributed, async |_| Ok::<_, HostError>(())).await;
        assert!(matches!(
            refused,
            Err(HostError::Audit(AuditError::MissingActor))
        ));
        let allowed = unattributed.allow_unattributed();
        threadline::audited(&mut conn, &allowed, async |conn| {
            open(conn, 1).await.map_err(HostError::from)
        })
        .await
        .unwrap();
    });
    assert_eq!(trail.changes().len(), 1);
}

#[test]
fn an_action_without_changes_is_recorded_unless_changes_are_required() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let login = AuditedWrite::new(user("1")).action(action("session.login"));
        let done = threadline::audited(&mut conn, &login, async |_| Ok::<_, HostError>(()))
            .await
            .unwrap();
        assert_eq!(done.transaction_id, None);
        let strict = login.require_changes();
        let refused =
            threadline::audited(&mut conn, &strict, async |_| Ok::<_, HostError>(())).await;
        assert!(matches!(
            refused,
            Err(HostError::Audit(AuditError::NothingCaptured))
        ));
    });
    assert_eq!(
        trail.query_text("SELECT count(*) FROM threadline.audit_actions"),
        "1"
    );
    assert_eq!(trail.transactions(), 0);
}

#[test]
fn a_nested_write_has_its_own_action_and_actor_and_restores_the_outer_ones() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let outer = AuditedWrite::new(user("outer")).action(action("outer"));
        let inner = AuditedWrite::new(user("inner")).action(action("inner"));
        threadline::audited(&mut conn, &outer, async |conn| {
            open(conn, 1).await?;
            threadline::audited(conn, &inner, async |conn| {
                open(conn, 2).await.map_err(HostError::from)
            })
            .await?;
            open(conn, 3).await?;
            let failed = threadline::audited(conn, &inner, async |conn| {
                open(conn, 4).await?;
                Err::<(), _>(HostError::Refused)
            })
            .await;
            assert!(failed.is_err());
            open(conn, 5).await?;
            Ok::<_, HostError>(())
        })
        .await
        .unwrap();
    });
    let seen = trail.query_text(
        "SELECT string_agg((data_after ->> 'id') || ' ' || action_name || ' ' || actor, ', ' ORDER BY id) \
         FROM threadline.audit_timeline",
    );
    assert_eq!(
        seen,
        "1 outer user:outer, 2 inner user:inner, 3 outer user:outer, 5 outer user:outer"
    );
    assert_eq!(trail.query_text("SELECT a.name FROM threadline.audit_transactions t JOIN threadline.audit_actions a ON a.id = t.action_id"), "outer");
}

#[test]
fn an_audited_write_in_a_plain_transaction_clears_its_context_when_it_ends() {
    let trail = bank();
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let write = AuditedWrite::new(user("1")).action(action("inner"));
    conn.transaction(|conn| {
        diesel::insert_into(accounts::table)
            .values((accounts::id.eq(1), accounts::balance.eq(0)))
            .execute(conn)?;
        blocking::audited(conn, &write, |conn| {
            diesel::insert_into(accounts::table)
                .values((accounts::id.eq(2), accounts::balance.eq(0)))
                .execute(conn)
                .map_err(HostError::from)
        })?;
        diesel::insert_into(accounts::table)
            .values((accounts::id.eq(3), accounts::balance.eq(0)))
            .execute(conn)?;
        Ok::<_, HostError>(())
    })
    .unwrap();
    let actors: Vec<_> = trail.changes().iter().map(|c| c.actor.clone()).collect();
    assert_eq!(actors, [None, Some("user:1".to_owned()), None]);
    let actions: Vec<_> = trail
        .changes()
        .iter()
        .map(|c| c.action_id.is_some())
        .collect();
    assert_eq!(actions, [false, true, false]);
}

#[test]
fn the_context_is_not_visible_to_the_next_use_of_a_connection() {
    let trail = bank();
    block_on(async {
        let mut conn = trail.connect().await;
        let write = AuditedWrite::new(user("1"));
        threadline::audited(&mut conn, &write, async |conn| {
            open(conn, 1).await.map_err(HostError::from)
        })
        .await
        .unwrap();
        open(&mut conn, 2).await.unwrap();
        // A write that fails on the server leaves no open transaction.
        let failed = threadline::audited(&mut conn, &write, async |conn| {
            conn.batch_execute("SELECT 1 / 0")
                .await
                .map_err(HostError::from)
        })
        .await;
        assert!(failed.is_err());
        open(&mut conn, 3).await.unwrap();
    });
    let actors = trail.query_text(
        "SELECT string_agg(COALESCE(actor, '-'), ' ' ORDER BY id) FROM threadline.audit_timeline",
    );
    assert_eq!(actors, "user:1 - -");
}

#[test]
fn context_texts_with_quotes_and_control_characters_are_stored_unchanged() {
    let trail = bank();
    let hostile = "'; DROP TABLE accounts; -- \\ \" $$ \u{1f980} \u{7}";
    block_on(async {
        let mut conn = trail.connect().await;
        let context = AuditContext::new(ActorRef::user(hostile).unwrap())
            .meta(hostile, hostile)
            .source(hostile);
        let write = AuditedWrite::new(context).action(action("x").comment(hostile));
        threadline::audited(&mut conn, &write, async |conn| {
            open(conn, 1).await.map_err(HostError::from)
        })
        .await
        .unwrap();
    });
    assert_eq!(
        trail.query_text("SELECT actor FROM threadline.audit_transactions"),
        format!("user:{hostile}")
    );
    assert_eq!(
        trail.query_text("SELECT comment FROM threadline.audit_actions"),
        hostile
    );
}
