//! Events about dropped header values.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::io;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use threadline_plug::AuditContextLayer;
use tower::{Layer, ServiceExt, service_fn};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[test]
fn a_dropped_value_is_logged_without_the_value() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let service = AuditContextLayer::new().layer(service_fn(async |_: Request<()>| {
        Ok::<_, std::convert::Infallible>(Response::new(()))
    }));
    let request = Request::builder()
        .header("x-request-id", "s3cret".repeat(100))
        .header("traceparent", "s3cret")
        .body(())
        .unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(service.oneshot(request)).unwrap();
    });

    let text = log.text();
    for expected in [
        "threadline: context dropped",
        "header=\"x-request-id\" reason=\"too long\"",
        "header=\"traceparent\" reason=\"malformed\"",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in {text}");
    }
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}
