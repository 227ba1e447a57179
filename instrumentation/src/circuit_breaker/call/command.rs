//! Timeout, bulkhead, breaker and fallback around one call, in Hystrix's order: circuit, semaphore, timeout, run; then,
//! if that failed, the fallback under a semaphore of its own.

use std::any::type_name;
use std::fmt;
use std::future::{Future, Ready};
use std::marker::PhantomData;
use std::time::Duration;

use tokio::time::timeout;
use tracing::instrument::Instrument;

use super::errors::{Cause, CommandError, FallbackError};
use super::execution::{Execution, ExecutionEvent};
use super::handle::CircuitBreaker;
use super::protected::{ProtectedCall, fallback_span, record_fallback};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{FallbackOutcome, Outcome};
use crate::semconv::ERROR_TYPE_BULKHEAD_FULL;

/// A command without its code; [`run`](Self::run) adds it.
///
/// ```
/// use fusebox::circuit_breaker::CircuitBreaker;
///
/// # async fn price() -> Result<u32, std::io::Error> { Ok(7) }
/// # async fn list_price() -> Result<u32, std::io::Error> { Ok(9) }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::new("price");
/// let price = breaker
///     .command()
///     .run(price)
///     .fallback_to("list price", |_cause| list_price())
///     .execute()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Command {
    breaker: CircuitBreaker,
}

impl Command {
    /// Creates a command behind `breaker`, whose settings hold the timeout and the limits.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self { breaker }
    }

    /// Adds the protected code.
    pub fn run<F, Fut, T, E>(self, run: F) -> RunCommand<F, NoFallback<T, E>, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        RunCommand {
            breaker: self.breaker,
            run,
            fallback: Some(NoFallback(PhantomData)),
            fallback_target: None,
            bad_request: None,
            observer: None,
        }
    }
}

impl CircuitBreaker {
    /// Starts a command: a call with the timeout and the bulkhead of the settings, and a fallback.
    pub fn command(&self) -> Command {
        Command::new(self.clone())
    }
}

/// Provides a value when the protected code does not.
pub trait Fallback<T, E> {
    /// The future of that value.
    type Future: Future<Output = Result<T, E>>;

    /// Returns the function that starts it; `None` without a fallback.
    fn starter(self) -> Option<impl FnOnce(&Cause<E>) -> Self::Future>;
}

/// No fallback.
pub struct NoFallback<T, E>(PhantomData<fn() -> (T, E)>);

impl<T, E> fmt::Debug for NoFallback<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoFallback")
    }
}

impl<T, E> Fallback<T, E> for NoFallback<T, E> {
    type Future = Ready<Result<T, E>>;

    fn starter(self) -> Option<impl FnOnce(&Cause<E>) -> Self::Future> {
        None::<fn(&Cause<E>) -> Self::Future>
    }
}

/// A fallback made from a closure.
#[derive(Debug)]
pub struct FallbackFn<G>(G);

impl<G, Fut, T, E> Fallback<T, E> for FallbackFn<G>
where
    G: FnOnce(&Cause<E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Future = Fut;

    fn starter(self) -> Option<impl FnOnce(&Cause<E>) -> Fut> {
        Some(self.0)
    }
}

type BadRequest<E> = Box<dyn FnOnce(&E) -> bool + Send>;
type Observer = Box<dyn FnOnce(&Execution) + Send>;

/// A command that can be executed once.
#[must_use = "a command does nothing until it is executed"]
pub struct RunCommand<F, B, E> {
    breaker: CircuitBreaker,
    run: F,
    /// `None` if it is disabled.
    fallback: Option<B>,
    fallback_target: Option<&'static str>,
    bad_request: Option<BadRequest<E>>,
    observer: Option<Observer>,
}

impl<F, B, E> RunCommand<F, B, E> {
    /// Adds a fallback, called with the reason why the protected code gave no value.
    pub fn fallback<G, Fut, T>(self, fallback: G) -> RunCommand<F, FallbackFn<G>, E>
    where
        G: FnOnce(&Cause<E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        RunCommand {
            breaker: self.breaker,
            run: self.run,
            fallback: Some(FallbackFn(fallback)),
            fallback_target: self.fallback_target,
            bad_request: self.bad_request,
            observer: self.observer,
        }
    }

    /// As [`fallback`](Self::fallback), with a name for the fallback's span.
    pub fn fallback_to<G, Fut, T>(
        mut self,
        target: &'static str,
        fallback: G,
    ) -> RunCommand<F, FallbackFn<G>, E>
    where
        G: FnOnce(&Cause<E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.fallback_target = Some(target);
        self.fallback(fallback)
    }

    /// Disables the fallback: errors are returned at once.
    pub fn without_fallback(mut self) -> Self {
        self.fallback = None;
        self
    }

    /// Decides which errors are the caller's fault: the breaker ignores them and the fallback is not called.
    pub fn bad_request_if(mut self, is: impl FnOnce(&E) -> bool + Send + 'static) -> Self {
        self.bad_request = Some(Box::new(is));
        self
    }

