//! Emitted events match the registry and contain no values of rows, actors or texts.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};

use diesel::pg::PgConnection;
use diesel::prelude::*;
use threadline::blocking;
use threadline::prelude::*;
use threadline::telemetry::{EVENTS, TARGET};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::harness::captured;

/// A collected event.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: String,
    level: String,
    fields: BTreeSet<String>,
    values: String,
}

/// All events of the process with their threads. `tracing` caches interest for the whole process, so
/// that one subscriber per test would not work with parallel tests.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(ThreadId, Seen)>>>);

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" {
            self.name = value;
        } else {
            self.fields.insert(field.name().to_owned());
            self.values.push_str(&value);
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with(TARGET) {
            let mut seen = Seen {
                level: event.metadata().level().to_string(),
                ..Seen::default()
            };
            event.record(&mut seen);
            self.0.lock().unwrap().push((thread::current().id(), seen));
        }
    }
}

/// The events that `work` emits on this thread.
fn collected(work: impl FnOnce()) -> Vec<Seen> {
    static COLLECTOR: OnceLock<Collector> = OnceLock::new();
    let collector = COLLECTOR.get_or_init(|| {
        let collector = Collector::default();
        let subscriber = tracing_subscriber::registry().with(collector.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        collector
    });
    let here = thread::current().id();
    let own = |(from, seen): &(ThreadId, Seen)| (*from == here).then(|| seen.clone());
    let before = collector.0.lock().unwrap().iter().filter_map(own).count();
    work();
    let all = collector.0.lock().unwrap();
    all.iter().filter_map(own).skip(before).collect()
}

fn is_registered(seen: &Seen) -> bool {
    EVENTS.iter().any(|event| {
        event.name == seen.name
            && event.level.to_string() == seen.level
            && event
                .fields
                .iter()
                .map(|field| (*field).to_owned())
                .collect::<BTreeSet<_>>()
                == seen.fields
    })
}

#[test]
fn audited_writes_emit_registered_events_with_exact_counts_and_no_values() {
    let trail = captured(
        "CREATE TABLE secret_a (id int PRIMARY KEY); CREATE TABLE secret_b (id int PRIMARY KEY)",
        &["secret_a", "secret_b"],
    );
    let mut conn = PgConnection::establish(&trail.url()).unwrap();
    let context = AuditContext::new(ActorRef::user("secret-user").unwrap());
    let write = AuditedWrite::new(context.clone())
        .action(Action::new("secret.action").unwrap().comment("secret"))
        .record_failures();
    let events = collected(|| {
        blocking::audited(&mut conn, &write, |conn| {
            diesel::sql_query("INSERT INTO secret_a SELECT generate_series(1, 3)").execute(conn)?;
            diesel::sql_query("INSERT INTO secret_b VALUES (1)").execute(conn)?;
            Ok::<_, AuditError>(())
        })
        .unwrap();
        let failed = blocking::audited(&mut conn, &write, |conn| {
            diesel::sql_query("INSERT INTO secret_b VALUES (1)")
                .execute(conn)
                .map_err(AuditError::from)
        });
        assert!(failed.is_err());
        let unattributed = AuditedWrite::new(AuditContext::unattributed());
        let refused = blocking::audited(&mut conn, &unattributed, |_| Ok::<_, AuditError>(()));
        assert!(refused.is_err());
        blocking::record_action(&mut conn, &context, &Action::new("secret.login").unwrap())
            .unwrap();
    });
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "action recorded",
            "transaction committed",
            "action recorded",
            "capture refused",
            "action recorded"
        ]
    );
    assert_eq!(events[1].values, "42", "4 changes of 2 tables");
    for event in &events {
        assert!(is_registered(event), "{event:?}");
        assert!(!event.values.contains("secret"), "{event:?}");
    }
}

#[test]
fn the_coverage_event_has_counts_and_no_table_names() {
    let trail = captured("CREATE TABLE secret_a (id int PRIMARY KEY)", &["secret_a"]);
    trail.run("CREATE TABLE secret_b (id int); ALTER TABLE secret_a ADD COLUMN secret_c int");
    let events = collected(|| {
        trail
            .run_async(async |conn| {
                threadline::coverage(conn, &threadline::coverage::Coverage::new()).await
            })
            .unwrap();
    });
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(is_registered(&events[0]), "{events:?}");
    assert_eq!(
        events[0].values, "10110",
        "captured, gaps, needs capture, errors, warnings"
    );
}

#[test]
fn every_event_is_emitted_as_registered() {
    use threadline::telemetry;
    let events = collected(|| {
        telemetry::transaction_committed(1, 1);
        telemetry::action_recorded("ok");
        telemetry::archive_finished(1, 0, 1, 1);
        telemetry::archive_failed("not_sealed");
        telemetry::capture_refused("missing_actor");
        telemetry::check_failed("coverage", "database");
        telemetry::console_denied("timeline", "decision");
        telemetry::console_export("csv", "complete", 1, 1);
        telemetry::console_failed("timeline", "pool", "0123");
        telemetry::console_request("timeline", 200, "whole", 1);
        telemetry::console_timeout("timeline");
        telemetry::context_dropped("x-request-id", "too long");
        telemetry::context_missing();
        telemetry::coverage_checked(1, 1, 1, 1, 1);
        telemetry::delivery_failed("timeout");
        telemetry::delivery_sent(1, 200);
        telemetry::delivery_set_aside(422);
        telemetry::evidence_recorded("trigger_coverage", "checked", "pass");
        telemetry::failure_unrecorded("rollback");
        telemetry::job_started("export", 1);
        telemetry::job_done("export", std::time::Duration::from_millis(1));
        telemetry::job_failed("export", "storage_full", "upload");
        telemetry::job_exported(1, 1);
        telemetry::jobs_expired(1);
        telemetry::schedule_due("export");
        telemetry::worker_failed("no_connection");
        telemetry::seal_finished(1, 1, std::time::Duration::from_millis(1));
        telemetry::seal_failed("storage");
        telemetry::retention_started(1);
        telemetry::retention_step(1, "removed", 1, 1, 1);
        telemetry::retention_finished(1, "completed", 1, 1, 1, 1);
        telemetry::retention_failed("step");
    });
    assert_eq!(events.len(), EVENTS.len());
    assert!(events.iter().all(is_registered), "{events:?}");
}
