use std::fmt;

use http::Response;

/// The response that is sent instead of calling the service, because the actor is not accepted.
///
/// ```
/// use http::{Response, StatusCode};
/// use threadline_core::actor::ActorRef;
/// use threadline_plug::layer::{AuditContextLayer, Rejection};
///
/// fn sign_in() -> Rejection<String> {
///     let mut response = Response::new("sign in".to_owned());
///     *response.status_mut() = StatusCode::UNAUTHORIZED;
///     response.into()
/// }
///
/// let layer = AuditContextLayer::new().actor(|parts| {
///     let user = parts.extensions.get::<ActorRef>().cloned();
///     user.map(Some).ok_or_else(sign_in)
/// });
/// ```
///
/// The response is boxed to keep [`ActorResult`](crate::actor::ActorResult) small.
pub struct Rejection<B>(Box<Response<B>>);

impl<B> Rejection<B> {
    /// Rejects the request with a response.
    #[must_use]
    pub fn new(response: Response<B>) -> Self {
        Self(Box::new(response))
    }

    /// The response.
    #[must_use]
    pub fn into_response(self) -> Response<B> {
        *self.0
    }
}

impl<B> From<Response<B>> for Rejection<B> {
    fn from(response: Response<B>) -> Self {
        Self::new(response)
    }
}

impl<B> fmt::Debug for Rejection<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejection")
            .field("status", &self.0.status())
            .finish_non_exhaustive()
    }
}
