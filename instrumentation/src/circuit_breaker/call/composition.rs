//! Adds policies to a command in addition to its breaker, and documents their order.

use std::future::Future;
use std::time::Duration;

use super::command::{Command, RunCommand};
use super::fallback::NoFallback;
use super::repeat::Repeat;
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::resilience::{Bulkhead, Hedge, RateLimiter, Retry, TimeLimiter};
use crate::setting::duration;
use crate::time::MAX_DURATION;

/// A [`Command`] whose code may be called several times: again after a failure, or in parallel with a slow attempt.
#[derive(Debug, Clone)]
pub struct RepeatedCommand {
    command: Command,
}

impl Command {
    /// Adds a rate limiter: each attempt acquires a permit after the breaker has admitted it. Waiting for the permit
    /// counts neither towards the timeout nor towards the limit of slow calls. Without a permit the target was not
    /// called; the breaker counts the call like one that found no free slot.
    #[must_use]
    pub fn rate_limiter(self, limiter: &RateLimiter) -> Self {
        let added = Some(limiter.clone());
        self.with(|policies| policies.rate_limiter = added)
    }

    /// Adds a bulkhead, which can make calls wait for a slot, in place of
    /// [`Settings::max_concurrent`](crate::circuit_breaker::Settings::max_concurrent). The wait is part of the timeout;
    /// a call that gets no slot within the timeout counts as one without a slot, not as timed out.
    #[must_use]
    pub fn bulkhead(self, bulkhead: &Bulkhead) -> Self {
        let added = Some(bulkhead.clone());
        self.with(|policies| policies.bulkhead = added)
    }

    /// Adds a time limiter for each attempt, in place of
    /// [`Settings::timeout`](crate::circuit_breaker::Settings::timeout).
    #[must_use]
    pub fn time_limiter(self, limiter: &TimeLimiter) -> Self {
        let added = Some(limiter.clone());
        self.with(|policies| policies.time_limiter = added)
    }

    /// Limits the total time of the command: all attempts and all waits, without the fallback. No attempt starts after
    /// the deadline, and a running one is cancelled. The breaker counts such an attempt as cancelled if it had less
    /// time than its own timeout or, without a timeout, less than the whole deadline.
    ///
    /// # Panics
    /// Panics on zero; [`try_deadline`](Self::try_deadline) does not.
    #[must_use]
    pub fn deadline(self, whole: Duration) -> Self {
        match self.try_deadline(whole) {
            Ok(command) => command,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`deadline`](Self::deadline), for a duration from outside the program, such as the time that is left for a
    /// request.
    ///
    /// # Errors
    /// Returns an error for zero, because every call would be cancelled before it reached its target.
    pub fn try_deadline(self, whole: Duration) -> Result<Self, SettingsError> {
        let whole = whole.min(MAX_DURATION);
        duration("deadline", whole)?;
        Ok(self.with(|policies| policies.deadline = Some(whole)))
    }

    /// Adds a retry around everything else: each attempt asks the breaker again. Refusals by the breaker, the rate
    /// limiter and the bulkhead are not retried unless the retry's settings say so; errors that are the caller's fault
    /// are never retried.
    ///
    /// Set the [`deadline`](Self::deadline) first: if the attempts and the waits between them may take longer, a
    /// warning is logged once per retry, because the last attempts would never be made.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use fusebox::circuit_breaker::CircuitBreaker;
    /// use fusebox::resilience::{Bulkhead, RateLimiter, Retry};
    ///
    /// # async fn price() -> Result<u32, std::io::Error> { Ok(7) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let command = CircuitBreaker::new("price")
    ///     .command()
    ///     .rate_limiter(&RateLimiter::new("price"))
    ///     .bulkhead(&Bulkhead::new("price"))
    ///     .deadline(Duration::from_secs(5))
    ///     .retry(&Retry::new("price"));
    /// let price = command.run(price).fallback(|_| async { Ok(9) }).execute().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(self, retry: &Retry) -> RepeatedCommand {
        RepeatedCommand { command: self }.retry(retry)
    }

    /// Adds a hedge inside the retry and around everything else: a slow attempt gets a second one in parallel, which
    /// asks the breaker, the limiters and the pool again, and the first result wins. The losing attempt is dropped; the
    /// breaker counts it as cancelled, or as slow if it was. Use it only for code that may run twice at the same time.
    ///
    /// ```
    /// use fusebox::circuit_breaker::CircuitBreaker;
    /// use fusebox::resilience::{Hedge, Retry};
    ///
    /// # async fn price() -> Result<u32, std::io::Error> { Ok(7) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let command = CircuitBreaker::new("price").command();
    /// let command = command.hedge(&Hedge::new("price")).retry(&Retry::new("price"));
    /// let price = command.run(price).execute().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn hedge(self, hedge: &Hedge) -> RepeatedCommand {
        RepeatedCommand { command: self }.hedge(hedge)
    }

    /// Logs a warning if the attempts of a retry may take longer than the deadline.
    fn warn_beyond_deadline(&self, retry: &Retry) {
        let policies = self.plan().policies();
        if let Some(deadline) = policies.deadline {
            let settings = self.plan().breaker().settings();
            let timeout = policies.time_limiter.as_ref();
            let timeout = timeout.map(TimeLimiter::timeout).or(settings.timeout);
            retry.warn_beyond(deadline, timeout);
        }
    }
}

impl RepeatedCommand {
    /// Adds a retry; see [`Command::retry`].
    #[must_use]
    pub fn retry(mut self, retry: &Retry) -> Self {
        self.command.warn_beyond_deadline(retry);
        let added = Some(retry.clone());
        self.command = self.command.with(|policies| policies.retry = added);
        self
    }

    /// Adds a hedge; see [`Command::hedge`].
    #[must_use]
    pub fn hedge(mut self, hedge: &Hedge) -> Self {
        let added = Some(hedge.clone());
        self.command = self.command.with(|policies| policies.hedge = added);
        self
    }

    /// Adds the protected code. Each attempt calls a clone of it: a closure is `Clone` if everything that it captures
    /// is, as references and handles are.
    pub fn run<F, Fut, T, E>(self, run: F) -> RunCommand<F, NoFallback, E>
    where
        F: FnOnce() -> Fut + Clone,
        Fut: Future<Output = Result<T, E>>,
    {
        let repeat = Repeat {
            clone: F::clone,
            decide: None,
        };
        let mut command = self.command.run(run);
        command.code.repeat = Some(repeat);
        command
    }
}
