//! Events of the console match the registry, and have no actor, id, filter or value.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, ThreadId};
use std::time::Duration;

use axum::http::StatusCode;
use diesel_async::SimpleAsyncConnection;
use threadline_core::telemetry::{EVENTS, TARGET};
use threadline_surface::Limits;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::harness::{Lane, Site, Trail, block_on};

#[derive(Debug, Clone, Default)]
struct Seen {
    name: String,
    fields: BTreeSet<String>,
    values: String,
}

/// All events of the process with their threads, because `tracing` has one subscriber for all tests.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<(ThreadId, Seen)>>>);

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" {
            self.name = value;
        } else {
            self.fields.insert(field.name().to_owned());
            write!(self.values, "{}={value} ", field.name()).unwrap();
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with(TARGET) {
            let mut seen = Seen::default();
            event.record(&mut seen);
            self.0.lock().unwrap().push((thread::current().id(), seen));
        }
    }
}

/// The events that `work` emits on this thread. The library of exports has one of its own.
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
    let new = all.iter().filter_map(own).skip(before);
    new.filter(|seen| seen.name != "export done").collect()
}

fn is_registered(seen: &Seen) -> bool {
    EVENTS.iter().any(|event| {
        let fields = event.fields.iter().map(|field| (*field).to_owned());
        event.name == seen.name && fields.collect::<BTreeSet<_>>() == seen.fields
    })
}

#[test]
fn events_of_the_console_are_registered_and_have_no_filter_or_value() {
    let trail = Trail::new();
    trail.write(
        "user:secret",
        7,
        "INSERT INTO invoices VALUES (77712, 1, 'secret')",
    );
    let limits = Limits::default().statement_timeout(Duration::from_millis(200));
    let site = Site::new(trail.recording_builder().limits(limits).build().unwrap());
    let events = collected(|| {
        block_on(async {
            let address = "/audit/timeline?table=invoices&key=77712&actor=user%3Asecret";
            site.get(address, Lane::Admin).await;
            site.get(address, Lane::Support).await;
            site.get(address, Lane::Forbidden).await;
            site.get(&format!("{address}&op=secret"), Lane::Admin).await;
            let file = "/audit/download/changes.csv?key=77712&table=invoices&actor=user%3Asecret";
            let file = site.get(file, Lane::Admin).await;
            assert_eq!(file.status, StatusCode::OK);
            trail.recorded(1).await;
            let mut conn = trail.connect().await;
            conn.batch_execute(
                "BEGIN; LOCK TABLE threadline.audit_changes IN ACCESS EXCLUSIVE MODE",
            )
            .await
            .unwrap();
            site.get("/audit/changes?id=77712", Lane::Admin).await;
        });
    });
    let names: BTreeSet<_> = events.iter().map(|event| event.name.as_str()).collect();
    let expected = [
        "action recorded",
        "console denied",
        "console export",
        "console request",
        "console timeout",
    ];
    assert_eq!(names.into_iter().collect::<Vec<_>>(), expected);
    for event in &events {
        assert!(is_registered(event), "{event:?}");
        for hidden in ["secret", "77712", "invoices", "user:", "tenant", "Tenant"] {
            assert!(!event.values.contains(hidden), "{hidden}: {event:?}");
        }
    }
    let values = |name: &str| -> Vec<_> {
        let found = events.iter().filter(|event| event.name == name);
        found.map(|event| event.values.as_str()).collect()
    };
    assert!(values("console request")[0].contains("lane=\"whole\""));
    assert!(values("console request")[1].contains("lane=\"scoped\""));
    assert!(values("console export")[0].starts_with("format=\"csv\" outcome=\"complete\" rows=1 "));
    assert_eq!(values("console timeout"), ["screen=\"change\" "]);
}
