//! The rules that turn the head of a request into its context, under tower and actix-web alike.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderName;
use threadline_core::context::AuditContext;

use crate::header::{self, Headers};
use crate::overrides::ContextOverrides;
use crate::remote::RemoteAddr;
use crate::traceparent;

type OverridesFn<Q> = Arc<dyn Fn(&Q) -> ContextOverrides + Send + Sync>;
type PeerFn<Q> = Arc<dyn Fn(&Q) -> Option<SocketAddr> + Send + Sync>;

/// All settings of a middleware except the actor's resolver. `Q` is the head of a request.
pub(crate) struct ContextRules<Q> {
    pub(crate) request_id: HeaderName,
    pub(crate) correlation_id: HeaderName,
    pub(crate) source: Option<String>,
    pub(crate) remote_addr: RemoteAddr,
    pub(crate) peer: Option<PeerFn<Q>>,
    pub(crate) overrides: Option<OverridesFn<Q>>,
}

impl<Q> Default for ContextRules<Q> {
    fn default() -> Self {
        Self {
            request_id: HeaderName::from_static("x-request-id"),
            correlation_id: HeaderName::from_static("x-correlation-id"),
            source: None,
            remote_addr: RemoteAddr::default(),
            peer: None,
            overrides: None,
        }
    }
}

impl<Q> Clone for ContextRules<Q> {
    fn clone(&self) -> Self {
        Self {
            request_id: self.request_id.clone(),
            correlation_id: self.correlation_id.clone(),
            source: self.source.clone(),
            remote_addr: self.remote_addr.clone(),
            peer: self.peer.clone(),
            overrides: self.overrides.clone(),
        }
    }
}

impl<Q> fmt::Debug for ContextRules<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextRules")
            .field("request_id", &self.request_id)
            .field("correlation_id", &self.correlation_id)
            .field("source", &self.source)
            .field("remote_addr", &self.remote_addr)
            .finish_non_exhaustive()
    }
}

impl<Q> ContextRules<Q> {
    /// The context of a request, without its actor. Values are added to `outer`, the context that an
    /// outer middleware has set.
    pub(crate) fn context(
        &self,
        request: &Q,
        headers: &impl Headers,
        outer: Option<AuditContext>,
    ) -> AuditContext {
        let overrides = match &self.overrides {
            Some(overrides) => overrides(request),
            None => ContextOverrides::default(),
        };
        let mut context = self.add_ids(outer.unwrap_or_default(), headers, overrides);
        if let Some(source) = &self.source {
            context = context.source(source);
        }
        let peer = || Some(self.peer.as_ref()?(request)?.ip());
        if let Some(address) = self.remote_addr.find(headers, peer) {
            context = context.remote_addr(address);
        }
        context
    }

    fn add_ids(
        &self,
        mut context: AuditContext,
        headers: &impl Headers,
        overrides: ContextOverrides,
    ) -> AuditContext {
        let has_request_id = context.get_request_id().is_some();
        let request_id = header::context_id(headers, &self.request_id)
            .or_else(|| overrides.request_id.filter(|_| !has_request_id));
        if let Some(id) = request_id {
            context = context.request_id(id);
        }
        let has_correlation_id = context.get_correlation_id().is_some();
        let correlation_id = header::context_id(headers, &self.correlation_id)
            .or_else(|| overrides.correlation_id.filter(|_| !has_correlation_id))
            .or_else(|| {
                (!has_correlation_id)
                    .then(|| traceparent::trace_id(headers))
                    .flatten()
            });
        if let Some(id) = correlation_id {
            context = context.correlation_id(id);
        }
        if let (Some(actor), None) = (overrides.on_behalf_of, context.get_on_behalf_of()) {
            context = context.on_behalf_of(actor);
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use threadline_core::actor::ActorRef;
    use threadline_core::context::ContextId;

    use super::*;

    const TRACEPARENT: (&str, &str) = (
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );

    fn id(text: &str) -> ContextId {
        ContextId::new(text).unwrap()
    }

    fn context(
        outer: Option<AuditContext>,
        headers: &[(&'static str, &'static str)],
        overrides: ContextOverrides,
    ) -> AuditContext {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect();
        let rules = ContextRules {
            overrides: Some(Arc::new(move |()| overrides.clone())),
            ..ContextRules::default()
        };
        rules.context(&(), &headers, outer)
    }

    #[test]
    fn headers_precede_overrides_and_overrides_precede_traceparent() {
        let overrides = ContextOverrides::new()
            .request_id(id("r-over"))
            .correlation_id(id("c-over"));
        let headers = [
            ("x-request-id", "r"),
            ("x-correlation-id", "c"),
            TRACEPARENT,
        ];
        let all = context(None, &headers, overrides.clone());
        assert_eq!(all.get_request_id(), Some(&id("r")));
        assert_eq!(all.get_correlation_id(), Some(&id("c")));

        let some = context(None, &[TRACEPARENT], overrides);
        assert_eq!(some.get_request_id(), Some(&id("r-over")));
        assert_eq!(some.get_correlation_id(), Some(&id("c-over")));

        let last = context(None, &[TRACEPARENT], ContextOverrides::new());
        assert_eq!(last.get_request_id(), None);
        let trace = id("4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(last.get_correlation_id(), Some(&trace));
    }

    #[test]
    fn an_invalid_header_is_replaced_by_the_next_source() {
        let overrides = ContextOverrides::new().request_id(id("r-over"));
        let headers = [("x-request-id", ""), ("x-correlation-id", " "), TRACEPARENT];
        let context = context(None, &headers, overrides);
        assert_eq!(context.get_request_id(), Some(&id("r-over")));
        assert!(context.get_correlation_id().is_some());
    }

    #[test]
    fn values_of_an_outer_context_are_kept() {
        let outer = AuditContext::new(ActorRef::user("1").unwrap())
            .request_id(id("outer"))
            .on_behalf_of(ActorRef::user("2").unwrap());
        let overrides = ContextOverrides::new()
            .request_id(id("late"))
            .correlation_id(id("c"))
            .on_behalf_of(ActorRef::user("3").unwrap());
        let expected = outer.clone().correlation_id(id("c"));
        assert_eq!(context(Some(outer), &[], overrides), expected);
    }

    #[test]
    fn a_request_without_values_has_an_empty_context() {
        assert_eq!(
            context(None, &[], ContextOverrides::new()),
            AuditContext::unattributed()
        );
    }
}
