//! Who is behind a request: the one question the host answers.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::layer::{AuditContextLayer, Refusal};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! #[derive(Clone)]
//! struct CurrentUser(u64);
//!
//! /// A session store.
//! async fn find_session(cookie: String) -> Option<ActorRef> {
//!     ActorRef::user(cookie).ok()
//! }
//!
//! async fn who(request: Request<()>) -> Result<Response<String>, Infallible> {
//!     let context = request.extensions().get::<AuditContext>();
//!     let actor = context.and_then(AuditContext::actor);
//!     Ok(Response::new(actor.map_or("nobody".to_owned(), ToString::to_string)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // At once, from what the authentication layer left in the extensions.
//! let at_once = AuditContextLayer::new().actor(|parts| {
//!     let user = parts.extensions.get::<CurrentUser>();
//!     Ok(user.and_then(|user| ActorRef::user(user.0.to_string()).ok()))
//! });
//! let response = at_once.layer(service_fn(who)).oneshot(Request::new(())).await?;
//! assert_eq!(response.body(), "nobody");
//!
//! // Later, from a session store. What the future needs, it takes along.
//! let later = AuditContextLayer::new().actor_async(|parts| {
//!     let cookie = parts.headers.get("cookie").and_then(|value| value.to_str().ok());
//!     let cookie = cookie.map(str::to_owned);
//!     async move {
//!         match cookie {
//!             Some(cookie) => Ok(find_session(cookie).await),
//!             None => Err(Refusal::new(Response::new("sign in".to_owned()))),
//!         }
//!     }
//! });
//! let response = later.layer(service_fn(who)).oneshot(Request::new(())).await?;
//! assert_eq!(response.body(), "sign in");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::{Future, Ready};

use threadline_core::actor::ActorRef;

/// The answer to who it was: somebody, nobody in particular, or a response in place of the
/// handler's.
pub type Resolved<E> = Result<Option<ActorRef>, E>;

/// Finds out who is behind a request.
///
/// `Q` is the head of the request: [`http::request::Parts`] under the tower layer,
/// `actix_web::dev::ServiceRequest` under actix-web. `E` is what ends the request when the answer
/// is a refusal: a [`Refusal`](crate::layer::Refusal) under tower, an `actix_web::Error` under
/// actix-web.
///
/// Closures implement it through [`FromFn`] and [`FromAsyncFn`], which
/// [`AuditContextLayer::actor`](crate::AuditContextLayer::actor) and
/// [`actor_async`](crate::AuditContextLayer::actor_async) put around them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot tell the actor of a request",
    note = "use a closure that returns `Result<Option<ActorRef>, E>`, where `E` is `Refusal<B>` \
            with the inner service's response body (tower), or `actix_web::Error` (actix-web)"
)]
pub trait ResolveActor<Q, E> {
    /// The answer that takes a while. It borrows nothing from the request.
    type Future: Future<Output = Resolved<E>>;

    /// Who is behind this request.
    fn resolve(&self, request: &Q) -> Resolution<Self::Future, E>;
}

/// An answer, or the promise of one.
///
/// An answer that is there at once costs no clone of the service and no second poll.
pub enum Resolution<F, E> {
    /// The answer.
    Now(Resolved<E>),
    /// The promise of it.
    Later(F),
}

impl<F, E> fmt::Debug for Resolution<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now(..)",
            Self::Later(_) => "Later(..)",
        })
    }
}

/// Nobody is asked: every request is unattributed.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct NoActor;

impl<Q, E> ResolveActor<Q, E> for NoActor {
    type Future = Ready<Resolved<E>>;

    fn resolve(&self, _: &Q) -> Resolution<Self::Future, E> {
        Resolution::Now(Ok(None))
    }
}

/// A closure that knows the actor at once.
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> FromFn<F> {
    /// Asks this closure.
    pub const fn new(function: F) -> Self {
        Self(function)
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn(..)")
    }
}

impl<F, Q, E> ResolveActor<Q, E> for FromFn<F>
where
    F: Fn(&Q) -> Resolved<E>,
{
    type Future = Ready<Resolved<E>>;

    fn resolve(&self, request: &Q) -> Resolution<Self::Future, E> {
        Resolution::Now(self.0(request))
    }
}

/// A closure that has to look the actor up.
#[derive(Clone, Copy)]
pub struct FromAsyncFn<F>(F);

impl<F> FromAsyncFn<F> {
    /// Asks this closure.
    pub const fn new(function: F) -> Self {
        Self(function)
    }
}

impl<F> fmt::Debug for FromAsyncFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromAsyncFn(..)")
    }
}

impl<F, Fut, Q, E> ResolveActor<Q, E> for FromAsyncFn<F>
where
    F: Fn(&Q) -> Fut,
    Fut: Future<Output = Resolved<E>>,
{
    type Future = Fut;

    fn resolve(&self, request: &Q) -> Resolution<Self::Future, E> {
        Resolution::Later(self.0(request))
    }
}
