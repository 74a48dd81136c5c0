use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use threadline_core::context::AuditContext;
use tower_service::Service;

use super::refusal::Refusal;
use super::service::with_context;
use crate::actor::Resolved;

/// A request, and the service that is ready for it, while it is asked who is behind it.
pub(super) struct Waiting<S, B> {
    inner: S,
    request: Request<B>,
    context: AuditContext,
}

impl<S, B> Waiting<S, B> {
    pub(super) fn new(inner: S, request: Request<B>, context: AuditContext) -> Self {
        Self {
            inner,
            request,
            context,
        }
    }
}

pin_project! {
    /// The response of an [`AuditContextService`](super::AuditContextService).
    pub struct AuditContextFuture<S, F, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, F, ReqBody>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, F, ReqBody>
    where
        S: Service<Request<ReqBody>>,
    {
        // Empty only after completion.
        Resolving { #[pin] actor: F, waiting: Option<Waiting<S, ReqBody>> },
        Calling { #[pin] response: S::Future },
        // Empty only after completion.
        Refused { response: Option<S::Response> },
    }
}

impl<S, F, ReqBody> AuditContextFuture<S, F, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    pub(super) fn calling(response: S::Future) -> Self {
        let state = State::Calling { response };
        Self { state }
    }

    pub(super) fn refused(response: S::Response) -> Self {
        let response = Some(response);
        let state = State::Refused { response };
        Self { state }
    }

    pub(super) fn resolving(actor: F, waiting: Waiting<S, ReqBody>) -> Self {
        let waiting = Some(waiting);
        let state = State::Resolving { actor, waiting };
        Self { state }
    }
}

impl<S, F, ReqBody, ResBody> Future for AuditContextFuture<S, F, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    F: Future<Output = Resolved<Refusal<ResBody>>>,
{
    type Output = Result<S::Response, S::Error>;

    /// Stays pending when polled again after completion.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let response = match state.as_mut().project() {
                StateProjection::Calling { response } => return response.poll(cx),
                StateProjection::Refused { response } => {
                    return response
                        .take()
                        .map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
                StateProjection::Resolving { actor, waiting } => {
                    if waiting.is_none() {
                        return Poll::Pending;
                    }
                    let resolved = ready!(actor.poll(cx));
                    match (resolved, waiting.take()) {
                        (Ok(actor), Some(mut waiting)) => {
                            let request = with_context(waiting.request, waiting.context, actor);
                            waiting.inner.call(request)
                        }
                        (Err(refusal), _) => return Poll::Ready(Ok(refusal.into_response())),
                        (Ok(_), None) => return Poll::Pending,
                    }
                }
            };
            state.set(State::Calling { response });
        }
    }
}

impl<S, F, ReqBody> fmt::Debug for AuditContextFuture<S, F, ReqBody>
where
    S: Service<Request<ReqBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Resolving { .. } => "resolving",
            State::Calling { .. } => "calling",
            State::Refused { .. } => "refused",
        };
        f.debug_struct("AuditContextFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
