//! Limits how many calls run at once; others may wait for a slot.

mod settings;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::attempt;
use super::current::Current;
use super::errors::{BulkheadFull, PolicyError};
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running, record, record_error};
use super::policy::{Inner, Registered, Wakers};
use super::snapshot::Snapshot;
use crate::semaphore::{Permit, Semaphore};
use crate::semconv::ERROR_TYPE_BULKHEAD_FULL;
pub use settings::BulkheadSettings;

/// A bulkhead; clones are handles to the same one.
///
/// Calls that wait get their slots in the order in which they came, and none overtakes them. One that is dropped while it
/// waits leaves the queue; a slot that it was just given goes to the next one.
///
/// A call that waits needs a tokio runtime with a timer; [`try_acquire`](Self::try_acquire) needs none.
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
    waiting: AtomicU32,
}

impl Inner for Slots {
    type Settings = BulkheadSettings;

    const KIND: Kind = Kind::Bulkhead;

    fn new(instrument: Instrument, settings: BulkheadSettings) -> Self {
        Self {
            instrument,
            free: Semaphore::new(settings.max_concurrent),
            settings: Current::new(settings),
            waiting: AtomicU32::new(0),
        }
    }

    fn settings(&self) -> &Current<BulkheadSettings> {
        &self.settings
    }

    fn apply(&self, old: &BulkheadSettings, new: &BulkheadSettings) -> Wakers {
        self.free.resize(old.max_concurrent, new.max_concurrent);
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
            waiting: Some(u64::from(self.waiting.load(Relaxed))),
            ..self.instrument.snapshot()
        }
    }

    /// Not while calls run: a new bulkhead of that name would admit as many beside them.
    fn is_idle(&self) -> bool {
        self.free.available() == self.max_concurrent()
    }
}

/// A slot of a bulkhead, free again when dropped.
#[derive(Debug)]
#[must_use = "a slot that is dropped is free again"]
pub struct Slot {
    _permit: Permit,
}

impl Bulkhead {
    /// Takes a slot, without waiting.
    ///
    /// # Errors
    /// Returns a [`BulkheadFull`] if none is free or calls wait for one.
    pub fn try_acquire(&self) -> Result<Slot, BulkheadFull> {
        match self.inner.try_take() {
            Some(slot) => {
                self.inner
                    .instrument
                    .note(EventKind::Permitted, Duration::ZERO);
                Ok(slot)
            }
            None => Err(self.inner.refuse()),
        }
    }

    /// Takes a slot, and waits for it as long as the settings say.
    ///
    /// # Errors
    /// Returns a [`BulkheadFull`] if none became free in that time, or as many calls as may wait do.
    pub async fn acquire(&self) -> Result<Slot, BulkheadFull> {
        self.acquire_within(Duration::MAX).await
    }

    /// Takes a slot and runs the future that `call` returns in it.
    ///
    /// # Errors
    /// Returns the refusal, or the call's own error.
    pub async fn call<T, E, Fut>(&self, call: impl FnOnce() -> Fut) -> Result<T, PolicyError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let _slot = self.acquire().await.map_err(PolicyError::BulkheadFull)?;
        call().await.map_err(PolicyError::Failed)
    }

    /// As [`acquire`](Self::acquire), for at most `left`.
    pub(crate) async fn acquire_within(&self, left: Duration) -> Result<Slot, BulkheadFull> {
        let slots = &*self.inner;
        if let Some(slot) = slots.try_take() {
            slots.instrument.note(EventKind::Permitted, Duration::ZERO);
            return Ok(slot);
        }
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
            return Ok(Slot { _permit: permit });
        }
        attempt::note_refused(None);
        record_error(&span, EventKind::Refused, ERROR_TYPE_BULKHEAD_FULL);
        running.end(EventKind::Refused, waited);
        Err(slots.refusal())
    }
}

impl Slots {
    fn try_take(&self) -> Option<Slot> {
        let permit = self.free.try_acquire()?;
        Some(Slot { _permit: permit })
    }

    /// Joins the queue, unless it is full.
    fn join(&self) -> Option<Waiting<'_>> {
        let limit = self.settings.read(|settings| settings.max_waiting);
        let joined = self.waiting.fetch_update(Relaxed, Relaxed, |waiting| {
            (waiting < limit).then_some(waiting + 1)
        });
        joined.is_ok().then_some(Waiting(&self.waiting))
    }

    fn refuse(&self) -> BulkheadFull {
        attempt::note_refused(None);
        let span = self.instrument.span(None);
        record_error(&span, EventKind::Refused, ERROR_TYPE_BULKHEAD_FULL);
        self.instrument.note(EventKind::Refused, Duration::ZERO);
        self.refusal()
    }

    fn refusal(&self) -> BulkheadFull {
        BulkheadFull {
            name: self.instrument.name.clone(),
            limit: self.max_concurrent(),
        }
    }

    fn max_concurrent(&self) -> u32 {
        self.settings.read(|settings| settings.max_concurrent)
    }
}

/// A call that is counted as waiting.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
