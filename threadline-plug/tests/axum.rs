//! An axum application with the layer.
#![cfg(feature = "axum")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use threadline_core::actor::ActorRef;
use threadline_core::context::{AuditContext, ContextId};
use threadline_plug::layer::Rejection;
use threadline_plug::{Audit, AuditContextLayer, ContextOverrides, RemoteAddr, TrustedProxies};
use tokio::sync::Barrier;
use tower::ServiceExt;

/// The context as JSON.
async fn show(Audit(context): Audit) -> String {
    serde_json::to_string(&context).unwrap()
}

async fn body(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn context(app: Router, request: Request<Body>) -> AuditContext {
    let response = app.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&body(response).await).unwrap()
}

fn id(text: &str) -> ContextId {
    ContextId::new(text).unwrap()
}

#[tokio::test]
async fn the_context_has_all_values_of_the_request() {
    let proxies = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
    let audit = AuditContextLayer::new()
        .source("api")
        .request_id_header(HeaderName::from_static("x-amzn-trace-id"))
        .correlation_id_header(HeaderName::from_static("x-saga"))
        .actor(|_| Ok(ActorRef::admin("7").ok()))
        .context_overrides(|_| ContextOverrides::new().on_behalf_of(ActorRef::user("42").ok()))
        .remote_addr(RemoteAddr::TrustedProxies(proxies), |parts| {
            let info = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
            Some(info.0)
        });
    let app = Router::new().route("/", get(show)).layer(audit);
    let mut request = Request::builder()
        .header("x-amzn-trace-id", "Root=1-67")
        .header("x-saga", "saga-1")
        .header("x-request-id", "another's")
        .header("x-forwarded-for", "203.0.113.9")
        .body(Body::empty())
        .unwrap();
    let peer: SocketAddr = "10.0.0.1:80".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));

    let expected = AuditContext::new(ActorRef::admin("7").unwrap())
        .on_behalf_of(ActorRef::user("42").unwrap())
        .request_id(id("Root=1-67"))
        .correlation_id(id("saga-1"))
        .source("api")
        .remote_addr("203.0.113.9");
    assert_eq!(context(app, request).await, expected);
}

#[tokio::test]
async fn invalid_headers_are_not_in_the_context() {
    let app = Router::new()
        .route("/", get(show))
        .layer(AuditContextLayer::new());
    let megabyte = vec![b'a'; 1 << 20];
    for invalid in [b"".as_slice(), b" ", b"\xff\xfe\xfd", b"a\tb", &megabyte] {
        let mut request = Request::new(Body::empty());
        for name in ["x-request-id", "x-correlation-id", "traceparent"] {
            let value = HeaderValue::from_bytes(invalid).unwrap();
            request.headers_mut().insert(name, value);
        }
        let context = context(app.clone(), request).await;
        assert_eq!(context, AuditContext::unattributed());
    }
}

#[tokio::test]
async fn the_extractor_fails_without_the_layer() {
    let optional = |audit: Option<Audit>| async move { audit.is_none().to_string() };
    let app = Router::new()
        .route("/", get(show))
        .route("/optional", get(optional));

    let response = app.clone().oneshot(Request::new(Body::empty())).await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body(response).await.contains("add AuditContextLayer"));

    let request = Request::builder().uri("/optional");
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await;
    assert_eq!(body(response.unwrap()).await, "true");
}

#[tokio::test]
async fn an_asynchronous_resolver_can_reject_the_request() {
    let audit = AuditContextLayer::new().actor_async(|parts| {
        let known = parts.headers.contains_key("x-user");
        async move {
            tokio::task::yield_now().await;
            if known {
                Ok(ActorRef::user("42").ok())
            } else {
                Err(Rejection::from_response(StatusCode::UNAUTHORIZED))
            }
        }
    });
    let app = Router::new().route("/", get(show)).layer(audit);

    let response = app.clone().oneshot(Request::new(Body::empty())).await;
    assert_eq!(response.unwrap().status(), StatusCode::UNAUTHORIZED);

    let request = Request::builder().header("x-user", "x");
    let context = context(app, request.body(Body::empty()).unwrap()).await;
    assert_eq!(context.actor(), ActorRef::user("42").ok().as_ref());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_have_their_own_contexts() {
    const REQUESTS: u64 = 16;
    let barrier = Arc::new(Barrier::new(usize::try_from(REQUESTS).unwrap()));
    let barrier_in_handler = Arc::clone(&barrier);
    let handler = move |Audit(context): Audit| {
        let barrier = Arc::clone(&barrier_in_handler);
        async move {
            barrier.wait().await;
            serde_json::to_string(&context).unwrap()
        }
    };
    let audit = AuditContextLayer::new().actor_async(|parts| {
        let user = parts.headers.get("x-request-id").cloned();
        async move {
            tokio::task::yield_now().await;
            let user = user.and_then(|user| user.to_str().map(str::to_owned).ok());
            Ok(user.and_then(|user| ActorRef::user(user).ok()))
        }
    });
    let app = Router::new().route("/", get(handler)).layer(audit);

    let done = Arc::new(AtomicU64::new(0));
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..REQUESTS {
        let (app, done) = (app.clone(), Arc::clone(&done));
        requests.spawn(async move {
            let own = number.to_string();
            let request = Request::builder().header("x-request-id", &own);
            let context = context(app, request.body(Body::empty()).unwrap()).await;
            let expected = AuditContext::new(ActorRef::user(&own).unwrap()).request_id(id(&own));
            assert_eq!(context, expected);
            done.fetch_add(1, Ordering::SeqCst);
        });
    }
    requests.join_all().await;
    assert_eq!(done.load(Ordering::SeqCst), REQUESTS);
}
