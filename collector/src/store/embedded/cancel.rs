//! Stops a reader whose question nobody waits for any more: its client left, or the collector stops.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::StoreError;

thread_local! {
    /// The question that this thread answers.
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
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

/// Returns whether the question of this thread was cancelled.
pub(super) fn is_cancelled() -> bool {
    CURRENT.with_borrow(|current| {
        let cancel = current.as_ref();
        cancel.is_some_and(|Cancel(flag)| flag.load(Ordering::Relaxed))
    })
}

/// Fails once the question of this thread was cancelled.
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    match is_cancelled() {
        true => Err(StoreError::io(
            "read on",
            path,
            io::ErrorKind::Interrupted.into(),
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_stops_when_its_question_is_dropped() {
        let asked = Asked::default();
        let entered = asked.cancel().enter();
        assert!(check(Path::new("spans")).is_ok());
        drop(asked);
        assert!(check(Path::new("spans")).is_err());
        drop(entered);
        assert!(!is_cancelled());
    }
}
