//! Values for a context from other layers or middleware, used where the request's headers have none.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use threadline_core::context::{AuditContext, ContextId};
//! use threadline_plug::{AuditContextLayer, ContextOverrides};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// A request id from an earlier layer, for example tower-http's `RequestId`.
//! #[derive(Clone)]
//! struct GivenId(String);
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = AuditContextLayer::new().context_overrides(|parts| {
//!     let given = parts.extensions.get::<GivenId>();
//!     ContextOverrides::new().request_id(given.and_then(|id| ContextId::new(&id.0).ok()))
//! });
//! let service = layer.layer(service_fn(async |request: Request<()>| {
//!     let context = request.extensions().get::<AuditContext>().cloned();
//!     let id = context.unwrap_or_default().get_request_id().map(ToString::to_string);
//!     Ok::<_, Infallible>(Response::new(id))
//! }));
//!
//! let mut request = Request::new(());
//! request.extensions_mut().insert(GivenId("given-7".to_owned()));
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.body().as_deref(), Some("given-7"));
//! # Ok(())
//! # }
//! ```

use threadline_core::actor::ActorRef;
use threadline_core::context::ContextId;

/// Values for a context that the request's headers and outer middleware have not set.
///
/// The setters take options, so that a missing extension needs no branch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ContextOverrides {
    pub(crate) request_id: Option<ContextId>,
    pub(crate) correlation_id: Option<ContextId>,
    pub(crate) on_behalf_of: Option<ActorRef>,
}

impl ContextOverrides {
    /// Creates an empty set of values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the request id.
    pub fn request_id(mut self, id: impl Into<Option<ContextId>>) -> Self {
        self.request_id = id.into();
        self
    }

    /// Sets the correlation id. It takes precedence over `traceparent`.
    pub fn correlation_id(mut self, id: impl Into<Option<ContextId>>) -> Self {
        self.correlation_id = id.into();
        self
    }

    /// Sets the represented actor, which no header can set.
    pub fn on_behalf_of(mut self, actor: impl Into<Option<ActorRef>>) -> Self {
        self.on_behalf_of = actor.into();
        self
    }
}
