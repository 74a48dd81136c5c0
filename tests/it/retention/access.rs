//! Rights for purges, feed consumers, PgBouncer, and retention workers.

use std::time::Duration;

use diesel::connection::{CacheSize, Connection, SimpleConnection};
use diesel::pg::PgConnection;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use threadline::retention::{
    Expired, FeedConsumers, Notice, RetentionError, RetentionWorker, RunState, plan_retention,
    purge_with_progress,
};

use super::{keep, plan, purge, purge_at, quick, remaining_and_expired, trail_with_past_changes};
use crate::harness::block_on;

#[test]
fn planning_needs_select_on_the_trail_and_purging_needs_further_grants() {
    let trail = trail_with_past_changes();
    let role = trail.query_text("SELECT 'purger_' || current_database()");
    trail.run(&format!("CREATE ROLE \"{role}\" LOGIN"));
    for call in [
        "SELECT * FROM threadline.remove_changes('public', 'orders', now(), 1, 'x')",
        "SELECT threadline.drop_trail_partition('audit_changes_2020_01', 'x')",
        "SELECT * FROM threadline.remove_transactions('00000000-0000-0000-0000-000000000000', now(), 1, 'x')",
        "SELECT threadline.remove_actions(now(), 1, 'x')",
        "SELECT * FROM threadline.maintain()",
        "SELECT threadline.create_partition('audit_changes', now(), 0)",
        "SELECT threadline.allow_trail_delete(true)",
        "INSERT INTO threadline.audit_retention_runs (state) VALUES ('running')",
        "UPDATE threadline.audit_settings SET partition_width = 'day'",
    ] {
        let refused = trail.run_as(&role, call).expect_err(call);
        assert!(refused.contains("permission denied"), "{call}: {refused}");
    }
    // Not even the owner can change the record of a finished run.
    trail.run("SELECT past('orders', 0, 5, 20, 10, 1)");
    purge(&trail, &keep(5), &quick()).unwrap();
    for forgery in [
        "UPDATE threadline.audit_retention_runs SET change_count = 0",
        "DELETE FROM threadline.audit_retention_runs",
        "TRUNCATE threadline.audit_retention_runs",
    ] {
        assert!(
            trail.expect_error(forgery).contains("append-only"),
            "{forgery}"
        );
    }
    trail.run("SELECT past('orders', 0, 50, 390, 10, 1)");
    // A role that may read the trail may plan.
    trail.run(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA threadline TO \"{role}\";
         GRANT EXECUTE ON FUNCTION threadline.trail_partitions, threadline.transaction_id_from, threadline.action_id_from,
            threadline.transaction_began_at, threadline.action_recorded_at TO \"{role}\""
    ));
    let url = trail.url_as(&role);
    let plan = block_on(async {
        let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
        plan_retention(&mut conn, &keep(5)).await.unwrap()
    });
    assert_eq!(
        plan.rows(Expired::PartitionOfChanges) + plan.rows(Expired::Changes),
        50
    );
    assert!(purge_at(&url, &keep(5), &quick(), &mut |_| ()).is_err());
    trail.run(&format!(
        "GRANT INSERT, UPDATE ON threadline.audit_retention_runs TO \"{role}\";
         GRANT EXECUTE ON FUNCTION threadline.maintain, threadline.remove_changes, threadline.drop_trail_partition,
            threadline.remove_transactions, threadline.remove_actions TO \"{role}\""
    ));
    let run = purge_at(&url, &keep(5), &quick(), &mut |_| ()).unwrap().run;
    assert_eq!((run.changes, run.started_by), (50, role.clone()));
    let removed_by = trail.query_text(
        "SELECT removed_by FROM threadline.audit_removals ORDER BY order_id DESC LIMIT 1",
    );
    assert_eq!(removed_by, role);
    trail.run(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn current_partitions_and_transactions_with_changes_cannot_be_dropped() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 3, 300, 299, 1)");
    let name = |parent: &str, condition: &str| {
        trail.query_text(&format!(
            "SELECT min(partition_name) FROM threadline.trail_partitions() WHERE parent = '{parent}' AND {condition}"
        ))
    };
    let current = name("audit_changes", "now() BETWEEN from_instant AND to_instant");
    for partition in [
        current.as_str(),
        "audit_changes_default",
        "orders",
        "pg_class",
    ] {
        let refused = trail.expect_error(&format!(
            "SELECT threadline.drop_trail_partition('{partition}', 'x')"
        ));
        assert!(
            refused.contains("is not a partition of the trail for a time that is past"),
            "{refused}"
        );
    }
    let past = name(
        "audit_transactions",
        "now() - interval '299.5 days' BETWEEN from_instant AND to_instant",
    );
    let refused = trail.expect_error(&format!(
        "SELECT threadline.drop_trail_partition('{past}', 'x')"
    ));
    assert!(refused.contains("still have changes"), "{refused}");
    assert_eq!(trail.count(), 3);
}

