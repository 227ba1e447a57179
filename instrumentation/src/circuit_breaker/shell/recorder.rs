//! Records the duration of every call with two plain additions in a fixed array. Readers receive a
//! [`LatencyHistogram`].

use crate::circuit_breaker::model::buckets::{BUCKETS, FIRST_INDEX, ZERO_NANOS, place};
use crate::circuit_breaker::model::latency::LatencyHistogram;
use crate::sharded::counter::Counter;

/// A histogram with one writer at a time.
#[derive(Debug)]
pub(crate) struct Recorder {
    sum_nanos: Counter,
    zero: Counter,
    buckets: [Counter; BUCKETS],
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            sum_nanos: Counter::default(),
            zero: Counter::default(),
            buckets: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl Recorder {
    /// Adds a duration.
    #[inline]
    pub(crate) fn record(&self, nanos: u64) {
        self.sum_nanos.add(nanos);
        if nanos > ZERO_NANOS {
            self.buckets[place(nanos)].add(1);
        } else {
            self.zero.add(1);
        }
    }

    /// Adds the recorded durations to `sum`.
    pub(crate) fn read(&self, sum: &mut LatencyHistogram) {
        sum.sum_nanos = sum.sum_nanos.saturating_add(self.sum_nanos.get());
        sum.zero_count = sum.zero_count.saturating_add(self.zero.get());
        for (count, index) in self.buckets.iter().zip(FIRST_INDEX..) {
            sum.add(index, count.get());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn recorded(durations: &[u64]) -> LatencyHistogram {
        let recorder = Recorder::default();
        durations.iter().for_each(|nanos| recorder.record(*nanos));
        let mut histogram = LatencyHistogram::default();
        recorder.read(&mut histogram);
        histogram
    }

    #[test]
    fn short_calls_count_as_zero_and_long_ones_in_the_last_bucket() {
        let histogram = recorded(&[0, ZERO_NANOS, ZERO_NANOS + 1, u64::MAX >> 1]);
        assert_eq!((histogram.zero_count, histogram.count()), (2, 4));
        assert_eq!(histogram.buckets(), [(FIRST_INDEX, 1), (79, 1)]);
    }

    proptest! {
        /// Guarantees: readers that compute an index find the bucket that recording counted in.
        #[test]
        fn recording_and_index_of_agree(nanos in ZERO_NANOS + 1..1_024_000_000_000) {
            let index = LatencyHistogram::index_of(Duration::from_nanos(nanos));
            prop_assert_eq!(recorded(&[nanos]).into_buckets(), [(index, 1)]);
        }

        #[test]
        fn merging_is_recording_both(left in prop::collection::vec(0_u64..u64::MAX >> 20, 0..50),
                                     right in prop::collection::vec(0_u64..u64::MAX >> 20, 0..50)) {
            let mut merged = recorded(&left);
            merged.merge(&recorded(&right));
            prop_assert_eq!(merged, recorded(&[left, right].concat()));
        }
    }
}
