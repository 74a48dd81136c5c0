use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use tower_service::Service;

use super::Edge;
use super::future::{AuditContextFuture, Waiting};
use super::refusal::Refusal;
use crate::actor::{Resolution, ResolveActor};
use crate::overrides::ContextOverrides;

/// The service [`AuditContextLayer`](super::AuditContextLayer) makes.
pub struct AuditContextService<S, R> {
    inner: S,
    edge: Arc<Edge>,
    resolver: Arc<R>,
}

impl<S, R> AuditContextService<S, R> {
    pub(super) fn new(inner: S, edge: Arc<Edge>, resolver: Arc<R>) -> Self {
        Self {
            inner,
            edge,
            resolver,
        }
    }

    /// The service within.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service within, to change.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service within, alone.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl Edge {
    fn context(&self, parts: &mut Parts) -> AuditContext {
        let overrides = match &self.overrides {
            Some(overrides) => overrides(parts),
            None => ContextOverrides::default(),
        };
        let known = parts.extensions.remove::<AuditContext>();
        let peer = || {
            let peer = self.peer.as_ref()?;
            peer(parts).map(|address| address.ip())
        };
        self.rules.context(known, &parts.headers, peer, overrides)
    }
}

impl<S, R> Clone for AuditContextService<S, R>
where
    S: Clone,
{
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            edge: Arc::clone(&self.edge),
            resolver: Arc::clone(&self.resolver),
        }
    }
}

impl<S, R> fmt::Debug for AuditContextService<S, R>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContextService")
            .field("inner", &self.inner)
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for AuditContextService<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    R: ResolveActor<Parts, Refusal<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AuditContextFuture<S, R::Future, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        // The resolver sees the extensions as they came in, an outer layer's context included.
        let resolution = self.resolver.resolve(&parts);
        let context = self.edge.context(&mut parts);
        let request = Request::from_parts(parts, body);
        match resolution {
            Resolution::Now(Ok(actor)) => {
                let request = with_context(request, context, actor);
                AuditContextFuture::calling(self.inner.call(request))
            }
            Resolution::Now(Err(refusal)) => AuditContextFuture::refused(refusal.into_response()),
            Resolution::Later(actor) => {
                // Only this one was polled ready; the clone it leaves behind was not.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                AuditContextFuture::resolving(actor, Waiting::new(inner, request, context))
            }
        }
    }
}

pub(super) fn with_context<B>(
    mut request: Request<B>,
    mut context: AuditContext,
    actor: Option<ActorRef>,
) -> Request<B> {
    if let Some(actor) = actor {
        context = context.with_actor(actor);
    }
    request.extensions_mut().insert(context);
    request
}
