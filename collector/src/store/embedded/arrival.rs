//! The arrival clock: every row of every block gets a nanosecond of its own, by the collector's clock.
//!
//! A block says when it was written, and its rows follow one nanosecond apart. Times rise strictly over all shards
//! and restarts, so a row's time identifies it: a point written with it elsewhere (`store::influxdb`) can be
//! written again without a duplicate.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out times; shared by the shards.
#[derive(Debug, Default)]
pub(crate) struct ArrivalClock {
    /// The first nanosecond that is not taken.
    free: AtomicU64,
}

impl ArrivalClock {
    /// Returns the time of the first of that many rows: now, or just after the last row where the clock is behind.
    pub(crate) fn reserve(&self, rows: u64, now: u64) -> u64 {
        let after = |free: u64| Some(free.max(now).saturating_add(rows));
        let taken = self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        taken.unwrap_or_default().max(now)
    }

    /// Notes that every time before that one is taken.
    pub(crate) fn note(&self, free: u64) {
        self.free.fetch_max(free, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_never_share_a_time_whatever_the_clock_does() {
        let clock = ArrivalClock::default();
        assert_eq!(clock.reserve(10, 100), 100);
        assert_eq!(clock.reserve(5, 103), 110);
        assert_eq!(clock.reserve(1, 50), 115);
        assert_eq!(clock.reserve(1, 200), 200);
        clock.note(300);
        assert_eq!(clock.reserve(1, 250), 300);
    }
}
