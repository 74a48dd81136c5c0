//! The tower layer, for axum, tonic and any other tower service of HTTP requests.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::AuditContextLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! /// Set by the authentication layer, which is further out.
//! #[derive(Clone)]
//! struct CurrentUser(u64);
//!
//! async fn handle(request: Request<String>) -> Result<Response<String>, Infallible> {
//!     let context = request.extensions().get::<AuditContext>();
//!     let actor = context.and_then(AuditContext::actor);
//!     Ok(Response::new(actor.map(ToString::to_string).unwrap_or_default()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = ServiceBuilder::new()
//!     .layer(AuditContextLayer::new().source("web").actor(|parts| {
//!         let user = parts.extensions.get::<CurrentUser>();
//!         Ok(user.and_then(|user| ActorRef::user(user.0.to_string()).ok()))
//!     }))
//!     .service(service_fn(handle));
//!
//! let mut request = Request::new(String::new());
//! request.extensions_mut().insert(CurrentUser(42));
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.body(), "user:42");
//! # Ok(())
//! # }
//! ```
//!
//! # The context
//!
//! | field | sources, in order of precedence |
//! |---|---|
//! | actor | [`actor`](AuditContextLayer::actor) or [`actor_async`](AuditContextLayer::actor_async) |
//! | request id | `x-request-id`, [`context_overrides`](ContextMiddleware::context_overrides) |
//! | correlation id | `x-correlation-id`, `context_overrides`, the trace id of `traceparent` |
//! | on behalf of | `context_overrides` |
//! | remote address | [`remote_addr`](AuditContextLayer::remote_addr) |
//! | source | [`source`](ContextMiddleware::source) |
//!
//! A header value that is empty, too long, not UTF-8, malformed or has control characters is dropped,
//! and the next source applies. Each drop is a `tracing` event `context dropped` with the target
//! `threadline` and the level `DEBUG`. Its fields are `header` and `reason`; the value is not logged.
//!
//! An inner layer adds its values to the context of an outer one.

mod future;
mod rejection;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

pub use self::future::AuditContextFuture;
pub use self::rejection::Rejection;
pub use self::service::AuditContextService;
use crate::actor::{ActorResult, FromAsyncFn, FromFn, NoActor};
use crate::context_rules::ContextRules;
use crate::middleware::ContextMiddleware;
use crate::remote::RemoteAddr;

/// The tower layer that adds an [`AuditContext`](threadline_core::context::AuditContext) to the
/// extensions of every request. The [module documentation](self) has an example.
pub type AuditContextLayer<R = NoActor> = ContextMiddleware<Parts, R>;

impl ContextMiddleware<Parts, NoActor> {
    /// Creates a layer that reads the default headers and sets neither actor nor address.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Default for ContextMiddleware<Parts, NoActor> {
    fn default() -> Self {
        Self {
            rules: ContextRules::default(),
            resolver: Arc::new(NoActor),
        }
    }
}

impl<R> ContextMiddleware<Parts, R> {
    /// Resolves the actor by a closure. It returns the actor, `None` for an unattributed request, or
    /// a [`Rejection`] with the response to send instead of calling the service.
    pub fn actor<F, B>(self, function: F) -> AuditContextLayer<FromFn<F>>
    where
        F: Fn(&Parts) -> ActorResult<Rejection<B>>,
    {
        self.actor_resolver(FromFn::new(function))
    }

    /// Resolves the actor by a closure that returns a future. The future cannot borrow from the
    /// request.
    pub fn actor_async<F, Fut, B>(self, function: F) -> AuditContextLayer<FromAsyncFn<F>>
    where
        F: Fn(&Parts) -> Fut,
        Fut: Future<Output = ActorResult<Rejection<B>>>,
    {
        self.actor_resolver(FromAsyncFn::new(function))
    }

    /// Sets which remote address is recorded. The closure returns the address of the connection's
    /// peer.
    ///
    /// With axum, served with `into_make_service_with_connect_info::<SocketAddr>()`:
    ///
    /// ```
    /// use axum::extract::ConnectInfo;
    /// use std::net::SocketAddr;
    /// use threadline_plug::{AuditContextLayer, RemoteAddr};
    ///
    /// let layer = AuditContextLayer::new().remote_addr(RemoteAddr::Peer, |parts| {
    ///     parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
    /// });
    /// ```
    ///
    /// With tonic: `parts.extensions.get::<TcpConnectInfo>()?.remote_addr()`.
    pub fn remote_addr<F>(mut self, remote_addr: RemoteAddr, peer: F) -> Self
    where
        F: Fn(&Parts) -> Option<SocketAddr> + Send + Sync + 'static,
    {
        self.rules.remote_addr = remote_addr;
        self.rules.peer = Some(Arc::new(peer));
        self
    }
}

impl<S, R> Layer<S> for ContextMiddleware<Parts, R> {
    type Service = AuditContextService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let rules = Arc::new(self.rules.clone());
        AuditContextService::new(inner, rules, Arc::clone(&self.resolver))
    }
}
