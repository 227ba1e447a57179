//! Limits the duration of a call.

use std::any::type_name;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Sleep, sleep};
use tracing::instrument::Instrument as _;

use super::current::Current;
use super::errors::{PolicyError, SettingsError, TimedOut};
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running, record, record_error};
use super::policy::{Inner, PolicySettings, Registered, Wakers, refused};
use crate::semconv::ERROR_TYPE_TIMEOUT;
use crate::setting::duration;
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::time::{duration_text, nanos};

/// The settings of a time limiter. Default: 1 s, as in resilience4j.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimeLimiterSettings {
    /// How long a call may take. Default 1 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub timeout: Duration,
}

impl Default for TimeLimiterSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
        }
    }
}

impl PolicySettings for TimeLimiterSettings {
    fn validate(&self) -> Result<(), SettingsError> {
        duration("timeout", self.timeout).map_err(|problem| refused(Kind::TimeLimiter, problem))
    }
}

/// A time limiter. Clones are handles to the same time limiter.
///
/// A call that takes too long is cancelled: its future is dropped. A result that arrives after the limit because the
/// call blocked its thread is a timeout too. Needs a tokio runtime with a timer.
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::resilience::{PolicyError, TimeLimiter, TimeLimiterSettings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let timeout = Duration::from_millis(5);
/// let limiter = TimeLimiter::builder("search").settings(TimeLimiterSettings { timeout }).build();
/// let hangs = || std::future::pending::<Result<u32, std::io::Error>>();
/// assert!(matches!(limiter.call(hangs).await, Err(PolicyError::TimedOut(_))));
/// # }
/// ```
#[derive(Clone)]
pub struct TimeLimiter {
    inner: Arc<Limit>,
}

policy!(TimeLimiter, Limit, TimeLimiterSettings);

/// What the handles share.
#[derive(Debug)]
pub(super) struct Limit {
    instrument: Instrument,
    settings: Current<TimeLimiterSettings>,
    /// The timeout of the settings in nanoseconds; read by every call.
    timeout: AtomicU64,
}

impl Inner for Limit {
    type Settings = TimeLimiterSettings;

    const KIND: Kind = Kind::TimeLimiter;

    fn new(instrument: Instrument, settings: TimeLimiterSettings) -> Self {
        Self {
            instrument,
            timeout: AtomicU64::new(nanos(settings.timeout)),
            settings: Current::new(settings),
        }
    }

    fn settings(&self) -> &Current<TimeLimiterSettings> {
        &self.settings
    }

    fn apply(&self, _: &TimeLimiterSettings, new: &TimeLimiterSettings) -> Wakers {
        self.timeout.store(nanos(new.timeout), Relaxed);
        Wakers::default()
    }
}

impl Registered for Limit {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }
}

impl TimeLimiter {
    /// Runs the future that `call` returns for at most the timeout. The call gets a span.
    ///
    /// # Errors
    /// Returns the timeout, or the call's own error.
    pub async fn call<T, E, Fut>(&self, call: impl FnOnce() -> Fut) -> Result<T, PolicyError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let instrument = &self.inner.instrument;
        let span = instrument.span(None);
        let mut running = Running::start(instrument, 0);
        let started = Instant::now();
        let future = async { call().await }.instrument(span.clone());
        let result = within(Some(self.timeout()), future, || started.elapsed()).await;
        let event = match &result {
            Ok(Ok(_)) => EventKind::Succeeded,
            Ok(Err(_)) => EventKind::Failed,
            Err(_) => EventKind::TimedOut,
        };
        match &result {
            Ok(Ok(_)) => record(&span, event),
            Ok(Err(_)) => record_error(&span, event, type_name::<E>()),
            Err(_) => record_error(&span, event, ERROR_TYPE_TIMEOUT),
        }
        running.end(event, Duration::ZERO);
        match result {
            Ok(result) => result.map_err(PolicyError::Failed),
            Err(limit) => Err(PolicyError::TimedOut(TimedOut {
                name: instrument.name.clone(),
                limit,
            })),
        }
    }
}

/// A call within the timeout of a policy, for callers that measure the time themselves.
#[derive(Debug)]
pub(crate) struct LimitedCall<'a>(Running<'a>);

