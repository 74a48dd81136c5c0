//! The actor of a request, which the application resolves.
//!
//! ```
//! use http::{Request, Response};
//! use std::convert::Infallible;
//! use threadline_core::actor::ActorRef;
//! use threadline_core::context::AuditContext;
//! use threadline_plug::layer::{AuditContextLayer, Rejection};
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
//! async fn show_actor(request: Request<()>) -> Result<Response<String>, Infallible> {
//!     let context = request.extensions().get::<AuditContext>();
//!     let actor = context.and_then(AuditContext::actor);
//!     Ok(Response::new(actor.map_or("none".to_owned(), ToString::to_string)))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // From the extensions, which the authentication layer has set.
//! let layer = AuditContextLayer::new().actor(|parts| {
//!     let user = parts.extensions.get::<CurrentUser>();
//!     Ok(user.and_then(|user| ActorRef::user(user.0.to_string()).ok()))
//! });
//! let response = layer.layer(service_fn(show_actor)).oneshot(Request::new(())).await?;
//! assert_eq!(response.body(), "none");
//!
//! // From a session store. The future owns what it needs of the request.
//! let layer = AuditContextLayer::new().actor_async(|parts| {
//!     let cookie = parts.headers.get("cookie").and_then(|value| value.to_str().ok());
//!     let cookie = cookie.map(str::to_owned);
//!     async move {
//!         match cookie {
//!             Some(cookie) => Ok(find_session(cookie).await),
//!             None => Err(Rejection::new(Response::new("sign in".to_owned()))),
//!         }
//!     }
//! });
//! let response = layer.layer(service_fn(show_actor)).oneshot(Request::new(())).await?;
//! assert_eq!(response.body(), "sign in");
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::{Future, Ready};

use threadline_core::actor::ActorRef;

/// The result of resolving an actor: the actor, `None` for an unattributed request, or an error that
/// ends the request.
pub type ActorResult<E> = Result<Option<ActorRef>, E>;

/// Resolves the actor of a request.
///
/// `Q` is the head of the request: [`http::request::Parts`] under tower,
/// `actix_web::dev::ServiceRequest` under actix-web. `E` ends the request: a
/// [`Rejection`](crate::layer::Rejection) under tower, an `actix_web::Error` under actix-web.
///
/// Closures implement it through [`FromFn`] and [`FromAsyncFn`], which the methods `actor` and
/// `actor_async` of [`AuditContextLayer`](crate::AuditContextLayer) construct. If a middleware is
/// nested in another one, the resolver sees the outer context in the extensions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot resolve the actor of a request",
    note = "use a closure that returns `Result<Option<ActorRef>, E>`, where `E` is `Rejection<B>` \
            with the inner service's response body (tower), or `actix_web::Error` (actix-web)"
)]
pub trait ResolveActor<Q, E> {
    /// The future of an asynchronous resolution. It cannot borrow from the request.
    type Future: Future<Output = ActorResult<E>>;

    /// Resolves the actor of a request.
    fn resolve(&self, request: &Q) -> Resolution<Self::Future, E>;
}

/// The actor, or a future of it. [`Resolution::Ready`] saves a clone of the service and a poll.
pub enum Resolution<F, E> {
    /// The actor is known.
    Ready(ActorResult<E>),
    /// The actor is resolved by a future.
    Pending(F),
}

impl<F, E> fmt::Debug for Resolution<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Ready(..)",
            Self::Pending(_) => "Pending(..)",
        })
    }
}

/// Leaves every request unattributed.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct NoActor;

impl<Q, E> ResolveActor<Q, E> for NoActor {
    type Future = Ready<ActorResult<E>>;

    fn resolve(&self, _: &Q) -> Resolution<Self::Future, E> {
        Resolution::Ready(Ok(None))
    }
}

/// Resolves the actor by a closure.
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> FromFn<F> {
    /// Wraps a closure.
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
    F: Fn(&Q) -> ActorResult<E>,
{
    type Future = Ready<ActorResult<E>>;

    fn resolve(&self, request: &Q) -> Resolution<Self::Future, E> {
        Resolution::Ready(self.0(request))
    }
}

/// Resolves the actor by a closure that returns a future.
#[derive(Clone, Copy)]
pub struct FromAsyncFn<F>(F);

impl<F> FromAsyncFn<F> {
    /// Wraps a closure.
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
    Fut: Future<Output = ActorResult<E>>,
{
    type Future = Fut;

    fn resolve(&self, request: &Q) -> Resolution<Self::Future, E> {
        Resolution::Pending(self.0(request))
    }
}
