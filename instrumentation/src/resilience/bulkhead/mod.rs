//! Limits the number of concurrent calls; further calls can wait for a slot.

mod adapt;
mod settings;
#[cfg(test)]
mod tests;

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::attempt::{self, LastCall};
use super::current::Current;
use super::errors::{BulkheadFull, PolicyError};
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running, record, record_error};
use super::policy::{Inner, Registered, Wakers};
use super::snapshot::Snapshot;
use super::waiting::{Waiters, Waiting};
use crate::semaphore::{BorrowedPermit, Permit, Semaphore};
use crate::semconv::ERROR_TYPE_BULKHEAD_FULL;
use crate::sync::Mutex;
pub use adapt::{AdaptRule, AdaptSettings};
use adapt::{Ended, Estimate};
pub use settings::BulkheadSettings;

/// A bulkhead. Clones are handles to the same bulkhead.
///
/// Waiting calls get slots in FIFO order. A call that is dropped while it waits leaves the queue; if it had just
/// received a slot, the slot goes to the next call.
///
/// Waiting needs a tokio runtime with a timer; [`try_acquire`](Self::try_acquire) does not.
///
/// ```
/// use fusebox::resilience::{Bulkhead, BulkheadSettings, PolicyError};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let settings = BulkheadSettings {
///     max_concurrent: 1,
///     ..BulkheadSettings::default()
/// };
/// let bulkhead = Bulkhead::builder("reports").settings(settings).build();
/// let running = bulkhead.try_acquire().unwrap();
/// let refused = bulkhead.call(|| async { Ok::<_, std::io::Error>(7) }).await;
/// assert!(matches!(refused, Err(PolicyError::BulkheadFull(_))));
/// drop(running);
/// assert_eq!(bulkhead.call(|| async { Ok::<_, std::io::Error>(7) }).await.unwrap(), 7);
/// # }
/// ```
#[derive(Clone)]
pub struct Bulkhead {
    inner: Arc<Slots>,
}

policy!(Bulkhead, Slots, BulkheadSettings);

/// What the handles share.
#[derive(Debug)]
pub(super) struct Slots {
    instrument: Instrument,
    settings: Current<BulkheadSettings>,
    free: Arc<Semaphore>,
    /// The number of slots.
    size: AtomicU32,
    /// Whether the settings adapt the number of slots; read by every call.
    is_adaptive: AtomicBool,
    estimate: Mutex<Estimate>,
    waiting: Waiters,
}

impl Inner for Slots {
    type Settings = BulkheadSettings;

    const KIND: Kind = Kind::Bulkhead;

    fn new(instrument: Instrument, settings: BulkheadSettings) -> Self {
        Self {
            instrument,
            free: Semaphore::new(settings.max_concurrent),
            size: AtomicU32::new(settings.max_concurrent),
            is_adaptive: AtomicBool::new(settings.adapt.is_some()),
            estimate: Mutex::new(Estimate::new(settings.max_concurrent)),
            settings: Current::new(settings),
            waiting: Waiters::default(),
        }
    }

    fn settings(&self) -> &Current<BulkheadSettings> {
        &self.settings
    }

    /// Keeps the learned number of slots within the new bounds.
    fn apply(&self, old: &BulkheadSettings, new: &BulkheadSettings) -> Wakers {
        let mut estimate = self.estimate.lock();
        match (&old.adapt, &new.adapt) {
            (Some(_), Some(adapt)) => estimate.bound(adapt),
            _ => *estimate = Estimate::new(new.max_concurrent),
        }
        self.is_adaptive.store(new.adapt.is_some(), Relaxed);
        self.resize(estimate.slots());
        Wakers::default()
    }
}

impl Registered for Slots {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            available: Some(u64::from(self.free.available())),
            waiting: Some(u64::from(self.waiting.count())),
            limit: Some(u64::from(self.size())),
            ..self.instrument.snapshot()
        }
    }

    /// Not idle while calls run: a new bulkhead of this name would admit as many again.
    fn is_idle(&self) -> bool {
        self.free.available() == self.size()
    }
}

