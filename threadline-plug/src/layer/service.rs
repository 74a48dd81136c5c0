use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;
use tower_service::Service;

use super::future::{AuditContextFuture, PendingRequest};
use super::rejection::Rejection;
use crate::actor::{Resolution, ResolveActor};
use crate::context_rules::ContextRules;

/// The service of [`AuditContextLayer`](super::AuditContextLayer).
pub struct AuditContextService<S, R> {
    inner: S,
    rules: Arc<ContextRules<Parts>>,
    resolver: Arc<R>,
}

impl<S, R> AuditContextService<S, R> {
    pub(super) fn new(inner: S, rules: Arc<ContextRules<Parts>>, resolver: Arc<R>) -> Self {
        Self {
            inner,
            rules,
            resolver,
        }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutable.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R> Clone for AuditContextService<S, R>
where
    S: Clone,
{
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            rules: Arc::clone(&self.rules),
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
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for AuditContextService<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    R: ResolveActor<Parts, Rejection<ResBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = AuditContextFuture<S, R::Future, ReqBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let resolution = self.resolver.resolve(&parts);
        let outer = parts.extensions.get::<AuditContext>().cloned();
        let context = self.rules.context(&parts, &parts.headers, outer);
        let request = Request::from_parts(parts, body);
        match resolution {
            Resolution::Ready(Ok(actor)) => {
                let request = with_context(request, context, actor);
                AuditContextFuture::calling(self.inner.call(request))
            }
            Resolution::Ready(Err(rejection)) => {
                AuditContextFuture::rejected(rejection.into_response())
            }
            Resolution::Pending(actor) => {
                // Call the service that was polled ready and keep the clone, which was not.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                AuditContextFuture::resolving(actor, PendingRequest::new(inner, request, context))
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
