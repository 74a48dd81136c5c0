//! The builder under [`AuditContextLayer`](crate::AuditContextLayer) and, with the feature `actix`,
//! `AuditContextMiddleware`.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use crate::context_rules::ContextRules;
use crate::overrides::ContextOverrides;

/// Adds an [`AuditContext`](threadline_core::context::AuditContext) to the extensions of every
/// request.
///
/// `Q` is the head of a request: [`http::request::Parts`] for the tower layer
/// [`AuditContextLayer`](crate::AuditContextLayer), `actix_web::dev::ServiceRequest` for
/// `AuditContextMiddleware` of actix-web. `R` resolves the actor.
#[must_use = "a middleware does nothing until it is added to a service"]
pub struct ContextMiddleware<Q, R> {
    pub(crate) rules: ContextRules<Q>,
    pub(crate) resolver: Arc<R>,
}

impl<Q, R> ContextMiddleware<Q, R> {
    /// Resolves the actor by a [`ResolveActor`](crate::actor::ResolveActor).
    pub fn actor_resolver<R2>(self, resolver: R2) -> ContextMiddleware<Q, R2> {
        ContextMiddleware {
            rules: self.rules,
            resolver: Arc::new(resolver),
        }
    }

    /// Sets the header of the request id, `x-request-id` by default.
    pub fn request_id_header(mut self, name: HeaderName) -> Self {
        self.rules.request_id = name;
        self
    }

    /// Sets the header of the correlation id, `x-correlation-id` by default.
    pub fn correlation_id_header(mut self, name: HeaderName) -> Self {
        self.rules.correlation_id = name;
        self
    }

    /// Sets the source of all requests, for example `web` or `api`. By default there is none.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.rules.source = Some(source.into());
        self
    }

    /// Fills values that the headers do not have from the extensions of the request; see
    /// [`overrides`](crate::overrides).
    pub fn context_overrides<F>(mut self, overrides: F) -> Self
    where
        F: Fn(&Q) -> ContextOverrides + Send + Sync + 'static,
    {
        self.rules.overrides = Some(Arc::new(overrides));
        self
    }
}

impl<Q, R> Clone for ContextMiddleware<Q, R> {
    fn clone(&self) -> Self {
        Self {
            rules: self.rules.clone(),
            resolver: Arc::clone(&self.resolver),
        }
    }
}

impl<Q, R> fmt::Debug for ContextMiddleware<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextMiddleware")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
