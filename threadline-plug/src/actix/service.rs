use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderMap;
use actix_web::{Error, HttpMessage};
use http::HeaderName;
use threadline_core::actor::ActorRef;
use threadline_core::context::AuditContext;

use super::Edge;
use crate::actor::{Resolution, ResolveActor};
use crate::header::Headers;
use crate::overrides::ContextOverrides;

impl Headers for HeaderMap {
    fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.get_all(name.as_str())
            .map(actix_web::http::header::HeaderValue::as_bytes)
    }
}

impl Edge {
    fn context(&self, request: &ServiceRequest) -> AuditContext {
        let overrides = match &self.overrides {
            Some(overrides) => overrides(request),
            None => ContextOverrides::default(),
        };
        let known = request.extensions_mut().remove::<AuditContext>();
        let peer = || request.peer_addr().map(|address| address.ip());
        self.rules
            .context(known, request.headers(), peer, overrides)
    }
}

/// The service [`AuditContextMiddleware`](super::AuditContextMiddleware) makes.
pub struct AuditContextService<S, R> {
    pub(super) inner: Rc<S>,
    pub(super) edge: Edge,
    pub(super) resolver: Arc<R>,
}

impl<S, R> fmt::Debug for AuditContextService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContextService")
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

impl<S, R, B> Service<ServiceRequest> for AuditContextService<S, R>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    R: ResolveActor<ServiceRequest, Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        // The resolver sees the extensions as they came in, an outer layer's context included.
        let resolution = self.resolver.resolve(&request);
        let context = self.edge.context(&request);
        match resolution {
            Resolution::Now(Ok(actor)) => {
                attach(&request, context, actor);
                Box::pin(self.inner.call(request))
            }
            Resolution::Now(Err(error)) => Box::pin(std::future::ready(Err(error))),
            Resolution::Later(actor) => {
                let inner = Rc::clone(&self.inner);
                Box::pin(async move {
                    attach(&request, context, actor.await?);
                    inner.call(request).await
                })
            }
        }
    }
}

fn attach(request: &ServiceRequest, mut context: AuditContext, actor: Option<ActorRef>) {
    if let Some(actor) = actor {
        context = context.with_actor(actor);
    }
    request.extensions_mut().insert(context);
}
