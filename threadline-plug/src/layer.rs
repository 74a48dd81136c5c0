//! The tower layer: for axum, tonic and whatever else is a service of HTTP requests.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::AuditContextLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! /// What the authentication layer, further out, found.
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
//! # What ends up in the context
//!
//! | field | from, in this order |
//! |---|---|
//! | actor | [`actor`](AuditContextLayer::actor) or [`actor_async`](AuditContextLayer::actor_async) |
//! | request id | `x-request-id`, [`context_overrides`](AuditContextLayer::context_overrides) |
//! | correlation id | `x-correlation-id`, `context_overrides`, the trace id of `traceparent` |
//! | on behalf of | `context_overrides` |
//! | remote address | [`remote_addr`](AuditContextLayer::remote_addr) |
//! | source | [`source`](AuditContextLayer::source) |
//!
//! A header value that is empty, too long, not UTF-8, holds control characters or is malformed is
//! dropped, and the next source is asked. Each drop is a `tracing` event `context dropped` under
//! the target `threadline` at debug level, with the fields `header` and `reason`, never the value.
//!
//! Where the layer is used twice, on an application and on a part of it, the inner one adds to
//! what the outer one found.

mod future;
mod refusal;
mod service;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;
use tower_layer::Layer;

pub use self::future::AuditContextFuture;
pub use self::refusal::Refusal;
pub use self::service::AuditContextService;
use crate::actor::{FromAsyncFn, FromFn, NoActor, Resolved};
use crate::edge::EdgeRules;
use crate::overrides::ContextOverrides;
use crate::remote::RemoteAddr;

type Overrides = Arc<dyn Fn(&Parts) -> ContextOverrides + Send + Sync>;
type Peer = Arc<dyn Fn(&Parts) -> Option<SocketAddr> + Send + Sync>;

/// Everything but the actor, which has a type of its own.
#[derive(Clone, Default)]
struct Edge {
    rules: EdgeRules,
    overrides: Option<Overrides>,
    peer: Option<Peer>,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Puts an [`AuditContext`](threadline_core::context::AuditContext) into the extensions of every
/// request.
///
/// The [module documentation](self) has an example and says what the context holds.
#[must_use = "a layer does nothing until it is added to a service"]
pub struct AuditContextLayer<R = NoActor> {
    edge: Edge,
    resolver: Arc<R>,
}

impl AuditContextLayer {
    /// Reads the headers of the default names; knows no actor and no address.
    pub fn new() -> Self {
        Self {
            edge: Edge::default(),
            resolver: Arc::new(NoActor),
        }
    }
}

impl Default for AuditContextLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> AuditContextLayer<R> {
    /// Asks this closure who is behind a request: `Ok(Some(actor))`, `Ok(None)` for nobody in
    /// particular, or a [`Refusal`] to answer in the handler's place.
    pub fn actor<F, B>(self, function: F) -> AuditContextLayer<FromFn<F>>
    where
        F: Fn(&Parts) -> Resolved<Refusal<B>>,
    {
        self.actor_resolver(FromFn::new(function))
    }

    /// As [`actor`](Self::actor), for an answer that has to be waited for. The future takes along
    /// what it needs; it cannot borrow from the request.
    pub fn actor_async<F, Fut, B>(self, function: F) -> AuditContextLayer<FromAsyncFn<F>>
    where
        F: Fn(&Parts) -> Fut,
        Fut: Future<Output = Resolved<Refusal<B>>>,
    {
        self.actor_resolver(FromAsyncFn::new(function))
    }

    /// Asks a [`ResolveActor`](crate::actor::ResolveActor) that is no closure.
    pub fn actor_resolver<R2>(self, resolver: R2) -> AuditContextLayer<R2> {
        AuditContextLayer {
            edge: self.edge,
            resolver: Arc::new(resolver),
        }
    }

    /// The header with the request's id, instead of `x-request-id`.
    pub fn request_id_header(mut self, name: HeaderName) -> Self {
        self.edge.rules.request_id = name;
        self
    }

    /// The header with the correlation's id, instead of `x-correlation-id`.
    pub fn correlation_id_header(mut self, name: HeaderName) -> Self {
        self.edge.rules.correlation_id = name;
        self
    }

    /// Where the work came in: `web`, `api`. None by default.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.edge.rules.source = Some(source.into());
        self
    }

    /// Records the remote address, given how to find the peer's.
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
    pub fn remote_addr<F>(mut self, rule: RemoteAddr, peer: F) -> Self
    where
        F: Fn(&Parts) -> Option<SocketAddr> + Send + Sync + 'static,
    {
        self.edge.rules.remote = rule;
        self.edge.peer = Some(Arc::new(peer));
        self
    }

    /// Fills what the headers left open from what earlier layers put into the extensions; see
    /// [`overrides`](crate::overrides).
    pub fn context_overrides<F>(mut self, overrides: F) -> Self
    where
        F: Fn(&Parts) -> ContextOverrides + Send + Sync + 'static,
    {
        self.edge.overrides = Some(Arc::new(overrides));
        self
    }
}

impl<R> Clone for AuditContextLayer<R> {
    fn clone(&self) -> Self {
        Self {
            edge: self.edge.clone(),
            resolver: Arc::clone(&self.resolver),
        }
    }
}

impl<R> fmt::Debug for AuditContextLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContextLayer")
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

impl<S, R> Layer<S> for AuditContextLayer<R> {
    type Service = AuditContextService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let edge = Arc::new(self.edge.clone());
        AuditContextService::new(inner, edge, Arc::clone(&self.resolver))
    }
}
