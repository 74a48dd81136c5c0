//! What tower and actix-web have in common: from a request's head to its context.

use std::net::IpAddr;

use http::HeaderName;
use threadline_core::context::AuditContext;

use crate::header::{self, Headers};
use crate::overrides::ContextOverrides;
use crate::remote::RemoteAddr;
use crate::traceparent;

/// How a request's head is read.
#[derive(Debug, Clone)]
pub(crate) struct EdgeRules {
    pub(crate) request_id: HeaderName,
    pub(crate) correlation_id: HeaderName,
    pub(crate) source: Option<String>,
    pub(crate) remote: RemoteAddr,
}

impl Default for EdgeRules {
    fn default() -> Self {
        Self {
            request_id: HeaderName::from_static("x-request-id"),
            correlation_id: HeaderName::from_static("x-correlation-id"),
            source: None,
            remote: RemoteAddr::default(),
        }
    }
}

impl EdgeRules {
    /// All that is known before anybody was asked who it is.
    ///
    /// `known` is the context of a layer further out; what is found here is added to it.
    pub(crate) fn context(
        &self,
        known: Option<AuditContext>,
        headers: &impl Headers,
        peer: impl FnOnce() -> Option<IpAddr>,
        overrides: ContextOverrides,
    ) -> AuditContext {
        let mut context = self.identified(known.unwrap_or_default(), headers, overrides);
        if let Some(source) = &self.source {
            context = context.source(source);
        }
        if let Some(address) = self.remote.find(headers, peer) {
            context = context.remote_addr(address);
        }
        context
    }

    fn identified(
        &self,
        mut context: AuditContext,
        headers: &impl Headers,
        overrides: ContextOverrides,
    ) -> AuditContext {
        let fallback = || overrides.request_id.filter(|_| context.request().is_none());
        if let Some(id) = header::context_id(headers, &self.request_id).or_else(fallback) {
            context = context.request_id(id);
        }
        let open = context.correlation().is_none();
        let correlation = header::context_id(headers, &self.correlation_id)
            .or_else(|| overrides.correlation_id.filter(|_| open))
            .or_else(|| open.then(|| traceparent::trace_id(headers)).flatten());
        if let Some(id) = correlation {
            context = context.correlation_id(id);
        }
        if let (Some(actor), None) = (overrides.on_behalf_of, context.represented()) {
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
        known: Option<AuditContext>,
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
        EdgeRules::default().context(known, &headers, || None, overrides)
    }

    #[test]
    fn headers_go_before_overrides_and_these_before_traceparent() {
        let overrides = ContextOverrides::new()
            .request_id(id("r-over"))
            .correlation_id(id("c-over"));
        let sent = [
            ("x-request-id", "r"),
            ("x-correlation-id", "c"),
            TRACEPARENT,
        ];
        let all = context(None, &sent, overrides.clone());
        assert_eq!(all.request(), Some(&id("r")));
        assert_eq!(all.correlation(), Some(&id("c")));

        let some = context(None, &[TRACEPARENT], overrides);
        assert_eq!(some.request(), Some(&id("r-over")));
        assert_eq!(some.correlation(), Some(&id("c-over")));

        let last = context(None, &[TRACEPARENT], ContextOverrides::new());
        assert_eq!(last.request(), None);
        let trace = id("4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(last.correlation(), Some(&trace));
    }

    #[test]
    fn a_dropped_header_leaves_room_for_the_next_source() {
        let overrides = ContextOverrides::new().request_id(id("r-over"));
        let sent = [("x-request-id", ""), ("x-correlation-id", " "), TRACEPARENT];
        let context = context(None, &sent, overrides);
        assert_eq!(context.request(), Some(&id("r-over")));
        assert!(context.correlation().is_some());
    }

    #[test]
    fn an_outer_layers_context_is_kept_and_added_to() {
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
    fn without_anything_said_there_is_nothing() {
        assert_eq!(
            context(None, &[], ContextOverrides::new()),
            AuditContext::unattributed()
        );
    }
}
