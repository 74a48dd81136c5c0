//! The way of every request: base path, headers, CSRF, limits, authorization, the screen, errors.

mod authorize;
mod denial;
mod fetch_metadata;
mod headers;
mod respond;
mod run_screen;

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::IF_NONE_MATCH;
use axum::http::{Method, Response, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use chrono::Utc;
use futures_util::future::BoxFuture;
use threadline_core::telemetry::console_request;
use tower::util::{BoxCloneSyncService, service_fn};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::compression::predicate::{NotForContentType, Predicate};
use tower_http::compression::{CompressionLayer, DefaultPredicate};
use tower_http::csrf::CsrfLayer;
use uuid::Uuid;

use self::authorize::decide;
use self::denial::deny;
use self::headers::{add_headers, text_response};
use self::respond::respond;
use self::run_screen::run_screen;
use crate::access::{Decision, Denial, Visit};
use crate::base_path::base_path;
use crate::download;
use crate::page::Screen;
use crate::page_error::PageError;
use crate::preferences::{Preferences, is_secure};
use crate::question::FieldError;
use crate::request::GrantedRequest;
use crate::route::Route;
use crate::routes::{NOT_FOUND, SCREENS};
use crate::settings::Settings;

/// What the outermost step found out about a request.
#[derive(Debug, Clone)]
struct Arrival {
    base: String,
    nonce: String,
}

/// The service of a console.
pub(crate) fn service(
    settings: Arc<Settings>,
    csrf: CsrfLayer,
) -> BoxCloneSyncService<Request, Response<Body>, Infallible> {
    let router = router(&settings).layer(csrf);
    let gate = service_fn(move |request| enter(Arc::clone(&settings), router.clone(), request));
    let compressible = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/gzip"))
        .and(NotForContentType::const_new(
            "application/vnd.apache.parquet",
        ));
    let service = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(CompressionLayer::new().compress_when(compressible))
        .service(gate);
    BoxCloneSyncService::new(service)
}

fn router(settings: &Arc<Settings>) -> Router {
    let router = SCREENS.iter().fold(Router::new(), |router, route| {
        let filter = match route.method {
            Method::POST => MethodFilter::POST,
            _ => MethodFilter::GET,
        };
        let handler: MethodRouter = on(filter, endpoint(settings, route));
        router.route(route.path, handler)
    });
    // Another method is as unknown as another path, so that a denied visitor learns of neither.
    router
        .method_not_allowed_fallback(endpoint(settings, &NOT_FOUND))
        .fallback(endpoint(settings, &NOT_FOUND))
}

/// The handler of a route.
fn endpoint(
    settings: &Arc<Settings>,
    route: &'static Route,
) -> impl Fn(Request) -> BoxFuture<'static, Response<Body>> + Clone + Send + Sync + 'static + use<>
{
    let settings = Arc::clone(settings);
    move |request| Box::pin(visit(Arc::clone(&settings), route, request))
}

/// The outermost step: finds the base path, refuses requests of other sites, and adds the headers.
async fn enter(
    settings: Arc<Settings>,
    router: Router,
    request: Request,
) -> Result<Response<Body>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let arrival = Arrival {
        base: settings
            .base_path
            .clone()
            .unwrap_or_else(|| base_path(&parts)),
        nonce: Uuid::new_v4().simple().to_string(),
    };
    let nonce = arrival.nonce.clone();
    let length = parts
        .uri
        .path_and_query()
        .map_or(0, |one| one.as_str().len());
    let mut response = if length > settings.limits.address_bytes {
        text_response(StatusCode::URI_TOO_LONG, "the address is too long")
    } else if fetch_metadata::is_refused(&parts) {
        text_response(StatusCode::FORBIDDEN, "this request came from another site")
    } else {
        parts.extensions.insert(arrival);
        let request = Request::from_parts(parts, body);
        router.oneshot(request).await?
    };
    add_headers(response.headers_mut(), &nonce);
    Ok(response)
}

/// Authorizes a request and answers it.
async fn visit(settings: Arc<Settings>, route: &'static Route, request: Request) -> Response<Body> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let Some(arrival) = parts.extensions.get::<Arrival>().cloned() else {
        return text_response(StatusCode::INTERNAL_SERVER_ERROR, "");
    };
    let Ok(actor) = catch_unwind(AssertUnwindSafe(|| (settings.find_actor)(&parts))) else {
        return deny(&Denial::Forbidden, &parts);
    };
    let visit = Visit {
        parts: parts.clone(),
        actor: actor.clone(),
        screen: route.screen,
        capability: route.capability,
    };
    let grant = match decide(&settings, visit).await {
        Decision::Grant(grant) => grant,
        Decision::Deny(denial) => return deny(&denial, &parts),
    };
    if route.is_file && fetch_metadata::is_foreign(&parts) {
        return text_response(StatusCode::FORBIDDEN, "downloads start in the console");
    }
    let form = read_form(&settings, &parts.method, body).await;
    let (form, rejected) = match form {
        Ok(form) => (form, None),
        Err(error) => (String::new(), Some(error)),
    };
    let if_none_match = parts.headers.get(IF_NONE_MATCH);
    let if_none_match = if_none_match.and_then(|tag| tag.to_str().ok());
    let request = GrantedRequest {
        preferences: Preferences::from_parts(&parts, settings.zone),
        settings,
        route,
        grant,
        actor,
        base: arrival.base,
        nonce: arrival.nonce,
        now: Utc::now(),
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        form,
        if_none_match: if_none_match.unwrap_or_default().to_owned(),
        is_secure: is_secure(&parts),
    };
    let outcome = match rejected {
        Some(error) => Err(error),
        None => run_screen(&request).await,
    };
    let response = match outcome {
        Ok(Screen::Download(file)) => {
            let file = download::respond(&request, *file).await;
            file.unwrap_or_else(|error| respond(&request, Err(error)))
        }
        outcome => respond(&request, outcome),
    };
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let lane = if request.scope().is_some() {
        "scoped"
    } else {
        "whole"
    };
    console_request(route.screen, response.status().as_u16(), lane, ms);
    response
}

/// The body of a form.
async fn read_form(settings: &Settings, method: &Method, body: Body) -> Result<String, PageError> {
    if method != Method::POST {
        return Ok(String::new());
    }
    let too_long = PageError::TooLong(StatusCode::PAYLOAD_TOO_LARGE);
    let bytes = axum::body::to_bytes(body, settings.limits.body_bytes);
    let Ok(bytes) = tokio::time::timeout(settings.limits.request, bytes).await else {
        return Err(PageError::Unavailable("slow form"));
    };
    let Ok(bytes) = bytes else {
        return Err(too_long);
    };
    String::from_utf8(bytes.to_vec())
        .map_err(|_| PageError::Invalid(vec![FieldError::of_page("the form is not UTF-8")]))
}
