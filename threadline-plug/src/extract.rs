//! The extractor [`Audit`], with which handlers receive the context. It needs the feature `axum` or
//! `actix`.
//!
//! ```
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::Audit;
//!
//! /// A handler of axum or actix-web. A test can call it as a function.
//! async fn show_actor(Audit(context): Audit) -> String {
//!     context.actor().map_or("none".to_owned(), ToString::to_string)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = AuditContext::new(ActorRef::user("42")?);
//! assert_eq!(show_actor(Audit(context)).await, "user:42");
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;

use http::StatusCode;
use threadline_core::context::AuditContext;

/// The context of a request.
///
/// A handler that also works without the layer or middleware takes `Option<Audit>`.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit(pub AuditContext);

impl Deref for Audit {
    type Target = AuditContext;

    fn deref(&self) -> &AuditContext {
        &self.0
    }
}

impl From<Audit> for AuditContext {
    fn from(audit: Audit) -> Self {
        audit.0
    }
}

/// The rejection of [`Audit`] if no layer or middleware has set a context. This is an error of the
/// application, not of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, thiserror::Error)]
#[error(
    "no audit context in the request: add AuditContextLayer (axum) or AuditContextMiddleware \
     (actix-web) around this route"
)]
#[non_exhaustive]
pub struct MissingAuditContext;

impl MissingAuditContext {
    /// The status of the response: 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    /// The body of the response: the error's message.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.to_string()
    }
}
