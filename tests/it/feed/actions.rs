//! Delivery of actions.

use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use threadline::feed::{FeedItem, Leased};
use threadline::prelude::*;
use threadline::{audited, record_action};

use super::{TABLE, Worker, expire, shown};
use crate::harness::{Trail, captured};

fn by_ada() -> AuditContext {
    AuditContext::new(ActorRef::user("ada").unwrap())
}

async fn record(conn: &mut AsyncPgConnection, name: &str) {
    record_action(conn, &by_ada(), &Action::new(name).unwrap())
        .await
        .unwrap();
}

/// Records an action in a separate transaction.
fn recorded(trail: &Trail, name: &str) {
    crate::harness::block_on(async {
        record(&mut trail.connect().await, name).await;
    });
}

#[test]
fn actions_without_changes_are_delivered_in_order_with_the_changes() {
    let trail = captured(TABLE, &["t"]);
    recorded(&trail, "session.log_in");
    trail.run("INSERT INTO t VALUES (1)");
    recorded(&trail, "session.log_out");
    let mut worker = Worker::new(&trail, "search");
    assert_eq!(
        worker.drain(),
        [
            "action session.log_in",
            "insert 1",
            "action session.log_out"
        ]
    );
    assert_eq!(worker.lease(1), Leased::Empty);
    recorded(&trail, "session.refuse");
    let batch = worker.batch(10);
    assert_eq!(shown(&batch), ["action session.refuse"]);
    assert_eq!(batch.changes().count(), 0);
    let lag = worker.lag();
    assert!(lag.oldest_at.is_some());
}

#[test]
fn the_action_of_a_change_is_delivered_with_the_change_and_separately() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let write = AuditedWrite::new(by_ada()).action(Action::new("t.add").unwrap());
    let work = audited(&mut worker.conn, &write, async |conn| {
        diesel::sql_query("INSERT INTO t VALUES (1)")
            .execute(conn)
            .await?;
        Ok::<_, AuditError>(())
    });
    worker.runtime.block_on(work).unwrap();
    let batch = worker.batch(10);
    assert_eq!(shown(&batch), ["action t.add", "insert 1"]);
    let [FeedItem::Action(action), FeedItem::Change(entry)] = &batch.items[..] else {
        panic!("{batch:?}");
    };
    assert_eq!(entry.action.as_ref(), Some(&**action));
    assert_eq!(entry.change.action_id, Some(action.id));
    let json = serde_json::to_value(&batch.items).unwrap();
    let kinds: Vec<&Value> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["kind"])
        .collect();
    assert_eq!(kinds, ["action", "change"]);
    assert_eq!(json[0]["id"], action.order_id);
    assert_eq!(json[0]["action"]["name"], "t.add");
    assert_eq!(json[1]["id"], entry.change.id);
    assert_eq!(json[1]["change"]["op"], "insert");
    assert_eq!(json[1]["action"]["name"], "t.add");
}

#[test]
fn a_lease_waits_for_an_action_that_commits_late() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let mut slow = Worker::also(&trail, "slow");
    slow.run("BEGIN");
    slow.runtime.block_on(record(&mut slow.conn, "slow"));
    recorded(&trail, "quick");
    assert_eq!(worker.lease(10), Leased::Waiting);
    slow.run("COMMIT");
    assert_eq!(worker.drain(), ["action slow", "action quick"]);
}

#[test]
fn a_rolled_back_action_is_not_delivered() {
    let trail = captured(TABLE, &["t"]);
    let mut worker = Worker::new(&trail, "search");
    let mut lost = Worker::also(&trail, "lost");
    lost.run("BEGIN");
    lost.runtime.block_on(record(&mut lost.conn, "lost"));
    lost.run("ROLLBACK");
    recorded(&trail, "kept");
    assert_eq!(worker.drain(), ["action kept"]);
}

#[test]
fn the_batch_size_counts_actions_and_changes() {
    let trail = captured(TABLE, &["t"]);
    for round in 1..=3 {
        recorded(&trail, &format!("a{round}"));
        trail.run(&format!("INSERT INTO t VALUES ({round})"));
    }
    let mut worker = Worker::new(&trail, "search");
    assert_eq!(
        shown(&worker.batch(3)),
        ["action a1", "insert 1", "action a2"]
    );
    expire(&trail, "search");
    assert_eq!(worker.drain().len(), 6);
}

#[test]
fn actions_and_changes_with_invalid_actors_and_statuses_are_delivered() {
    let trail = captured(TABLE, &["t"]);
    recorded(&trail, "odd");
    trail.run(
        "ALTER TABLE threadline.audit_actions DISABLE TRIGGER USER;
         ALTER TABLE threadline.audit_changes DISABLE TRIGGER USER;
         INSERT INTO t VALUES (1);
         UPDATE threadline.audit_actions SET actor = 'robot:7', on_behalf_of = ':', status = 'perhaps';
         UPDATE threadline.audit_changes SET actor = repeat('x', 9000)",
    );
    let mut worker = Worker::new(&trail, "search");
    assert_eq!(worker.drain(), ["action odd", "insert 1"]);
}
