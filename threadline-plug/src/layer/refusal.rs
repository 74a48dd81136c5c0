use std::fmt;

use http::Response;

/// The response given in the handler's place, because of who asks.
///
/// ```
/// use http::{Response, StatusCode};
/// use threadline_core::actor::ActorRef;
/// use threadline_plug::layer::{AuditContextLayer, Refusal};
///
/// fn sign_in() -> Refusal<String> {
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
/// It is boxed, so that the answers that are no refusals stay small.
pub struct Refusal<B>(Box<Response<B>>);

impl<B> Refusal<B> {
    /// Answers with this response.
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

impl<B> From<Response<B>> for Refusal<B> {
    fn from(response: Response<B>) -> Self {
        Self::new(response)
    }
}

impl<B> fmt::Debug for Refusal<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.0.status())
            .finish_non_exhaustive()
    }
}
