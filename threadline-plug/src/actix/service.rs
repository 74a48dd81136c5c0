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

use crate::actor::{Resolution, ResolveActor};
use crate::context_rules::ContextRules;
use crate::header::Headers;

impl Headers for HeaderMap {
    fn values(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.get_all(name.as_str())
            .map(actix_web::http::header::HeaderValue::as_bytes)
    }
}

/// The service of [`AuditContextMiddleware`](super::AuditContextMiddleware).
pub struct AuditContextService<S, R> {
    pub(super) inner: Rc<S>,
    pub(super) rules: ContextRules<ServiceRequest>,
    pub(super) resolver: Arc<R>,
}

impl<S, R> fmt::Debug for AuditContextService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContextService")
            .field("rules", &self.rules)
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
        let resolution = self.resolver.resolve(&request);
        let outer = request.extensions().get::<AuditContext>().cloned();
        let context = self.rules.context(&request, request.headers(), outer);
        match resolution {
            Resolution::Ready(Ok(actor)) => {
                set_context(&request, context, actor);
                Box::pin(self.inner.call(request))
            }
            Resolution::Ready(Err(error)) => Box::pin(std::future::ready(Err(error))),
            Resolution::Pending(actor) => {
                let inner = Rc::clone(&self.inner);
                Box::pin(async move {
                    set_context(&request, context, actor.await?);
                    inner.call(request).await
                })
            }
        }
    }
}

fn set_context(request: &ServiceRequest, mut context: AuditContext, actor: Option<ActorRef>) {
    if let Some(actor) = actor {
        context = context.with_actor(actor);
    }
    request.extensions_mut().insert(context);
}
