//! Limits the number of calls that wait at a policy.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The number of waiting calls.
#[derive(Debug, Default)]
pub(crate) struct Waiters(AtomicU32);

/// A call that is counted as waiting until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting<'a>(&'a AtomicU32);

impl Waiters {
    /// Counts a call as waiting, unless the limit is reached.
    pub(crate) fn join(&self, most: u32) -> Option<Waiting<'_>> {
        let one_more = |waiting| (waiting < most).then_some(waiting + 1);
        let joined = self.0.fetch_update(Relaxed, Relaxed, one_more);
        // Not `then_some`, which would create and drop the guard even if the limit is reached.
        joined.is_ok().then(|| Waiting(&self.0))
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.load(Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
