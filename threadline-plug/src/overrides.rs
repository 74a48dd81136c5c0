//! What earlier layers already know of a request: it fills what the headers left open.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use threadline_core::context::{AuditContext, ContextId};
//! use threadline_plug::{AuditContextLayer, ContextOverrides};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// The id an earlier layer gave the request; tower-http's `RequestId`, for instance.
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
//!     let id = context.unwrap_or_default().request().map(ToString::to_string);
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

/// What fills the gaps of a request's context. It never replaces what the request itself says.
///
/// Every setter takes an option, so that a missing extension needs no branch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ContextOverrides {
    pub(crate) request_id: Option<ContextId>,
    pub(crate) correlation_id: Option<ContextId>,
    pub(crate) on_behalf_of: Option<ActorRef>,
}

impl ContextOverrides {
    /// Fills nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The request's id, where no header gave one.
    pub fn request_id(mut self, id: impl Into<Option<ContextId>>) -> Self {
        self.request_id = id.into();
        self
    }

    /// The correlation's id, where no header gave one. It goes before `traceparent`.
    pub fn correlation_id(mut self, id: impl Into<Option<ContextId>>) -> Self {
        self.correlation_id = id.into();
        self
    }

    /// Whom the actor acts for. No header can say that.
    pub fn on_behalf_of(mut self, actor: impl Into<Option<ActorRef>>) -> Self {
        self.on_behalf_of = actor.into();
        self
    }
}
