//! Limits the number of calls that start in each cycle of time.

mod cycles;
mod settings;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::attempt;
use super::current::Current;
use super::errors::{PolicyError, RateLimited};
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running, record, record_error};
use super::policy::{Inner, Registered, Wakers};
use super::snapshot::Snapshot;
use crate::semconv::ERROR_TYPE_RATE_LIMITED;
use crate::sync::{Mutex, MutexGuard};
use crate::time::clock::Clock;
use crate::time::{MAX_DURATION, nanos};
use cycles::{Cycles, Ticket};
pub use settings::RateLimiterSettings;

/// A rate limiter with resilience4j's cycles. Clones are handles to the same rate limiter.
///
/// Waiting calls get permits in FIFO order. If a waiting call is dropped, no permit is lost: its position, or the
/// permit that it was just given, goes to the next call.
///
/// Time is tokio's. Waiting needs a runtime with a timer; [`try_acquire`](Self::try_acquire) does not.
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::resilience::{PolicyError, RateLimiter, RateLimiterSettings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let settings = RateLimiterSettings {
///     limit: 2,
///     period: Duration::from_secs(3600),
///     ..RateLimiterSettings::default()
/// };
/// let limiter = RateLimiter::builder("mail").settings(settings).build();
/// for _ in 0..2 {
///     let sent = limiter.call(|| async { Ok::<_, std::io::Error>("sent") }).await;
///     assert_eq!(sent.unwrap(), "sent");
/// }
/// let refused = limiter.call(|| async { Ok::<_, std::io::Error>("sent") }).await;
/// assert!(matches!(refused, Err(PolicyError::RateLimited(_))));
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    inner: Arc<Limiter>,
}

policy!(RateLimiter, Limiter, RateLimiterSettings);

/// What the handles share.
#[derive(Debug)]
pub(super) struct Limiter {
    instrument: Instrument,
    settings: Current<RateLimiterSettings>,
    clock: Clock,
    cycles: Mutex<Cycles>,
}

impl Inner for Limiter {
    type Settings = RateLimiterSettings;

    const KIND: Kind = Kind::RateLimiter;

    fn new(instrument: Instrument, settings: RateLimiterSettings) -> Self {
        Self {
            instrument,
            clock: Clock::start(),
            cycles: Mutex::new(Cycles::new(settings.limit, settings.period)),
            settings: Current::new(settings),
        }
    }

    fn settings(&self) -> &Current<RateLimiterSettings> {
        &self.settings
    }

    fn apply(&self, _: &RateLimiterSettings, new: &RateLimiterSettings) -> Wakers {
        let (mut cycles, now) = self.advanced();
        cycles.change(new.limit, new.period, now)
    }
}

impl Registered for Limiter {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn snapshot(&self) -> Snapshot {
        let (cycles, _) = self.advanced();
        Snapshot {
            available: Some(u64::from(cycles.available())),
            waiting: Some(cycles.waiting() as u64),
            ..self.instrument.snapshot()
        }
    }

    /// Not idle while permits of this cycle are used: a new limiter of this name would give them out again.
    fn is_idle(&self) -> bool {
        self.advanced().0.is_unused()
    }
}

impl RateLimiter {
    /// Takes a permit without waiting.
    ///
    /// # Errors
    /// Returns a [`RateLimited`] if this cycle has none left.
    pub fn try_acquire(&self) -> Result<(), RateLimited> {
        let limiter = &*self.inner;
        let refused = {
            let (mut cycles, now) = limiter.advanced();
            (!cycles.take()).then(|| cycles.wait(now))
        };
        match refused {
            None => {
                limiter.permit();
                Ok(())
            }
            Some(wait) => Err(limiter.refuse(wait)),
        }
    }

    /// Takes a permit; waits up to [`max_wait`](RateLimiterSettings::max_wait).
    ///
    /// # Errors
    /// Returns a [`RateLimited`], immediately, if there will be no permit in that time.
    pub async fn acquire(&self) -> Result<(), RateLimited> {
        self.acquire_within(Duration::MAX).await
    }

    /// Takes a permit and runs the future that `call` returns.
    ///
    /// # Errors
    /// Returns the refusal, or the call's own error.
    pub async fn call<T, E, Fut>(&self, call: impl FnOnce() -> Fut) -> Result<T, PolicyError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        self.acquire().await.map_err(PolicyError::RateLimited)?;
        call().await.map_err(PolicyError::Failed)
    }

    /// Takes a permit if one is available at `now`, the time that the caller has just read from `clock`.
    #[inline]
    pub(crate) fn take_at(&self, clock: Clock, now: u64) -> bool {
        let now = self.inner.clock.when(clock, now);
        let has_one = self.inner.advanced_by(|| now).0.take();
        if has_one {
            self.inner.permit();
        }
        has_one
    }

    /// As [`acquire`](Self::acquire), waiting at most `left`.
    pub(crate) async fn acquire_within(&self, left: Duration) -> Result<(), RateLimited> {
        let limiter = &*self.inner;
        let longest = limiter
            .settings
            .read(|settings| settings.max_wait)
            .min(left);
        match limiter.take_or_join(longest) {
            Entry::Permit => {
                limiter.permit();
                Ok(())
            }
            Entry::Refused(wait) => Err(limiter.refuse(wait)),
            Entry::Queued(place) => place.wait(longest).await,
        }
    }
}

