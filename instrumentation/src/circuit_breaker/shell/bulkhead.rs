//! Limits running calls as Hystrix's semaphore does; the limit may change at any time. Never waits.

use crate::sync::atomic::{
    AtomicU32, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

#[derive(Debug, Default)]
pub(crate) struct Bulkhead {
    in_use: AtomicU32,
}

impl Bulkhead {
    /// Takes a slot if fewer than `limit` are in use.
    #[inline]
    pub(crate) fn try_acquire(&self, limit: u32) -> Option<Slot<'_>> {
        self.in_use
            .fetch_update(AcqRel, Acquire, |in_use| {
                (in_use < limit).then_some(in_use + 1)
            })
            .ok()
            .map(|_| Slot { bulkhead: self })
    }

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }
}

/// A slot, freed when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    bulkhead: &'a Bulkhead,
}

impl Drop for Slot<'_> {
    #[inline]
    fn drop(&mut self) {
        self.bulkhead.in_use.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bulkhead_refuses_until_a_slot_is_dropped() {
        let bulkhead = Bulkhead::default();
        let slot = bulkhead.try_acquire(1).unwrap();
        assert!(bulkhead.try_acquire(1).is_none());
        assert!(
            bulkhead.try_acquire(2).is_some(),
            "a raised limit counts at once"
        );
        drop(slot);
        assert!(bulkhead.try_acquire(1).is_some());
    }
}
