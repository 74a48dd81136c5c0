//! How a handler gets at the context: [`Audit`], an extractor under the features `axum` and
//! `actix`.
//!
//! ```
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::Audit;
//!
//! /// A handler of axum or actix-web. Tests call it like any function.
//! async fn who(Audit(context): Audit) -> String {
//!     context.actor().map_or("nobody".to_owned(), ToString::to_string)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let context = AuditContext::new(ActorRef::user("42")?);
//! assert_eq!(who(Audit(context)).await, "user:42");
//! # Ok(())
//! # }
//! ```

use std::ops::Deref;

use http::StatusCode;
use threadline_core::context::AuditContext;

/// The context of the request at hand.
///
/// A handler that also works without the layer takes `Option<Audit>`.
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

/// A handler takes [`Audit`], but no layer put a context into the request: a mistake of the
/// program, not of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, thiserror::Error)]
#[error(
    "no audit context in the request: add AuditContextLayer (axum) or AuditContextMiddleware \
     (actix-web) around this route"
)]
#[non_exhaustive]
pub struct MissingAuditContext;

impl MissingAuditContext {
    /// 500.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    /// What to do about it.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.to_string()
    }
}
