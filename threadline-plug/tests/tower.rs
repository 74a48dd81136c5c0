//! The layer as a tower service, without a framework.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_plug::AuditContextLayer;
use threadline_plug::layer::{AuditContextService, Rejection};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// Responds with the context of the request.
async fn echo(request: Request<()>) -> Result<Response<AuditContext>, Infallible> {
    let context = request.extensions().get::<AuditContext>().cloned();
    Ok(Response::new(context.expect("the layer sets a context")))
}

/// Panics if it is called before it is ready, as many tower services do. A clone is not ready.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            ready: false,
            calls: Arc::clone(&self.calls),
        }
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(self.ready, "called without being ready");
        self.ready = false;
        self.calls.fetch_add(1, Ordering::SeqCst);
        ready(Ok(Response::new("done".to_owned())))
    }
}

#[tokio::test]
async fn the_inner_service_is_called_only_after_it_is_ready() {
    let immediate = AuditContextLayer::new().actor(|_| Ok(None));
    let deferred = AuditContextLayer::new().actor_async(|_| async {
        tokio::task::yield_now().await;
        Ok(None)
    });
    let strict = Strict::default();
    let mut first = immediate.layer(strict.clone());
    let mut second = deferred.layer(strict.clone());
    for _ in 0..3 {
        first
            .ready()
            .await
            .unwrap()
            .call(Request::new(()))
            .await
            .unwrap();
        second
            .ready()
            .await
            .unwrap()
            .call(Request::new(()))
            .await
            .unwrap();
    }
    assert_eq!(strict.calls.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn a_second_request_can_start_before_the_first_actor_is_resolved() {
    let layer = AuditContextLayer::new().actor_async(|_| async {
        tokio::task::yield_now().await;
        Ok(None)
    });
    let strict = Strict::default();
    let mut service = layer.layer(strict.clone());
    let first = service.ready().await.unwrap().call(Request::new(()));
    let second = service.ready().await.unwrap().call(Request::new(()));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(
        (first.unwrap().body(), second.unwrap().body()),
        (&"done".to_owned(), &"done".to_owned())
    );
    assert_eq!(strict.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_rejection_is_the_response_and_the_service_is_not_called() {
    let strict = Strict::default();
    let rejected = || -> Rejection<String> {
        let response = Response::builder().status(401);
        response.body("sign in".to_owned()).unwrap().into()
    };
    let immediate = AuditContextLayer::new().actor(move |_| Err(rejected()));
    let deferred = AuditContextLayer::new().actor_async(move |_| async move { Err(rejected()) });
    let first = immediate
        .layer(strict.clone())
        .oneshot(Request::new(()))
        .await;
    let second = deferred
        .layer(strict.clone())
        .oneshot(Request::new(()))
        .await;
    assert_eq!(first.unwrap().status(), 401);
    assert_eq!(second.unwrap().body(), "sign in");
    assert_eq!(strict.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_inner_layer_adds_to_the_outer_context() {
    let inner = AuditContextLayer::new()
        .actor(|parts| {
            let outer = parts.extensions.get::<AuditContext>();
            assert!(outer.is_some(), "the resolver sees the outer context");
            Ok(None)
        })
        .source("admin");
    let service = ServiceBuilder::new()
        .layer(
            AuditContextLayer::new()
                .actor(|_| Ok(ActorRef::user("1").ok()))
                .source("web"),
        )
        .layer(inner)
        .service(service_fn(echo));
    let context = service.oneshot(Request::new(())).await.unwrap().into_body();
    let expected = AuditContext::new(ActorRef::user("1").unwrap()).source("admin");
    assert_eq!(context, expected);
}

#[tokio::test]
async fn without_a_resolver_the_context_is_unattributed() {
    let service = AuditContextLayer::new().layer(service_fn(echo));
    let context = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert_eq!(context, AuditContext::unattributed());
}

#[test]
fn layer_service_and_future_are_send_clone_and_debug() {
    fn check<T: Clone + std::fmt::Debug + Send + Sync + 'static>(value: T) -> String {
        format!("{:?}", value.clone())
    }
    fn check_send<T: std::fmt::Debug + Send + 'static>(_: &T) {}

    let secret = "s3cret".to_owned();
    let layer = AuditContextLayer::new().actor_async(move |_| {
        let secret = secret.clone();
        async move { Ok(ActorRef::user(secret).ok()) }
    });
    let mut service: AuditContextService<_, _> = layer.layer(Strict::default());
    service.get_mut().ready = true;
    check_send(&service.call(Request::new(())));
    assert!(check(layer).starts_with("ContextMiddleware"));
    assert!(check(service.clone()).contains("Strict"));
    assert!(!service.into_inner().ready);
}
