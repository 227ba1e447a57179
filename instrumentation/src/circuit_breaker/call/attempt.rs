//! The protected code of a command, run once behind breaker, bulkhead and timeout.

use std::any::type_name;
use std::future::Future;
use std::time::Duration;

use tokio::time::timeout;

use super::errors::Cause;
use super::execution::ExecutionEvent;
use super::handle::CircuitBreaker;
use super::protected::ProtectedCall;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::Outcome;
use crate::isolated::isolated;
use crate::semconv::ERROR_TYPE_PANIC;

/// Decides whether an error is the caller's fault.
pub(super) type BadRequest<E> = Box<dyn FnOnce(&E) -> bool + Send>;

/// How the protected code ended.
pub(super) enum Attempt<T, E> {
    Answered(T),
    BadRequest(E),
    Failed(Cause<E>),
}

impl<T, E> Attempt<T, E> {
    pub(super) fn event(&self) -> ExecutionEvent {
        match self {
            Self::Answered(_) => ExecutionEvent::Success,
            Self::BadRequest(_) => ExecutionEvent::BadRequest,
            Self::Failed(Cause::Failed(_)) => ExecutionEvent::Failure,
            Self::Failed(Cause::TimedOut(_)) => ExecutionEvent::Timeout,
            Self::Failed(Cause::Rejected(_)) => ExecutionEvent::ShortCircuited,
            Self::Failed(Cause::BulkheadFull(_)) => ExecutionEvent::SemaphoreRejected,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Answered(_) => Outcome::Success,
            Self::BadRequest(_) => Outcome::Ignored,
            Self::Failed(Cause::Failed(_)) => Outcome::Failure,
            Self::Failed(Cause::TimedOut(_)) => Outcome::Timeout,
            Self::Failed(Cause::Rejected(_)) => Outcome::Rejected,
            Self::Failed(Cause::BulkheadFull(_)) => Outcome::BulkheadFull,
        }
    }
}

/// Runs the protected code behind breaker, bulkhead and timeout.
pub(super) async fn attempt<F, Fut, T, E>(
    breaker: &CircuitBreaker,
    settings: &Settings,
    run: F,
    bad_request: Option<BadRequest<E>>,
) -> Attempt<T, E>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let call = match ProtectedCall::begin(&*breaker.shell) {
        Ok(call) => call,
        Err(rejected) => return Attempt::Failed(Cause::Rejected(rejected)),
    };
    let limit = settings.max_concurrent;
    let Some(slot) = breaker.shell.bulkhead.try_acquire(limit) else {
        call.finish(Outcome::BulkheadFull, "");
        return Attempt::Failed(Cause::BulkheadFull(limit));
    };
    let future = call.run(async { run().await });
    let (attempt, error_type) = match within(settings.timeout, future, || call.elapsed()).await {
        Ok(Ok(value)) => (Attempt::Answered(value), ""),
        Ok(Err(error)) => judged(error, bad_request),
        Err(limit) => (Attempt::Failed(Cause::TimedOut(limit)), ""),
    };
    drop(slot);
    call.finish(attempt.outcome(), error_type);
    attempt
}

/// Asks whose fault an error is, and names its type. A panic of the one who is asked leaves it a failure.
fn judged<T, E>(error: E, bad_request: Option<BadRequest<E>>) -> (Attempt<T, E>, &'static str) {
    match bad_request.map(|is| isolated("bad_request_if", || is(&error))) {
        Some(Some(true)) => (Attempt::BadRequest(error), ""),
        Some(None) => (Attempt::Failed(Cause::Failed(error)), ERROR_TYPE_PANIC),
        _ => (Attempt::Failed(Cause::Failed(error)), type_name::<E>()),
    }
}

/// Waits for `future` for at most `limit`, which is the error. A result that comes later is late too: code that blocks
/// its thread keeps the timer from running.
async fn within<F: Future>(
    limit: Option<Duration>,
    future: F,
    elapsed: impl Fn() -> Duration,
) -> Result<F::Output, Duration> {
    let Some(limit) = limit else {
        return Ok(future.await);
    };
    match timeout(limit, future).await {
        Ok(output) if elapsed() <= limit => Ok(output),
        _ => Err(limit),
    }
}
