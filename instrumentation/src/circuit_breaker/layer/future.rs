//! The future of a call through the layer; dropping it cancels the call.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::classify::{Classify, judge};
use super::response_body::hand_on;
use crate::body::{AnyResponses, HttpResponses, ResponseBody};
use crate::circuit_breaker::call::errors::CallError;
use crate::circuit_breaker::call::protected::ProtectedCall;
use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::shell::Shell;
use crate::resilience::attempt;
use crate::semconv::ERROR_TYPE_PANIC;

pin_project! {
    /// The future of [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C, M> {
        #[pin]
        stage: Stage<F, C>,
        mode: PhantomData<fn() -> M>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F, C> {
        Rejected { rejected: Option<Rejected> },
        Running {
            #[pin]
            inner: F,
            call: Option<ProtectedCall<Arc<Shell>>>,
            classifier: C,
        },
    }
}

/// The result of a running call; the call itself and its classifier follow unless the outcome has been recorded.
type Ended<'a, T, E, C> = (
    Result<T, CallError<E>>,
    Option<(ProtectedCall<Arc<Shell>>, &'a C)>,
);

impl<F, C, M> ResponseFuture<F, C, M> {
    pub(super) fn rejected(rejected: Rejected) -> Self {
        let rejected = Some(rejected);
        Self::new(Stage::Rejected { rejected })
    }

    pub(super) fn running(inner: F, call: ProtectedCall<Arc<Shell>>, classifier: C) -> Self {
        Self::new(Stage::Running {
            inner,
            call: Some(call),
            classifier,
        })
    }

    fn new(stage: Stage<F, C>) -> Self {
        Self {
            stage,
            mode: PhantomData,
        }
    }

    /// Polls the service's future. If it returns an error, the outcome has already been recorded.
    fn poll_inner<'a, T, E>(
        self: Pin<&'a mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Ended<'a, T, E, C>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
        E: 'static,
    {
        let (inner, call, classifier) = match self.project().stage.project() {
            StageProjection::Rejected { rejected } => {
                let rejected = rejected.take().expect("polled after it was ready");
                return Poll::Ready((Err(CallError::Rejected(rejected)), None));
            }
            StageProjection::Running {
                inner,
                call,
                classifier,
            } => (inner, call, classifier),
        };
        let result = ready!(guard(call, || inner.poll(cx)));
        let call = call.take().expect("polled after it was ready");
        Poll::Ready(match result {
            Ok(response) => (Ok(response), Some((call, classifier))),
            Err(error) => {
                let (outcome, error_type) = judge(classifier, Err(&error));
                call.finish(outcome, &error_type);
                (Err(CallError::Failed(error)), None)
            }
        })
    }
}

impl<F, C, T, E> Future for ResponseFuture<F, C, AnyResponses>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    E: 'static,
{
    type Output = Result<T, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, call) = ready!(self.poll_inner(cx));
        if let (Ok(response), Some((call, classifier))) = (&result, call) {
            let (outcome, error_type) = judge(classifier, Ok(response));
            call.finish(outcome, &error_type);
        }
        Poll::Ready(result)
    }
}

impl<F, C, B, E> Future for ResponseFuture<F, C, HttpResponses>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    C: Classify<http::Response<B>, E> + Clone + Send + Sync + 'static,
    B: 'static,
    E: 'static,
{
    type Output = Result<http::Response<ResponseBody<B>>, CallError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (result, call) = ready!(self.poll_inner(cx));
        Poll::Ready(result.map(|response| match call {
            Some((call, classifier)) => hand_on(response, call, classifier),
            None => response.map(ResponseBody::unwatched),
        }))
    }
}

/// Polls inside the call's span. Records a panic as a failure immediately: code that catches the panic may keep this
/// future, and dropping it later would look like a cancelled call.
fn guard<T>(call: &mut Option<ProtectedCall<Arc<Shell>>>, poll: impl FnOnce() -> T) -> T {
    let running = call.as_ref().expect("polled after it was ready");
    let poll = AssertUnwindSafe(|| {
        attempt::clear_limited();
        running.span().in_scope(poll)
    });
    match catch_unwind(poll) {
        Ok(output) => output,
        Err(panic) => {
            if let Some(call) = call.take() {
                call.finish(Outcome::Failure, ERROR_TYPE_PANIC);
            }
            resume_unwind(panic)
        }
    }
}

impl<F, C, M> fmt::Debug for ResponseFuture<F, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Rejected { .. } => "rejected",
            Stage::Running { .. } => "running",
        };
        f.debug_tuple("ResponseFuture").field(&stage).finish()
    }
}
