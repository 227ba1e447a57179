//! Stops a reader in the middle of its work: nobody waits for the answer any more, because its client left or the
//! collector stops, or the time of its search is over.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

/// Work between two looks at the clock, bytes: a regex takes at most a few milliseconds for as many.
const LOOK_AFTER_BYTES: usize = 4 << 10;
/// What a value counts beside its bytes: a test takes longer than a comparison.
const VALUE_BYTES: usize = 64;

thread_local! {
    /// The question that this thread answers.
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
    /// The time of the search that this thread runs.
    static LIMIT: RefCell<Option<TimeLimit>> = const { RefCell::new(None) };
    /// Work since the last look.
    static WORK: Cell<usize> = const { Cell::new(0) };
}

/// A question; dropping it cancels its reader.
#[derive(Debug, Default)]
pub(super) struct Asked(Arc<AtomicBool>);

impl Asked {
    /// Returns what its reader looks at.
    pub(super) fn cancel(&self) -> Cancel {
        Cancel(Arc::clone(&self.0))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a question was cancelled.
#[derive(Debug, Clone)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Makes it the question of this thread until what is returned is dropped.
    pub(super) fn enter(self) -> Entered {
        CURRENT.set(Some(self));
        Entered
    }
}

/// The thread answers a question.
pub(super) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}

/// Returns whether the time of a search is over; once it is, it stays so.
#[derive(Clone)]
pub(super) struct TimeLimit(Arc<dyn Fn() -> bool + Send + Sync>);

impl TimeLimit {
    /// Makes one of a clock.
    pub(super) fn new(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_over))
    }

    /// Limits the reads of this thread until what is returned is dropped.
    pub(super) fn enter(&self) -> Limited {
        LIMIT.set(Some(self.clone()));
        Limited
    }
}

/// The reads of this thread are limited.
pub(super) struct Limited;

impl Drop for Limited {
    fn drop(&mut self) {
        LIMIT.set(None);
    }
}

/// Fails once the question of this thread was cancelled, or the time of its search is over.
pub(super) fn check() -> Result<(), StoreError> {
    WORK.set(0);
    let is_cancelled = CURRENT.with_borrow(|current| {
        let cancel = current.as_ref();
        cancel.is_some_and(|Cancel(flag)| flag.load(Ordering::Relaxed))
    });
    if is_cancelled {
        return Err(StoreError::Cancelled);
    }
    let is_over = LIMIT.with_borrow(|limit| limit.as_ref().is_some_and(|limit| (limit.0)()));
    match is_over {
        true => Err(StoreError::TimeOver),
        false => Ok(()),
    }
}

/// As `check`, before a value of that many bytes is looked at; the clock is read once in a while.
#[inline]
pub(super) fn spend(bytes: usize) -> Result<(), StoreError> {
    let work = WORK.get() + VALUE_BYTES + bytes;
    WORK.set(work);
    if work < LOOK_AFTER_BYTES {
        return Ok(());
    }
    check()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_stops_when_its_question_is_dropped() {
        let asked = Asked::default();
        let entered = asked.cancel().enter();
        assert!(check().is_ok());
        drop(asked);
        assert!(matches!(check(), Err(StoreError::Cancelled)));
        let looked = (0..LOOK_AFTER_BYTES).find(|_| spend(0).is_err());
        assert_eq!(looked, Some(LOOK_AFTER_BYTES / VALUE_BYTES - 1));
        drop(entered);
        assert!(check().is_ok());
    }

    #[test]
    fn a_search_stops_at_a_large_value_once_its_time_is_over() {
        let limited = TimeLimit::new(|| true).enter();
        assert!(spend(1).is_ok());
        assert!(matches!(spend(LOOK_AFTER_BYTES), Err(StoreError::TimeOver)));
        drop(limited);
        assert!(spend(LOOK_AFTER_BYTES).is_ok());
    }
}
