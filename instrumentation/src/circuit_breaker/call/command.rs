//! Retry, hedge, breaker, rate limiter, timeout, bulkhead or pool, and fallback around one call. The order is
//! resilience4j's, and Hystrix's for the policies that Hystrix has: retry, hedge, circuit, permit, timeout, slot or
//! worker, run; then, if that failed, the fallback under a semaphore of its own.

use std::fmt;
use std::future::Future;

use super::attempt::Policies;
use super::deadline::Deadline;
use super::errors::{Cause, CommandError, FallbackError};
use super::execution::Execution;
use super::fallback::{BorrowingFallback, FallbackFn, FallbackFuture, NoFallback};
use super::handle::CircuitBreaker;
use super::in_pool::InPool;
use super::observation::{Observation, Observer};
use super::plan::Plan;
use super::repeat::Code;
use crate::resilience::Decision;
use crate::sync::Mutex;

/// A command without its protected code; [`run`](Self::run) adds it.
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
    plan: Plan,
}

impl Command {
    /// Creates a command behind `breaker`, whose settings hold the timeout and the limits.
    pub fn new(breaker: CircuitBreaker) -> Self {
        Self {
            plan: Plan::Breaker(breaker),
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Adds or replaces a policy.
    pub(super) fn with(mut self, change: impl FnOnce(&mut Policies)) -> Self {
        self.plan.change(change);
        self
    }

    /// Adds the protected code.
    pub fn run<F, Fut, T, E>(self, run: F) -> RunCommand<F, NoFallback, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        RunCommand {
            plan: self.plan,
            code: Code {
                run,
                pool: None,
                repeat: None,
                bad_request: None,
                deadline: None,
            },
            fallback: NoFallback,
            has_fallback: true,
            fallback_target: None,
            observer: None,
        }
    }
}

impl CircuitBreaker {
    /// Starts a command: a call with the timeout and the bulkhead of the breaker's settings, and optionally other
    /// policies and a fallback.
    pub fn command(&self) -> Command {
        Command::new(self.clone())
    }
}

/// A command that can be executed once. `B` is its fallback: [`NoFallback`], [`FallbackFn`] or [`BorrowingFallback`].
#[must_use = "a command does nothing until it is executed"]
pub struct RunCommand<F, B, E> {
    plan: Plan,
    pub(super) code: Code<F, E>,
    fallback: B,
    /// False once the fallback is disabled.
    has_fallback: bool,
    fallback_target: Option<&'static str>,
    observer: Option<Observer>,
}

impl<F, B, E> RunCommand<F, B, E> {
    /// Adds a fallback, called with the reason why the protected code returned no value.
    pub fn fallback<G, Fut, T>(self, fallback: G) -> RunCommand<F, FallbackFn<G>, E>
    where
        G: FnOnce(&Cause<E>) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.with_fallback(FallbackFn(fallback))
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

    /// As [`fallback`](Self::fallback), for a future that borrows the reason.
    ///
    /// ```
    /// use fusebox::circuit_breaker::{CircuitBreaker, CommandError};
    ///
    /// # async fn price() -> Result<u32, std::io::Error> { Ok(7) }
    /// # async fn log(text: &str) {}
    /// # async fn example() -> Result<u32, CommandError<std::io::Error>> {
    /// let command = CircuitBreaker::new("price").command().run(price);
    /// let command = command.fallback_borrowing(|cause| {
    ///     Box::pin(async move {
    ///         log(&cause.to_string()).await;
    ///         Ok(9)
    ///     })
    /// });
    /// command.execute().await
    /// # }
    /// ```
    pub fn fallback_borrowing<G, T>(self, fallback: G) -> RunCommand<F, BorrowingFallback<G>, E>
    where
        G: for<'a> FnOnce(&'a Cause<E>) -> FallbackFuture<'a, T, E>,
    {
        self.with_fallback(BorrowingFallback(fallback))
    }

    /// Names the fallback's span.
    pub fn fallback_target(mut self, target: &'static str) -> Self {
        self.fallback_target = Some(target);
        self
    }

    /// Disables the fallback: errors are returned at once.
    pub fn without_fallback(mut self) -> Self {
        self.has_fallback = false;
        self
    }

    /// Decides after each failed attempt whether to retry. It is not called for refusals (see
    /// [`RetrySettings::retry_refused`](crate::resilience::RetrySettings::retry_refused)), nor for commands without a
    /// [`retry`](Command::retry). If it panics, there is no retry.
    pub fn retry_if(mut self, decide: impl FnMut(&Cause<E>) -> Decision + Send + 'static) -> Self {
        if let Some(repeat) = &mut self.code.repeat {
            repeat.decide = Some(Box::new(decide));
        }
        self
    }

