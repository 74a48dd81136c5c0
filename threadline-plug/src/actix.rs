//! Support for actix-web: the middleware [`AuditContextMiddleware`] and the extractor
//! [`Audit`](crate::Audit).
//!
//! ```
//! use actix_web::{App, rt, test, web};
//! use threadline_core::actor::ActorRef;
//! use threadline_plug::Audit;
//! use threadline_plug::actix::AuditContextMiddleware;
//!
//! async fn show_actor(Audit(context): Audit) -> String {
//!     context.actor().map_or("none".to_owned(), ToString::to_string)
//! }
//!
//! rt::System::new().block_on(async {
//!     let audit = AuditContextMiddleware::new().source("web").actor(|request| {
//!         let user = request.headers().get("x-user").and_then(|value| value.to_str().ok());
//!         Ok(user.and_then(|id| ActorRef::user(id).ok()))
//!     });
//!     let app = App::new().wrap(audit).route("/", web::get().to(show_actor));
//!
//!     let service = test::init_service(app).await;
//!     let request = test::TestRequest::get().insert_header(("x-user", "42")).to_request();
//!     let body = test::call_and_read_body(&service, request).await;
//!     assert_eq!(body, "user:42");
//! });
//! ```
//!
//! The module [`layer`](crate::layer) describes the context. actix-web knows the address of the
//! connection's peer, so [`remote_addr`](AuditContextMiddleware::remote_addr) needs no closure.

mod extractor;
mod service;

use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::Arc;

use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};

pub use self::service::AuditContextService;
use crate::actor::{ActorResult, FromAsyncFn, FromFn, NoActor, ResolveActor};
use crate::context_rules::ContextRules;
use crate::middleware::ContextMiddleware;
use crate::remote::RemoteAddr;

/// The middleware that adds an [`AuditContext`](threadline_core::context::AuditContext) to the
/// extensions of every request. The [module documentation](self) has an example.
pub type AuditContextMiddleware<R = NoActor> = ContextMiddleware<ServiceRequest, R>;

impl ContextMiddleware<ServiceRequest, NoActor> {
    /// Creates a middleware that reads the default headers and sets neither actor nor address.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Default for ContextMiddleware<ServiceRequest, NoActor> {
    fn default() -> Self {
        Self {
            rules: ContextRules {
                peer: Some(Arc::new(ServiceRequest::peer_addr)),
                ..ContextRules::default()
            },
            resolver: Arc::new(NoActor),
        }
    }
}

impl<R> ContextMiddleware<ServiceRequest, R> {
    /// Resolves the actor by a closure. It returns the actor, `None` for an unattributed request, or
    /// an error to respond with instead of calling the handler.
    pub fn actor<F>(self, function: F) -> AuditContextMiddleware<FromFn<F>>
    where
        F: Fn(&ServiceRequest) -> ActorResult<Error>,
    {
        self.actor_resolver(FromFn::new(function))
    }

    /// Resolves the actor by a closure that returns a future. The future cannot borrow from the
    /// request.
    pub fn actor_async<F, Fut>(self, function: F) -> AuditContextMiddleware<FromAsyncFn<F>>
    where
        F: Fn(&ServiceRequest) -> Fut,
        Fut: Future<Output = ActorResult<Error>>,
    {
        self.actor_resolver(FromAsyncFn::new(function))
    }

    /// Sets which remote address is recorded.
    pub fn remote_addr(mut self, remote_addr: RemoteAddr) -> Self {
        self.rules.remote_addr = remote_addr;
        self
    }
}

impl<S, R, B> Transform<S, ServiceRequest> for ContextMiddleware<ServiceRequest, R>
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
            rules: self.rules.clone(),
            resolver: Arc::clone(&self.resolver),
        };
        ready(Ok(service))
    }
}