/// The result of a call's arrival.
enum Entry<'a> {
    Permit,
    Refused(Duration),
    Queued(Place<'a>),
}

impl Limiter {
    /// Locks the cycles and advances them to the current time.
    fn advanced(&self) -> (MutexGuard<'_, Cycles>, u64) {
        self.advanced_by(|| self.clock.now())
    }

    /// As [`advanced`](Self::advanced); `now` reads the clock.
    #[inline]
    fn advanced_by(&self, now: impl Fn() -> u64) -> (MutexGuard<'_, Cycles>, u64) {
        loop {
            let mut cycles = self.cycles.lock();
            let now = now();
            let wakers = cycles.advance(now);
            if wakers.is_empty() {
                return (cycles, now);
            }
            // Dropped first: a waker may run code of the application.
            drop(cycles);
            wakers.wake();
        }
    }

    fn take_or_join(&self, longest: Duration) -> Entry<'_> {
        // Before the lock, which a change of the settings takes too.
        let max_waiting = self.settings.read(|settings| settings.max_waiting);
        let (mut cycles, now) = self.advanced();
        if cycles.take() {
            return Entry::Permit;
        }
        let wait = cycles.wait(now);
        if wait > longest || cycles.waiting() >= max_waiting as usize {
            return Entry::Refused(wait);
        }
        Entry::Queued(Place {
            limiter: self,
            ticket: cycles.join(Waker::noop().clone()),
            due: now.saturating_add(nanos(wait)),
        })
    }

    #[inline]
    fn permit(&self) {
        attempt::clear_limited();
        self.instrument.note(EventKind::Permitted, Duration::ZERO);
    }

    fn refuse(&self, wait: Duration) -> RateLimited {
        attempt::note_limited(Some(wait));
        let span = self.instrument.span(None);
        record_error(&span, EventKind::Refused, ERROR_TYPE_RATE_LIMITED);
        self.instrument.note(EventKind::Refused, Duration::ZERO);
        self.refusal(wait)
    }

    fn refusal(&self, retry_after: Duration) -> RateLimited {
        RateLimited {
            name: self.instrument.name.clone(),
            retry_after,
        }
    }
}

/// A call in the queue; it leaves the queue when dropped.
struct Place<'a> {
    limiter: &'a Limiter,
    ticket: Ticket,
    /// The time by which it has a permit, unless the clock or the runtime stood still.
    due: u64,
}

impl Place<'_> {
    async fn wait(mut self, longest: Duration) -> Result<(), RateLimited> {
        let limiter = self.limiter;
        let span = limiter.instrument.span(None);
        let mut running = Running::start(&limiter.instrument, 0);
        let started = Instant::now();
        let has_permit = self.permit_within(started, longest).await;
        let waited = started.elapsed();
        if has_permit {
            std::mem::forget(self); // It has left the queue, and the permit is the call's.
            attempt::clear_limited();
            record(&span, EventKind::Permitted);
            running.end(EventKind::Permitted, waited);
            return Ok(());
        }
        let period = limiter.settings.read(|settings| settings.period);
        attempt::note_limited(Some(period));
        record_error(&span, EventKind::Refused, ERROR_TYPE_RATE_LIMITED);
        running.end(EventKind::Refused, waited);
        Err(limiter.refusal(period))
    }

    /// Waits for the permit. Returns `false` if it has not come in the expected time, because the runtime stood still
    /// or other settings give fewer permits.
    async fn permit_within(&mut self, started: Instant, longest: Duration) -> bool {
        let clock = self.limiter.clock;
        let end = started + longest.min(MAX_DURATION);
        let mut timer = pin!(sleep_until(clock.instant(self.due).min(end)));
        poll_fn(|cx| {
            loop {
                if self.has_permit(cx.waker()) {
                    return Poll::Ready(true);
                }
                if Instant::now() >= end {
                    return Poll::Ready(false);
                }
                let due = clock.instant(self.due).min(end);
                if timer.deadline() != due {
                    timer.as_mut().reset(due);
                }
                ready!(timer.as_mut().poll(cx));
            }
        })
        .await
    }

    /// Returns whether the permit has come; if not, sets when to look again.
    fn has_permit(&mut self, waker: &Waker) -> bool {
        let (mut cycles, now) = self.limiter.advanced();
        if cycles.collect(self.ticket, waker) {
            return true;
        }
        // The first call wakes at the next cycle. The others need not: their own time comes early enough in a queue
        // that no call leaves, and a call that becomes the first is woken.
        if cycles.is_first(self.ticket) || self.due <= now {
            self.due = cycles.next_cycle();
        }
        false
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let wakers = self.limiter.cycles.lock().leave(self.ticket);
        wakers.wake();
    }
}
