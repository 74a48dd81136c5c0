//! For actix-web: [`AuditContextMiddleware`] for the application, [`Audit`](crate::Audit) for its
//! handlers.
//!
//! ```
//! use actix_web::{App, rt, test, web};
//! use threadline_core::actor::ActorRef;
//! use threadline_plug::Audit;
//! use threadline_plug::actix::AuditContextMiddleware;
//!
//! async fn who(Audit(context): Audit) -> String {
//!     context.actor().map_or("nobody".to_owned(), ToString::to_string)
//! }
//!
//! rt::System::new().block_on(async {
//!     let audit = AuditContextMiddleware::new().source("web").actor(|request| {
//!         let user = request.headers().get("x-user").and_then(|value| value.to_str().ok());
//!         Ok(user.and_then(|id| ActorRef::user(id).ok()))
//!     });
//!     let app = App::new().wrap(audit).route("/", web::get().to(who));
//!
//!     let service = test::init_service(app).await;
//!     let request = test::TestRequest::get().insert_header(("x-user", "42")).to_request();
//!     let body = test::call_and_read_body(&service, request).await;
//!     assert_eq!(body, "user:42");
//! });
//! ```
//!
//! What the context holds is as in [`layer`](crate::layer); the peer's address needs no function,
//! because actix-web knows it.

mod extractor;
mod service;

use std::fmt;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use http::HeaderName;

pub use self::service::AuditContextService;
use crate::actor::{FromAsyncFn, FromFn, NoActor, ResolveActor, Resolved};
use crate::edge::EdgeRules;
use crate::overrides::ContextOverrides;
use crate::remote::RemoteAddr;

type Overrides = Arc<dyn Fn(&ServiceRequest) -> ContextOverrides + Send + Sync>;

/// Everything but the actor, which has a type of its own.
#[derive(Clone, Default)]
struct Edge {
    rules: EdgeRules,
    overrides: Option<Overrides>,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}

/// Puts an [`AuditContext`](threadline_core::context::AuditContext) into the extensions of every
/// request.
#[must_use = "a middleware does nothing until an application is wrapped in it"]
pub struct AuditContextMiddleware<R = NoActor> {
    edge: Edge,
    resolver: Arc<R>,
}

impl AuditContextMiddleware {
    /// Reads the headers of the default names; knows no actor and no address.
    pub fn new() -> Self {
        Self {
            edge: Edge::default(),
            resolver: Arc::new(NoActor),
        }
    }
}

impl Default for AuditContextMiddleware {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> AuditContextMiddleware<R> {
    /// Asks this closure who is behind a request: `Ok(Some(actor))`, `Ok(None)` for nobody in
    /// particular, or an error to answer in the handler's place.
    pub fn actor<F>(self, function: F) -> AuditContextMiddleware<FromFn<F>>
    where
        F: Fn(&ServiceRequest) -> Resolved<Error>,
    {
        self.actor_resolver(FromFn::new(function))
    }

    /// As [`actor`](Self::actor), for an answer that has to be waited for. The future takes along
    /// what it needs; it cannot borrow from the request.
    pub fn actor_async<F, Fut>(self, function: F) -> AuditContextMiddleware<FromAsyncFn<F>>
    where
        F: Fn(&ServiceRequest) -> Fut,
        Fut: Future<Output = Resolved<Error>>,
    {
        self.actor_resolver(FromAsyncFn::new(function))
    }

    /// Asks a [`ResolveActor`] that is no closure.
    pub fn actor_resolver<R2>(self, resolver: R2) -> AuditContextMiddleware<R2> {
        AuditContextMiddleware {
            edge: self.edge,
            resolver: Arc::new(resolver),
        }
    }

    /// The header with the request's id, instead of `x-request-id`.
    pub fn request_id_header(mut self, name: HeaderName) -> Self {
        self.edge.rules.request_id = name;
        self
    }

    /// The header with the correlation's id, instead of `x-correlation-id`.
    pub fn correlation_id_header(mut self, name: HeaderName) -> Self {
        self.edge.rules.correlation_id = name;
        self
    }

    /// Where the work came in: `web`, `api`. None by default.
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.edge.rules.source = Some(source.into());
        self
    }

    /// Records the remote address.
    pub fn remote_addr(mut self, rule: RemoteAddr) -> Self {
        self.edge.rules.remote = rule;
        self
    }

    /// Fills what the headers left open from what earlier middleware put into the extensions; see
    /// [`overrides`](crate::overrides).
    pub fn context_overrides<F>(mut self, overrides: F) -> Self
    where
        F: Fn(&ServiceRequest) -> ContextOverrides + Send + Sync + 'static,
    {
        self.edge.overrides = Some(Arc::new(overrides));
        self
    }
}

impl<R> Clone for AuditContextMiddleware<R> {
    fn clone(&self) -> Self {
        Self {
            edge: self.edge.clone(),
            resolver: Arc::clone(&self.resolver),
        }
    }
}

impl<R> fmt::Debug for AuditContextMiddleware<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditContextMiddleware")
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

impl<S, R, B> Transform<S, ServiceRequest> for AuditContextMiddleware<R>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    R: ResolveActor<ServiceRequest, Error> + 'static,
    B: 'static,
{
    type Response = ServiceResponse<B>;
    type Error = Error;
    type Transform = AuditContextService<S, R>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let service = AuditContextService {
            inner: Rc::new(inner),
            edge: self.edge.clone(),
            resolver: Arc::clone(&self.resolver),
        };
        ready(Ok(service))
    }
}
