//! Records durations as every call does: two plain additions in a fixed array, the bucket found with a leading-zeros
//! count and one table, without a logarithm. [`LatencyHistogram`] is what readers get.

use super::counter::Counter;
use crate::circuit_breaker::watch::latency::{LatencyHistogram, PER_DOUBLING};

/// Index of the first bucket kept; it begins at 2^-20 s (0.95 µs).
const FIRST_INDEX: i32 = -160;

/// Buckets kept; the last ends at 2^10 s (17 min) and takes whatever is longer.
const BUCKETS: usize = 240;

/// 2^(k/8) for k = 1 to 8: the upper bounds of the buckets within one doubling.
const STEPS: [f64; PER_DOUBLING] = [
    1.090_507_732_665_257_7,
    1.189_207_115_002_721,
    1.296_839_554_651_009_6,
    std::f64::consts::SQRT_2,
    1.542_210_825_407_940_7,
    1.681_792_830_507_429,
    1.834_008_086_409_342_4,
    2.0,
];

/// The longest duration, in nanoseconds, that each bucket takes.
static BOUNDS: [u64; BUCKETS] = bounds();

/// Parts into which the table divides each doubling; 1/16 is narrower than a bucket, so at most one bound falls into a
/// part.
const PARTS: usize = 16;

/// For each part of each doubling of a nanosecond, the bucket of its smallest duration (0: below the first).
static STARTS: [u8; 64 * PARTS] = starts();

const fn bounds() -> [u64; BUCKETS] {
    let mut table = [0; BUCKETS];
    let mut base = 1e9 / 1_048_576.0; // 2^-20 s, where bucket FIRST_INDEX begins
    let mut bucket = 0;
    while bucket < BUCKETS {
        table[bucket] = (base * STEPS[bucket % PER_DOUBLING]) as u64;
        if bucket % PER_DOUBLING == PER_DOUBLING - 1 {
            base *= 2.0;
        }
        bucket += 1;
    }
    table
}

const fn starts() -> [u8; 64 * PARTS] {
    let mut table = [0; 64 * PARTS];
    let mut bucket = 0;
    let mut part = 0;
    while part < 64 * PARTS {
        let (doubling, step) = ((part / PARTS) as u32, (part % PARTS) as u128);
        let smallest = ((PARTS as u128 + step) << doubling) / PARTS as u128;
        while bucket < BUCKETS - 1 && BOUNDS_FOR_STARTS[bucket] as u128 <= smallest {
            if BOUNDS_FOR_STARTS[bucket] as u128 == smallest {
                break;
            }
            bucket += 1;
        }
        table[part] = bucket as u8;
        part += 1;
    }
    table
}

/// `BOUNDS` as a constant, because a constant function must not read a static.
const BOUNDS_FOR_STARTS: [u64; BUCKETS] = bounds();

/// Durations up to this go to the zero bucket (OTLP `zero_threshold`): 2^-20 s.
const ZERO_NANOS: u64 = 953;

/// Returns the index of the bucket of a duration that the array can tell apart from its neighbours.
#[inline]
pub(crate) fn index_in_range(nanos: u64) -> Option<i32> {
    let in_range = nanos > ZERO_NANOS && nanos <= BOUNDS[BUCKETS - 1];
    in_range.then(|| place(nanos) as i32 + FIRST_INDEX)
}

/// Returns the position in the array of a duration above `ZERO_NANOS`.
#[inline]
fn place(nanos: u64) -> usize {
    let doubling = 63 - nanos.leading_zeros() as usize;
    let part = ((nanos << (63 - doubling)) >> 59) as usize & (PARTS - 1);
    let start = usize::from(STARTS[doubling * PARTS + part]);
    (start + usize::from(nanos > BOUNDS[start])).min(BUCKETS - 1)
}

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

    /// Adds what was recorded to `sum`.
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

    fn index_of(nanos: u64) -> i32 {
        place(nanos) as i32 + FIRST_INDEX
    }

    #[test]
    fn whole_powers_of_two_seconds_end_their_bucket() {
        assert_eq!(index_of(1_000_000_000), -1);
        assert_eq!(index_of(1_000_000_001), 0);
        assert_eq!(index_of(500_000_000), -9);
        assert_eq!(index_of(500_000_001), -8);
        assert_eq!(index_of(ZERO_NANOS + 1), FIRST_INDEX);
        assert_eq!(index_of(u64::MAX), FIRST_INDEX + BUCKETS as i32 - 1);
    }

    #[test]
    fn short_calls_count_as_zero_and_long_ones_in_the_last_bucket() {
        let histogram = recorded(&[0, ZERO_NANOS, ZERO_NANOS + 1, u64::MAX >> 1]);
        assert_eq!((histogram.zero_count, histogram.count()), (2, 4));
        assert_eq!(histogram.buckets(), [(FIRST_INDEX, 1), (79, 1)]);
    }

    proptest! {
        /// Guarantees: the table finds the bucket that the definition of OTLP names, base^i < d <= base^(i+1).
        #[test]
        fn the_table_agrees_with_the_logarithm(nanos in 954_u64..1_024_000_000_000) {
            let exact = ((nanos as f64 / 1e9).log2() * 8.0).ceil() as i32 - 1;
            let got = index_of(nanos);
            let bound = (f64::from(exact + 1) / 8.0).exp2() * 1e9;
            // Within half a nanosecond of a bound the logarithm itself is not to be trusted.
            prop_assert!(got == exact || (got - exact).abs() == 1 && (bound - nanos as f64).abs() < 1.5,
                "{nanos}: {got}, {exact}");
        }

        /// Guarantees: readers who compute an index find the bucket that recording counted in.
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