/// A slot of a bulkhead, freed when it is dropped.
///
/// An adaptive bulkhead counts the time until the drop as that of a successful call, unless [`failed`](Self::failed) or
/// [`cancelled`](Self::cancelled) was called.
#[derive(Debug)]
#[must_use = "a slot that is dropped is free again"]
pub struct Slot(Held<Permit>);

/// A slot with a permit of either kind.
#[derive(Debug)]
pub(crate) struct Held<P> {
    /// Set for an adaptive bulkhead; dropped before the permit.
    measured: Option<Measured>,
    _permit: P,
}

/// The call in a slot.
#[derive(Debug)]
struct Measured {
    slots: Arc<Slots>,
    started: Instant,
    /// The duration of the call if it is known before the slot is freed, while the body of the response is still to
    /// come.
    took: Option<Duration>,
    end: End,
}

/// How the call in a slot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Succeeded,
    Failed,
    Cancelled,
}

impl Slot {
    /// Frees the slot after a call that failed or timed out.
    pub fn failed(mut self) {
        self.0.end_as(End::Failed);
    }

    /// Frees the slot after a call that says nothing about its target.
    pub fn cancelled(mut self) {
        self.0.end_as(End::Cancelled);
    }

    /// Counts as cancelled if it is dropped without another outcome.
    pub(crate) fn under_way(self) -> Self {
        Self(self.0.under_way())
    }

    pub(crate) fn into_held(self) -> Held<Permit> {
        self.0
    }

    /// Records that the target has answered, unless another policy inside refused the call, so that it never reached the
    /// target; the call may continue.
    pub(crate) fn ended(self, is_ok: bool, last: LastCall) -> Self {
        match (is_ok, last) {
            (false, LastCall::Refused(_)) => self.under_way(),
            _ => Self(self.0.answered(is_ok)),
        }
    }
}

impl<P> Held<P> {
    /// As [`Slot::under_way`].
    #[inline]
    pub(crate) fn under_way(mut self) -> Self {
        self.end_as(End::Cancelled);
        self
    }

    /// Frees the slot; `is_ok` tells how the target answered, if it did.
    #[inline]
    pub(crate) fn end(self, is_ok: Option<bool>) {
        match is_ok {
            Some(is_ok) => drop(self.answered(is_ok)),
            None => drop(self.under_way()),
        }
    }

    /// Records that the target has answered; the call may continue.
    fn answered(mut self, is_ok: bool) -> Self {
        self.end_as(match is_ok {
            true => End::Succeeded,
            false => End::Failed,
        });
        if let Some(measured) = &mut self.measured {
            measured.took = Some(measured.started.elapsed());
        }
        self
    }

    fn end_as(&mut self, end: End) {
        if let Some(measured) = &mut self.measured {
            measured.end = end;
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if self.end != End::Cancelled {
            let took = self.took.unwrap_or_else(|| self.started.elapsed());
            self.slots.learn(took, self.end == End::Failed);
        }
    }
}

impl Bulkhead {
    /// Acquires a slot without waiting.
    ///
    /// # Errors
    /// Returns a [`BulkheadFull`] if no slot is free or other calls wait for one.
    pub fn try_acquire(&self) -> Result<Slot, BulkheadFull> {
        self.take_now().ok_or_else(|| self.inner.refuse())
    }

    /// Acquires a slot; waits up to [`max_wait`](BulkheadSettings::max_wait).
    ///
    /// # Errors
    /// Returns a [`BulkheadFull`] if no slot became free in that time, or if the queue of waiting calls is full.
    pub async fn acquire(&self) -> Result<Slot, BulkheadFull> {
        self.acquire_within(Duration::MAX).await
    }

    /// Acquires a slot and runs the future that `call` returns.
    ///
    /// # Errors
    /// Returns the refusal, or the call's own error.
    pub async fn call<T, E, Fut>(&self, call: impl FnOnce() -> Fut) -> Result<T, PolicyError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let slot = self.acquire().await.map_err(PolicyError::BulkheadFull)?;
        let slot = slot.under_way();
        let (result, last) = attempt::within(async { call().await }).await;
        drop(slot.ended(result.is_ok(), last));
        result.map_err(PolicyError::Failed)
    }