impl TimeLimiter {
    #[inline]
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.inner.timeout.load(Relaxed))
    }

    #[inline]
    pub(crate) fn start(&self) -> LimitedCall<'_> {
        LimitedCall(Running::start(&self.inner.instrument, 0))
    }
}

impl LimitedCall<'_> {
    #[inline]
    pub(crate) fn end(mut self, event: EventKind) {
        self.0.end(event, Duration::ZERO);
    }
}

/// Waits for `future` for at most `limit`, which is the error. A later result is an error too, because code that blocks
/// its thread keeps the timer from running.
pub(crate) async fn within<F: Future>(
    limit: Option<Duration>,
    future: F,
    elapsed: impl Fn() -> Duration,
) -> Result<F::Output, Duration> {
    let Some(limit) = limit else {
        return Ok(future.await);
    };
    let mut future = pin!(future);
    // The timer is created only if the future is not ready immediately.
    let mut timer = pin!(None::<Sleep>);
    let output = poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if timer.is_none() {
            timer.set(Some(sleep(limit.saturating_sub(elapsed()))));
        }
        let timer = timer.as_mut().as_pin_mut().expect("it was just set");
        timer.poll(cx).map(|()| None)
    });
    let output = output.await;
    let is_late = elapsed() > limit;
    output.filter(|_| !is_late).ok_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::Registry;

    fn limiter(registry: &Registry) -> TimeLimiter {
        TimeLimiter::builder("search").registry(registry).build()
    }

    /// Guarantees: each outcome is counted as what it was, and the call is cancelled by its timeout.
    #[tokio::test(start_paused = true)]
    async fn a_call_ends_in_time_or_as_a_timeout() {
        let limiter = limiter(&Registry::new());
        let quick = limiter.call(|| async { Ok::<_, &str>(7) }).await;
        assert_eq!(quick, Ok(7));
        let failed = limiter.call(|| async { Err::<u32, _>("broken") }).await;
        assert_eq!(failed, Err(PolicyError::Failed("broken")));
        let dropped = Arc::new(());
        let held = Arc::clone(&dropped);
        let slow = limiter.call(|| async move {
            let _held = held;
            std::future::pending::<Result<u32, &str>>().await
        });
        let Err(PolicyError::TimedOut(end)) = slow.await else {
            panic!("the call hangs");
        };
        assert_eq!(end.limit, Duration::from_secs(1));
        assert_eq!(Arc::strong_count(&dropped), 1);
        drop(
            tokio::time::timeout(
                Duration::from_millis(1),
                limiter.call(std::future::pending::<Result<u32, &str>>),
            )
            .await,
        );
        let counts = limiter.snapshot();
        for event in [
            EventKind::Succeeded,
            EventKind::Failed,
            EventKind::TimedOut,
            EventKind::Cancelled,
        ] {
            assert_eq!(counts.count(event), 1, "{event:?}");
        }
        assert_eq!(counts.calls(), 4);
    }

    /// Guarantees: a call that blocks its thread beyond the limit is a timeout even if it returned a result.
    #[tokio::test(start_paused = true)]
    async fn a_late_result_is_a_timeout() {
        let limiter = limiter(&Registry::new());
        let late = limiter.call(|| async {
            tokio::time::advance(Duration::from_secs(2)).await;
            Ok::<_, &str>(7)
        });
        assert!(matches!(late.await, Err(PolicyError::TimedOut(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_timeout_is_in_force_for_the_next_call() {
        let limiter = limiter(&Registry::new());
        let timeout = Duration::from_millis(20);
        limiter
            .update_settings(TimeLimiterSettings { timeout })
            .unwrap();
        let slow = limiter.call(std::future::pending::<Result<u32, &str>>);
        let Err(PolicyError::TimedOut(end)) = slow.await else {
            panic!("the call hangs");
        };
        assert_eq!(end.limit, timeout);
    }

    #[test]
    fn a_limit_of_nothing_or_of_an_age_is_refused() {
        for timeout in [Duration::ZERO, Duration::MAX] {
            let refused = TimeLimiterSettings { timeout }.validate().unwrap_err();
            let text = refused.to_string();
            assert!(
                text.starts_with("time limiter setting timeout must be above 0"),
                "{text}"
            );
        }
    }
}
