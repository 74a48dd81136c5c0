//! An actix-web application with the middleware.
#![cfg(feature = "actix")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::net::SocketAddr;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::test::{
    TestRequest, call_and_read_body_json, call_service, init_service, read_body,
};
use actix_web::{App, HttpMessage, HttpResponse, error, rt, web};
use threadline_core::actor::ActorRef;
use threadline_core::context::{AuditContext, ContextId};
use threadline_plug::actix::AuditContextMiddleware;
use threadline_plug::{Audit, ContextOverrides, RemoteAddr, TrustedProxies};

async fn show(Audit(context): Audit) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .body(serde_json::to_string(&context).unwrap())
}

fn id(text: &str) -> ContextId {
    ContextId::new(text).unwrap()
}

/// Set by authentication.
#[derive(Clone)]
struct CurrentUser(&'static str);

#[test]
fn the_context_has_all_values_of_the_request() {
    rt::System::new().block_on(async {
        let proxies = TrustedProxies::parse(["10.0.0.0/8"]).unwrap();
        let audit = AuditContextMiddleware::new()
            .source("api")
            .actor(|request| {
                let extensions = request.extensions();
                let user = extensions.get::<CurrentUser>();
                Ok(user.and_then(|user| ActorRef::admin(user.0).ok()))
            })
            .context_overrides(|_| {
                ContextOverrides::new()
                    .request_id(id("late"))
                    .correlation_id(id("c"))
                    .on_behalf_of(ActorRef::user("42").ok())
            })
            .remote_addr(RemoteAddr::TrustedProxies(proxies));
        let app = init_service(App::new().wrap(audit).route("/", web::get().to(show))).await;
        let peer: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let request = TestRequest::get()
            .peer_addr(peer)
            .insert_header(("x-request-id", "r-1"))
            .append_header(("x-forwarded-for", "6.6.6.6"))
            .append_header(("x-forwarded-for", "203.0.113.9, 10.9.9.9"))
            .to_request();
        request.extensions_mut().insert(CurrentUser("7"));

        let context: AuditContext = call_and_read_body_json(&app, request).await;
        let expected = AuditContext::new(ActorRef::admin("7").unwrap())
            .on_behalf_of(ActorRef::user("42").unwrap())
            .request_id(id("r-1"))
            .correlation_id(id("c"))
            .source("api")
            .remote_addr("203.0.113.9");
        assert_eq!(context, expected);
    });
}

#[test]
fn invalid_headers_are_not_in_the_context() {
    rt::System::new().block_on(async {
        let audit = AuditContextMiddleware::new();
        let app = init_service(App::new().wrap(audit).route("/", web::get().to(show))).await;
        let megabyte = vec![b'a'; 1 << 20];
        for invalid in [b"".as_slice(), b"\xff\xfe", b"a\tb", &megabyte] {
            let value = HeaderValue::from_bytes(invalid).unwrap();
            let request = TestRequest::get()
                .insert_header((HeaderName::from_static("x-request-id"), value.clone()))
                .insert_header((HeaderName::from_static("traceparent"), value))
                .to_request();
            let context: AuditContext = call_and_read_body_json(&app, request).await;
            assert_eq!(context, AuditContext::unattributed());
        }
    });
}

#[test]
fn an_asynchronous_resolver_can_reject_the_request() {
    rt::System::new().block_on(async {
        let audit = AuditContextMiddleware::new().actor_async(|request| {
            let known = request.headers().contains_key("x-user");
            async move {
                rt::task::yield_now().await;
                if known {
                    Ok(ActorRef::user("42").ok())
                } else {
                    Err(error::ErrorUnauthorized("sign in"))
                }
            }
        });
        let app = init_service(App::new().wrap(audit).route("/", web::get().to(show))).await;
        let known = TestRequest::get().insert_header(("x-user", "x"));
        let context: AuditContext = call_and_read_body_json(&app, known.to_request()).await;
        assert_eq!(context.actor(), ActorRef::user("42").ok().as_ref());

        let rejected = actix_web::dev::Service::call(&app, TestRequest::get().to_request()).await;
        let error = rejected
            .err()
            .map(|error| error.as_response_error().status_code());
        assert_eq!(error.map(|status| status.as_u16()), Some(401));
    });
}

#[test]
fn the_extractor_fails_without_the_middleware() {
    rt::System::new().block_on(async {
        let optional = |audit: Option<Audit>| async move { audit.is_none().to_string() };
        let app = App::new()
            .route("/", web::get().to(show))
            .route("/optional", web::get().to(optional));
        let app = init_service(app).await;

        let response = call_service(&app, TestRequest::get().to_request()).await;
        assert_eq!(response.status().as_u16(), 500);
        let text = read_body(response).await;
        assert!(String::from_utf8_lossy(&text).contains("add AuditContextLayer"));

        let request = TestRequest::get().uri("/optional").to_request();
        let response = call_service(&app, request).await;
        assert_eq!(read_body(response).await, "true");
    });
}
