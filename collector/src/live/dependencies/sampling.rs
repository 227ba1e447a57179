//! Samples traces when spans arrive too fast to stay in the table until their other half arrives.
//!
//! A table that turns over within seconds finds hardly any pairs and misses the cache for every span. So
//! whole traces are left out, half of them at a time, until the remaining ones can wait long enough; each
//! call found is then weighted for the traces left out. The selection depends on a secret, not on what
//! senders choose.

use super::table::{CALLS_MAX, OTHERS_MAX, WAIT_SECONDS};

/// How long spans must be able to wait: SDKs send every five seconds, and batches of two services are out of
/// step.
const WAIT_SECONDS_MIN: u32 = 10;
/// This many early evictions, a third of the table, halve the share of traces.
const EVICTED_MAX: usize = OTHERS_MAX;
/// With fewer waiting spans there would still be room for twice as many.
const WAITING_MIN: usize = (CALLS_MAX + OTHERS_MAX) / 4;
/// At least one trace of 1,024 is taken: enough for three million spans a second.
const HALVINGS_MAX: u32 = 10;

/// The share of traces that are paired.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    halvings: u32,
    /// Spans evicted too early since the share changed.
    evicted: usize,
    /// The second in which the share changed.
    changed: u32,
}

impl Sampling {
    /// Returns whether a trace is taken, by its hash.
    #[inline]
    pub(super) fn takes(&self, trace: u64) -> bool {
        trace.trailing_zeros() >= self.halvings
    }

    pub(super) fn weight(&self) -> u64 {
        1 << self.halvings
    }

    /// Records an eviction after so many seconds; returns whether the share was reduced.
    pub(super) fn evicted(&mut self, waited: u32, second: u32) -> bool {
        self.evicted += usize::from(waited < WAIT_SECONDS_MIN);
        if self.evicted < EVICTED_MAX || self.halvings == HALVINGS_MAX {
            return false;
        }
        self.change(self.halvings + 1, second);
        true
    }

    /// Doubles the share once the table has room; the effect of each change is awaited first.
    pub(super) fn relax(&mut self, waiting: usize, second: u32) {
        let settled = second.saturating_sub(self.changed) > WAIT_SECONDS;
        if self.halvings > 0 && settled && waiting < WAITING_MIN {
            self.change(self.halvings - 1, second);
        }
    }

    fn change(&mut self, halvings: u32, second: u32) {
        *self = Self {
            halvings,
            evicted: 0,
            changed: second,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_traces_are_taken_while_spans_cannot_wait_and_all_again_once_they_can() {
        let mut sampling = Sampling::default();
        assert!((0..100).all(|trace| sampling.takes(trace)));
        let changes = (0..2 * EVICTED_MAX).filter(|_| sampling.evicted(1, 100));
        assert_eq!(changes.count(), 2);
        assert_eq!(sampling.weight(), 4);
        assert_eq!((0..100).filter(|trace| sampling.takes(*trace)).count(), 25);
        sampling.relax(0, 100 + WAIT_SECONDS);
        assert_eq!(sampling.weight(), 4);
        sampling.relax(WAITING_MIN, 200);
        assert_eq!(sampling.weight(), 4);
        sampling.relax(0, 200);
        sampling.relax(0, 300);
        assert_eq!(sampling.weight(), 1);
    }

    #[test]
    fn spans_that_waited_long_enough_change_nothing() {
        let mut sampling = Sampling::default();
        assert!((0..3 * EVICTED_MAX).all(|_| !sampling.evicted(WAIT_SECONDS_MIN, 100)));
    }
}