    /// Calls `observer` with the events of the execution, even if the command is dropped before its end.
    pub fn observe(mut self, observer: impl FnOnce(&Execution) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Executes the command.
    ///
    /// # Errors
    /// Returns errors that are the caller's fault unchanged, others with the reason why no fallback replaced them.
    pub async fn execute<Fut, T>(self) -> Result<T, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: Fallback<T, E>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut, T>(self) -> (Result<T, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: Fallback<T, E>,
    {
        let mut observation = Observation::start(&self.breaker, self.observer);
        let settings = self.breaker.settings();
        let attempt = attempt(&self.breaker, &settings, self.run, self.bad_request).await;
        observation.first = Some(attempt.event());
        let result = match attempt {
            Attempt::Answered(value) => Ok(value),
            Attempt::BadRequest(error) => Err(CommandError::BadRequest(error)),
            Attempt::Failed(cause) => {
                let (limit, target) = (settings.fallback_max_concurrent, self.fallback_target);
                let answer =
                    fall_back(self.fallback, &cause, limit, target, &mut observation).await;
                answer.map_err(|fallback| CommandError::Failed { cause, fallback })
            }
        };
        (result, observation.finish())
    }
}

impl<F, B, E> fmt::Debug for RunCommand<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCommand")
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

/// How the protected code ended.
enum Attempt<T, E> {
    Answered(T),
    BadRequest(E),
    Failed(Cause<E>),
}

impl<T, E> Attempt<T, E> {
    fn event(&self) -> ExecutionEvent {
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
async fn attempt<F, Fut, T, E>(
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
    let attempt = match within(settings.timeout, future, || call.elapsed()).await {
        Ok(Ok(value)) => Attempt::Answered(value),
        Ok(Err(error)) if bad_request.is_some_and(|is| is(&error)) => Attempt::BadRequest(error),
        Ok(Err(error)) => Attempt::Failed(Cause::Failed(error)),
        Err(limit) => Attempt::Failed(Cause::TimedOut(limit)),
    };
    drop(slot);
    call.finish(attempt.outcome(), type_name::<E>());
    attempt
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

/// Runs the fallback, unless it is disabled or `limit` fallbacks are running.
async fn fall_back<T, E, B: Fallback<T, E>>(
    fallback: Option<B>,
    cause: &Cause<E>,
    limit: u32,
    target: Option<&'static str>,
    observation: &mut Observation<'_>,
) -> Result<T, FallbackError<E>> {
    let Some(fallback) = fallback else {
        return Err(FallbackError::Disabled);
    };
    let Some(start) = fallback.starter() else {
        observation.fallback_ended(FallbackOutcome::Missing);
        return Err(FallbackError::Missing);
    };
    let breaker = observation.breaker;
    let span = fallback_span(breaker.name(), target);
    let Some(slot) = breaker.shell.fallback_bulkhead.try_acquire(limit) else {
        record_fallback(&span, FallbackOutcome::Rejected, ERROR_TYPE_BULKHEAD_FULL);
        observation.fallback_ended(FallbackOutcome::Rejected);
        return Err(FallbackError::BulkheadFull(limit));
    };
    observation.fallback = Some(ExecutionEvent::Cancelled); // Unless it ends.
    let future = span.in_scope(|| start(cause));
    let answer = future.instrument(span.clone()).await;
    drop(slot);
    let outcome = match answer {
        Ok(_) => FallbackOutcome::Success,
        Err(_) => FallbackOutcome::Failure,
    };
    record_fallback(&span, outcome, type_name::<E>());
    observation.fallback_ended(outcome);
    answer.map_err(FallbackError::Failed)
}

/// Collects the events of an execution and passes them to the observer at its end, even if that is a drop.
struct Observation<'a> {
    breaker: &'a CircuitBreaker,
    started: u64,
    first: Option<ExecutionEvent>,
    fallback: Option<ExecutionEvent>,
    observer: Option<Observer>,
}

impl<'a> Observation<'a> {
    fn start(breaker: &'a CircuitBreaker, observer: Option<Observer>) -> Self {
        Self {
            breaker,
            started: breaker.shell.clock.now(),
            first: None,
            fallback: None,
            observer,
        }
    }

    fn fallback_ended(&mut self, outcome: FallbackOutcome) {
        let shards = &self.breaker.shell.shards;
        shards.write(|shard| shard.fallback(outcome));
        self.fallback = Some(match outcome {
            FallbackOutcome::Success => ExecutionEvent::FallbackSuccess,
            FallbackOutcome::Failure => ExecutionEvent::FallbackFailure,
            FallbackOutcome::Rejected => ExecutionEvent::FallbackRejection,
            FallbackOutcome::Missing => ExecutionEvent::FallbackMissing,
        });
    }

    fn finish(mut self) -> Execution {
        let execution = self.execution();
        self.notify(&execution);
        execution
    }

    fn notify(&mut self, execution: &Execution) {
        if let Some(observer) = self.observer.take() {
            observer(execution);
        }
    }

    fn execution(&self) -> Execution {
        let now = self.breaker.shell.clock.now();
        let dropped = match std::thread::panicking() {
            true => ExecutionEvent::Failure,
            false => ExecutionEvent::Cancelled,
        };
        Execution {
            first: self.first.unwrap_or(dropped),
            fallback: self.fallback,
            elapsed: Duration::from_nanos(now.saturating_sub(self.started)),
        }
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        let execution = self.execution();
        self.notify(&execution);
    }
}
