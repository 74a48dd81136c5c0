use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use threadline_core::context::AuditContext;
use tower_service::Service;

use super::rejection::Rejection;
use super::service::with_context;
use crate::actor::ActorResult;

/// A request whose actor is being resolved, and the service that is ready for it.
pub(super) struct PendingRequest<S, B> {
    inner: S,
    request: Request<B>,
    context: AuditContext,
}

impl<S, B> PendingRequest<S, B> {
    pub(super) fn new(inner: S, request: Request<B>, context: AuditContext) -> Self {
        Self {
            inner,
            request,
            context,
        }
    }
}

pin_project! {
    /// The response future of [`AuditContextService`](super::AuditContextService).
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
        // `None` after completion.
        Resolving { #[pin] actor: F, pending: Option<PendingRequest<S, ReqBody>> },
        Calling { #[pin] response: S::Future },
        // `None` after completion.
        Rejected { response: Option<S::Response> },
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

    pub(super) fn rejected(response: S::Response) -> Self {
        let response = Some(response);
        let state = State::Rejected { response };
        Self { state }
    }

    pub(super) fn resolving(actor: F, pending: PendingRequest<S, ReqBody>) -> Self {
        let pending = Some(pending);
        let state = State::Resolving { actor, pending };
        Self { state }
    }
}

impl<S, F, ReqBody, ResBody> Future for AuditContextFuture<S, F, ReqBody>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    F: Future<Output = ActorResult<Rejection<ResBody>>>,
{
    type Output = Result<S::Response, S::Error>;

    /// Returns `Poll::Pending` if it is polled after completion.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let response = match state.as_mut().project() {
                StateProjection::Calling { response } => return response.poll(cx),
                StateProjection::Rejected { response } => {
                    return response
                        .take()
                        .map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
                StateProjection::Resolving { actor, pending } => {
                    if pending.is_none() {
                        return Poll::Pending;
                    }
                    let resolved = ready!(actor.poll(cx));
                    match (resolved, pending.take()) {
                        (Ok(actor), Some(mut pending)) => {
                            let request = with_context(pending.request, pending.context, actor);
                            pending.inner.call(request)
                        }
                        (Err(rejection), _) => return Poll::Ready(Ok(rejection.into_response())),
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
            State::Rejected { .. } => "rejected",
        };
        f.debug_struct("AuditContextFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
