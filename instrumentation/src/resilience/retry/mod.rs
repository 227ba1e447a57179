//! Retries failed calls.

#[cfg(feature = "http")]
mod retry_after;
mod run;
mod settings;
#[cfg(test)]
mod tests;

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::budget::Budget;
use super::current::Current;
use super::event::Kind;
use super::handle::policy;
use super::instrument::Instrument;
use super::policy::{Inner, Registered, Wakers};
use super::snapshot::Snapshot;
use crate::isolated::isolated;
use crate::time::random;
#[cfg(feature = "http")]
pub use retry_after::retry_after;
pub(crate) use run::Run;
pub use settings::{MAX_ATTEMPTS, RetrySettings};

/// What to do after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Return the result.
    Stop,
    /// Retry after the wait of the settings.
    Retry,
    /// Retry, but not before this time, because the target has asked for it.
    RetryAfter(Duration),
}

/// A retry. Clones are handles to the same retry with one budget.
///
/// The result of the last attempt is returned unchanged. A call that a breaker, rate limiter or bulkhead of this crate
/// refused inside an attempt is not retried, whatever type its error has by then, unless
/// [`RetrySettings::retry_refused`] is set: the wait before the next attempt is usually shorter than the refusal asks
/// for. Calls in tasks that the attempt spawns are not observed.
///
/// Waiting needs a tokio runtime with a timer.
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::resilience::{Decision, Retry, RetrySettings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let settings = RetrySettings {
///     wait: Duration::from_millis(1),
///     ..RetrySettings::default()
/// };
/// let retry = Retry::builder("inventory").settings(settings).build();
/// let mut answers = vec![Ok(7), Err("busy"), Err("busy")];
/// let stock = retry.call(|| std::future::ready(answers.pop().unwrap())).await;
/// assert_eq!(stock, Ok(7));
///
/// let decide = |result: &Result<u32, &str>| match result {
///     Err("busy") => Decision::Retry,
///     _ => Decision::Stop,
/// };
/// let gone = retry.call_with(|| std::future::ready(Err("gone")), decide).await;
/// assert_eq!(gone, Err("gone"));
/// # }
/// ```
#[derive(Clone)]
pub struct Retry {
    inner: Arc<Tries>,
}

policy!(Retry, Tries, RetrySettings);

/// What the handles share.
#[derive(Debug)]
pub(super) struct Tries {
    instrument: Instrument,
    settings: Current<RetrySettings>,
    budget: Budget,
    chance: AtomicU64,
}

impl Inner for Tries {
    type Settings = RetrySettings;

    const KIND: Kind = Kind::Retry;

    fn new(instrument: Instrument, settings: RetrySettings) -> Self {
        Self {
            instrument,
            budget: Budget::new(settings.budget.as_ref()),
            settings: Current::new(settings),
            // Differs between processes, so that their waits differ.
            chance: AtomicU64::new(RandomState::new().hash_one(0)),
        }
    }

    fn settings(&self) -> &Current<RetrySettings> {
        &self.settings
    }

    fn apply(&self, _: &RetrySettings, new: &RetrySettings) -> Wakers {
        self.budget.apply(new.budget.as_ref());
        Wakers::default()
    }
}

impl Registered for Tries {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            available: self.budget.left(),
            ..self.instrument.snapshot()
        }
    }

    /// Not idle while the budget is partly spent: a new retry of this name would start with a full one.
    fn is_idle(&self) -> bool {
        self.budget.is_full()
    }
}

impl Retry {
    /// Runs the future that `call` returns, and retries it while it fails, within the limits of the settings.
    ///
    /// # Errors
    /// Returns the error of the last attempt.
    pub async fn call<T, E, Fut>(&self, call: impl FnMut() -> Fut) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        self.call_with(call, by_result).await
    }

    /// As [`call`](Self::call); `decide` is called after each attempt, except for refused ones (see above). If it
    /// panics, the call ends with the current result.
    ///
    /// # Errors
    /// Returns the error of the last attempt.
    pub async fn call_with<T, E, Fut>(
        &self,
        mut call: impl FnMut() -> Fut,
        mut decide: impl FnMut(&Result<T, E>) -> Decision,
    ) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let mut run = Run::start(self);
        loop {
            let (result, last) = run.attempt(&mut call).await;
            let decision = match run.stops_at(result.is_err(), last) {
                true => Decision::Stop,
                false => isolated("retry predicate", || decide(&result)).unwrap_or(Decision::Stop),
            };
            match run.next(result.is_ok(), decision) {
                Some(wait) => {
                    // Drop the failed result before waiting: it may hold a connection.
                    drop(result);
                    tokio::time::sleep(wait).await;
                }
                None => return result,
            }
        }
    }
}

impl Retry {
    /// Logs a warning, once, if the attempts may take longer than `deadline`.
    pub(crate) fn warn_beyond(&self, deadline: Duration, timeout: Option<Duration>) {
        let Tries {
            instrument,
            settings,
            ..
        } = &*self.inner;
        let settings = settings.get();
        let longest = timeout.map_or(Duration::MAX, |timeout| settings.longest(timeout));
        if longest <= deadline || settings.max_attempts == 1 {
            return;
        }
        instrument.beyond_deadline.call_once(|| {
            tracing::warn!(
                target: "fusebox",
                retry = &*instrument.name,
                attempts = settings.max_attempts,
                ?timeout,
                ?longest,
                ?deadline,
                "the attempts of a retry may take longer than the deadline, so the last ones would never be made: lower the timeout or the attempts, or raise the deadline; not logged again"
            );
        });
    }
}

impl Tries {
    /// Returns how long to wait after an attempt.
    fn wait_after(&self, attempt: u32) -> Duration {
        let chance = random(self.chance.fetch_add(1, Relaxed));
        self.settings
            .read(|settings| settings.wait_after(attempt, chance))
    }
}

fn by_result<T, E>(result: &Result<T, E>) -> Decision {
    match result {
        Ok(_) => Decision::Stop,
        Err(_) => Decision::Retry,
    }
}