#[test]
fn a_purge_is_refused_while_feed_consumers_are_behind() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 100, 20, 10, 1)");
    trail.run(
        "INSERT INTO threadline.audit_feed_consumers (name, acknowledged_to)
         SELECT 'search', min(id) + 50 FROM threadline.audit_changes",
    );
    assert_eq!(plan(&trail, &keep(5)).notices, [Notice::FeedBehind]);
    let refused = purge(&trail, &keep(5), &quick());
    assert!(
        matches!(refused, Err(RetentionError::FeedBehind)),
        "{refused:?}"
    );
    assert_eq!(trail.count(), 100);
    trail.run("UPDATE threadline.audit_feed_consumers SET acknowledged_to = acknowledged_to + 50");
    assert_eq!(plan(&trail, &keep(5)).notices, []);
    trail.run("UPDATE threadline.audit_feed_consumers SET acknowledged_to = 0");
    let options = quick().feed_consumers(FeedConsumers::Ignore);
    let outcome = purge(&trail, &keep(5), &options).unwrap();
    assert_eq!(outcome.run.changes, 100);
    // If nothing has expired, no consumer is behind.
    let plan = plan(&trail, &keep(5));
    assert!(plan.is_empty() && plan.notices.is_empty(), "{plan:?}");
}

#[test]
fn a_purge_works_through_pgbouncer_in_transaction_mode() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 1000, 390, 0, 2)");
    let Some(bouncer) = crate::pooling::PgBouncer::start() else {
        eprintln!("skipped: PgBouncer is not installed");
        return;
    };
    let url = bouncer.url(&trail.query_text("SELECT current_database()"));
    // Another client uses the one server connection between the steps.
    let mut other = PgConnection::establish(&url).unwrap();
    other.set_prepared_statement_cache_size(CacheSize::Disabled);
    let outcome = block_on(async {
        let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
        conn.set_prepared_statement_cache_size(CacheSize::Disabled);
        purge_with_progress(&mut conn, &keep(39), &quick(), &mut |_| {
            other.batch_execute("SELECT 1").unwrap();
        })
        .await
    });
    assert_eq!(outcome.unwrap().run.state, RunState::Completed);
    assert_eq!(remaining_and_expired(&trail, "orders", 39), (100, 0));
    let setting = trail.query_text("SELECT current_setting('threadline.trail_delete', true)");
    assert!(setting.is_empty() || setting == "NULL");
}

#[test]
fn several_retention_workers_purge_once_and_stop_on_request() {
    let trail = trail_with_past_changes();
    trail.run("SELECT past('orders', 0, 1000, 390, 0, 2)");
    block_on(async {
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let url = trail.url();
                RetentionWorker::new(keep(39), move || {
                    let url = url.clone();
                    async move { AsyncPgConnection::establish(&url).await }
                })
                .interval(Duration::from_secs(60 * 60))
                .jitter(Duration::ZERO)
                .options(quick())
                .start()
            })
            .collect();
        let is_done = || {
            trail.query_text(
                "SELECT count(*) FROM threadline.audit_retention_runs WHERE state = 'completed'",
            ) != "0"
        };
        while !is_done() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for worker in workers {
            worker.purge_now();
            worker.stop().await;
        }
    });
    assert_eq!(remaining_and_expired(&trail, "orders", 39), (100, 0));
    let changes = trail.query_text("SELECT sum(change_count) FROM threadline.audit_retention_runs");
    assert_eq!(changes, "900");
}
