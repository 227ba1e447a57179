//! The future of a call through the layer; dropping it cancels the call.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::classify::Classify;
use crate::circuit_breaker::call::errors::CallError;
use crate::circuit_breaker::call::protected::ProtectedCall;
use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::shell::Shell;
use crate::semconv::ERROR_TYPE_PANIC;

pin_project! {
    /// The future of [`CircuitBreakerService`](super::CircuitBreakerService).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, C> {
        #[pin]
        stage: Stage<F, C>,
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

impl<F, C> ResponseFuture<F, C> {
    pub(super) fn rejected(rejected: Rejected) -> Self {
        Self {
            stage: Stage::Rejected {
                rejected: Some(rejected),
            },
        }
    }

    pub(super) fn running(inner: F, call: ProtectedCall<Arc<Shell>>, classifier: C) -> Self {
        Self {
            stage: Stage::Running {
                inner,
                call: Some(call),
                classifier,
            },
        }
    }
}

impl<F, C, Response, Error> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response, Error>>,
    C: Classify<Response, Error>,
{
    type Output = Result<Response, CallError<Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().stage.project() {
            StageProjection::Rejected { rejected } => {
                let rejected = rejected.take().expect("polled after it was ready");
                Poll::Ready(Err(CallError::Rejected(rejected)))
            }
            StageProjection::Running {
                inner,
                call,
                classifier,
            } => {
                let result = ready!(guard(call, || inner.poll(cx)));
                if let Some(call) = call.take() {
                    let outcome = classifier.classify(result.as_ref());
                    call.finish(outcome, &classifier.error_type(result.as_ref()));
                }
                Poll::Ready(result.map_err(CallError::Failed))
            }
        }
    }
}

/// Polls inside the call's span. A panic is a failure at once: whoever catches it further out keeps this future, and a
/// call that is dropped later looks cancelled.
fn guard<T>(call: &mut Option<ProtectedCall<Arc<Shell>>>, poll: impl FnOnce() -> T) -> T {
    let running = call.as_ref().expect("polled after it was ready");
    let poll = AssertUnwindSafe(|| running.span().in_scope(poll));
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

impl<F, C> fmt::Debug for ResponseFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Rejected { .. } => "rejected",
            Stage::Running { .. } => "running",
        };
        f.debug_tuple("ResponseFuture").field(&stage).finish()
    }
}