    /// Takes a slot if one is free now.
    fn take_now(&self) -> Option<Slot> {
        let permit = self.inner.free.try_acquire()?;
        Some(Slot(self.inner.permitted(permit)))
    }

    /// As [`try_acquire`](Self::try_acquire), for a call that holds the bulkhead; refusals are not counted.
    #[inline]
    pub(crate) fn borrow_now(&self) -> Option<Held<BorrowedPermit<'_>>> {
        let permit = self.inner.free.try_borrow()?;
        Some(self.inner.permitted(permit))
    }

    /// As [`acquire`](Self::acquire), waiting at most `left`.
    pub(crate) async fn acquire_within(&self, left: Duration) -> Result<Slot, BulkheadFull> {
        if let Some(slot) = self.take_now() {
            return Ok(slot);
        }
        let slots = &self.inner;
        let longest = slots.settings.read(|settings| settings.max_wait).min(left);
        let Some(_waiting) = slots.join().filter(|_| longest > Duration::ZERO) else {
            return Err(slots.refuse());
        };
        let span = slots.instrument.span(None);
        let mut running = Running::start(&slots.instrument, 0);
        let started = Instant::now();
        let permit = timeout(longest, slots.free.acquire()).await;
        let waited = started.elapsed();
        if let Ok(permit) = permit {
            record(&span, EventKind::Permitted);
            running.end(EventKind::Permitted, waited);
            return Ok(Slot(slots.slot(permit)));
        }
        attempt::note_limited(None);
        record_error(&span, EventKind::Refused, ERROR_TYPE_BULKHEAD_FULL);
        running.end(EventKind::Refused, waited);
        Err(slots.refusal())
    }
}

impl Slots {
    #[inline]
    fn permitted<P>(self: &Arc<Self>, permit: P) -> Held<P> {
        self.instrument.note(EventKind::Permitted, Duration::ZERO);
        self.slot(permit)
    }

    #[inline]
    fn slot<P>(self: &Arc<Self>, permit: P) -> Held<P> {
        attempt::clear_limited();
        let measured = self.is_adaptive.load(Relaxed).then(|| Measured {
            slots: Arc::clone(self),
            started: Instant::now(),
            took: None,
            end: End::Succeeded,
        });
        Held {
            measured,
            _permit: permit,
        }
    }

    /// Changes the number of slots after a call, which still holds its own slot.
    fn learn(&self, took: Duration, has_failed: bool) {
        // Locked before the settings are read, so that a concurrent change of the settings applies after this one.
        let mut estimate = self.estimate.lock();
        let Some(settings) = self.settings.read(|settings| settings.adapt.clone()) else {
            return; // Not any more.
        };
        let running = self.size().saturating_sub(self.free.available());
        let call = Ended {
            took,
            has_failed,
            running,
        };
        estimate.learn(&settings, call);
        self.resize(estimate.slots());
    }

    /// Must be called under the lock of the estimate.
    fn resize(&self, to: u32) {
        let from = self.size.swap(to, Relaxed);
        if from != to {
            self.free.resize(from, to);
        }
    }

    /// Joins the queue, unless it is full.
    fn join(&self) -> Option<Waiting<'_>> {
        let limit = self.settings.read(|settings| settings.max_waiting);
        self.waiting.join(limit)
    }

    fn refuse(&self) -> BulkheadFull {
        attempt::note_limited(None);
        let span = self.instrument.span(None);
        record_error(&span, EventKind::Refused, ERROR_TYPE_BULKHEAD_FULL);
        self.instrument.note(EventKind::Refused, Duration::ZERO);
        self.refusal()
    }

    fn refusal(&self) -> BulkheadFull {
        BulkheadFull {
            name: self.instrument.name.clone(),
            limit: self.size(),
        }
    }

    fn size(&self) -> u32 {
        self.size.load(Relaxed)
    }
}