    /// Decides which errors are the caller's fault: the breaker ignores them and the fallback is not called. If it panics,
    /// the error counts as a failure.
    pub fn bad_request_if(mut self, is: impl FnMut(&E) -> bool + Send + 'static) -> Self {
        self.code.bad_request = Some(Mutex::new(Box::new(is)));
        self
    }

    /// Calls `observer` with the events of the execution at its end, even if the command is dropped early. A panic of
    /// the observer is logged.
    pub fn observe(mut self, observer: impl FnOnce(&Execution) + Send + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    pub(super) fn in_pool(mut self, pool: InPool) -> Self {
        self.code.pool = Some(pool);
        self
    }

    /// Starts the deadline and the observation of a command that looks in a cache first.
    pub(super) fn start_waiting(&mut self) -> (Deadline, Observation) {
        let deadline = self.code.start(self.plan.policies().deadline);
        let observation = Observation::start(self.plan.clone(), self.observer.take());
        (deadline, observation)
    }

    /// Takes the observer back after a cache miss.
    pub(super) fn go_on(&mut self, waiting: Observation) {
        self.observer = waiting.into_observer();
    }

    fn with_fallback<C>(self, fallback: C) -> RunCommand<F, C, E> {
        RunCommand {
            plan: self.plan,
            code: self.code,
            fallback,
            has_fallback: self.has_fallback,
            fallback_target: self.fallback_target,
            observer: self.observer,
        }
    }
}

impl<F, E> RunCommand<F, NoFallback, E> {
    /// Executes the command.
    ///
    /// # Errors
    /// Returns errors that are the caller's fault unchanged, others with the reason why no fallback replaced them.
    pub async fn execute<Fut, T>(self) -> Result<T, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut, T>(self) -> (Result<T, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut observation = Observation::start(self.plan, self.observer);
        let attempt = self.code.attempt(&mut observation).await;
        let result = attempt.unwrap_or_else(|cause| {
            let fallback = match self.has_fallback {
                true => FallbackError::Missing,
                false => FallbackError::Disabled,
            };
            if self.has_fallback {
                observation.fallback_is_missing();
            }
            Err(CommandError::Failed { cause, fallback })
        });
        (result, observation.finish())
    }
}

/// Executes a command with a fallback, of either kind.
macro_rules! execute_observed {
    ($command:ident) => {{
        let mut observation = Observation::start($command.plan, $command.observer);
        let result = match $command.code.attempt(&mut observation).await {
            Ok(result) => result,
            Err(cause) => {
                let is_enabled = $command.has_fallback;
                let slot = observation.start_fallback(is_enabled, $command.fallback_target);
                let answer = match slot {
                    Ok(running) => {
                        let future = running.call(|| $command.fallback.0(&cause));
                        running.finish(future).await
                    }
                    Err(why) => Err(why.into()),
                };
                answer.map_err(|fallback| CommandError::Failed { cause, fallback })
            }
        };
        (result, observation.finish())
    }};
}

impl<F, G, E> RunCommand<F, FallbackFn<G>, E> {
    /// Executes the command.
    ///
    /// # Errors
    /// Returns errors that are the caller's fault unchanged, others with the reason why the fallback did not replace them.
    pub async fn execute<Fut, T, Fallback>(self) -> Result<T, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(&Cause<E>) -> Fallback,
        Fallback: Future<Output = Result<T, E>>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut, T, Fallback>(self) -> (Result<T, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(&Cause<E>) -> Fallback,
        Fallback: Future<Output = Result<T, E>>,
    {
        execute_observed!(self)
    }
}

impl<F, G, E> RunCommand<F, BorrowingFallback<G>, E> {
    /// Executes the command.
    ///
    /// # Errors
    /// Returns errors that are the caller's fault unchanged, others with the reason why the fallback did not replace them.
    pub async fn execute<Fut, T>(self) -> Result<T, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: for<'a> FnOnce(&'a Cause<E>) -> FallbackFuture<'a, T, E>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut, T>(self) -> (Result<T, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: for<'a> FnOnce(&'a Cause<E>) -> FallbackFuture<'a, T, E>,
    {
        execute_observed!(self)
    }
}

impl<F, B, E> fmt::Debug for RunCommand<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunCommand")
            .field("breaker", self.plan.breaker())
            .finish_non_exhaustive()
    }
}
