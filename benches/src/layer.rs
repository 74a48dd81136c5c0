//! What the tower layer adds to a request.
//!
//! An empty service is called with and without the layer, interleaved, without a runtime and without a
//! connection. The difference is the cost of the layer, including the context that it creates and drops.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::FutureExt;
use http::{Request, Response};
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use threadline_plug::{AuditContextLayer, RemoteAddr, TrustedProxies};
use tower::{Layer, Service, service_fn};

/// Pairs of rounds: one with the layer, one without.
const ROUNDS: usize = 400;

/// Requests per round.
const REQUESTS: u32 = 1_000;

/// The authenticated user.
#[derive(Clone, Copy)]
struct CurrentUser(u64);

/// Measures a request without context and one with all context fields, and prints the results.
pub(crate) fn measure() -> Result<()> {
    let bare = added(&AuditContextLayer::new(), || Request::new(()), false)?;
    println!("a request without context: {} ns", bare.as_nanos());
    let proxies = TrustedProxies::parse(["10.0.0.0/8"])?;
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);
    let layer = AuditContextLayer::new()
        .source("web")
        .actor(|parts| {
            let user = parts.extensions.get::<CurrentUser>();
            Ok(user.and_then(|user| ActorRef::user(user.0.to_string()).ok()))
        })
        .remote_addr(RemoteAddr::TrustedProxies(proxies), move |_| Some(peer));
    let whole = added(&layer, full_request, true)?;
    println!(
        "a request with user, request id, correlation id, traceparent and forwarded address: {} ns",
        whole.as_nanos()
    );
    Ok(())
}

fn full_request() -> Request<()> {
    let mut request = Request::new(());
    let headers = request.headers_mut();
    for (name, value) in [
        ("host", "api.example.com"),
        ("user-agent", "curl/8.5.0"),
        ("accept", "*/*"),
        ("x-request-id", "0af7651916cd43dd8448eb211c80319c"),
        ("x-correlation-id", "order-7001"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("x-forwarded-for", "203.0.113.9, 10.0.0.7"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    request.extensions_mut().insert(CurrentUser(42));
    request
}

/// The median time that the layer adds to a request.
fn added<L>(layer: &L, request: impl Fn() -> Request<()>, expects_actor: bool) -> Result<Duration>
where
    L: Layer<Inner>,
    L::Service: Service<Request<()>, Response = Response<bool>, Error = Infallible>,
{
    let mut plain = service_fn(handle as Handler);
    let mut layered = layer.layer(service_fn(handle as Handler));
    let mut differences = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let without = round(&mut plain, &request)?.0;
        let (with, actors) = round(&mut layered, &request)?;
        anyhow::ensure!(
            actors == if expects_actor { REQUESTS } else { 0 },
            "the layer found {actors} actors"
        );
        differences.push(with.saturating_sub(without) / REQUESTS);
    }
    differences.sort_unstable();
    Ok(differences[ROUNDS / 2])
}

type Answer = std::future::Ready<Result<Response<bool>, Infallible>>;
type Handler = fn(Request<()>) -> Answer;
type Inner = tower::util::ServiceFn<Handler>;

/// Reads the context as a handler does, and returns whether it has an actor.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a service consumes its requests"
)]
fn handle(request: Request<()>) -> Answer {
    let context = request.extensions().get::<AuditContext>();
    let known = context.and_then(AuditContext::actor).is_some();
    std::future::ready(Ok(Response::new(known)))
}

/// Runs a round of requests, and returns its duration and the number of requests with an actor.
fn round<S>(service: &mut S, request: impl Fn() -> Request<()>) -> Result<(Duration, u32)>
where
    S: Service<Request<()>, Response = Response<bool>, Error = Infallible>,
{
    let mut actors = 0;
    let start = Instant::now();
    for _ in 0..REQUESTS {
        let response = service
            .call(black_box(request()))
            .now_or_never()
            .context("the service must answer immediately")??;
        actors += u32::from(*response.body());
    }
    Ok((start.elapsed(), actors))
}
