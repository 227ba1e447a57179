//! Latency histograms that can be merged, so that a cluster's 99th percentile is a 99th percentile: OTLP
//! exponential histograms of one fixed scale. Recording is two plain additions in a fixed array; the bucket is
//! found with a leading-zeros count and one table, no logarithm.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counter::Counter;

/// Buckets per doubling: 2^scale.
const PER_DOUBLING: usize = 8;

/// Index of the first bucket: it begins at 2^-20 s (0.95 µs).
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

/// Parts into which the table divides each doubling; 1/16 is narrower than a bucket, so at most one bound
/// falls into a part.
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

/// `BOUNDS` again: a constant, because a constant function may not read a static.
const BOUNDS_FOR_STARTS: [u64; BUCKETS] = bounds();

/// Durations up to this go to the zero bucket (OTLP `zero_threshold`): 2^-20 s.
const ZERO_NANOS: u64 = 953;

/// Returns the place of a duration above `ZERO_NANOS` in the array.
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
    /// Adds one duration.
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
        let buckets = self.buckets.iter().zip(FIRST_INDEX..);
        let filled = buckets
            .map(|(count, index)| (index, count.get()))
            .filter(|(_, count)| *count > 0)
            .collect();
        sum.merge(&LatencyHistogram {
            sum_nanos: self.sum_nanos.get(),
            zero_count: self.zero.get(),
            buckets: filled,
        });
    }
}

/// Durations of calls since the start, mergeable: an OTLP exponential histogram of scale
/// [`SCALE`](Self::SCALE) in seconds. Bucket `i` counts durations in (2^(i/8) s, 2^((i+1)/8) s].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LatencyHistogram {
    /// Sum of all durations, nanoseconds.
    pub sum_nanos: u64,
    /// Durations of at most [`ZERO_THRESHOLD_SECONDS`](Self::ZERO_THRESHOLD_SECONDS).
    pub zero_count: u64,
    /// Bucket indexes, ascending, with their counts; empty ones are left out.
    pub buckets: Vec<(i32, u64)>,
}

impl LatencyHistogram {
    /// The scale of every latency histogram: eight buckets per doubling, 9 % wide.
    pub const SCALE: i32 = 3;

    /// Durations up to this many seconds are in `zero_count`: 2^-20 s.
    pub const ZERO_THRESHOLD_SECONDS: f64 = 1.0 / 1_048_576.0;

    /// Returns the durations recorded.
    pub fn count(&self) -> u64 {
        let counts = self.buckets.iter().map(|(_, count)| *count);
        counts.fold(self.zero_count, u64::saturating_add)
    }

    /// Returns the sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }

    /// Adds another histogram; the result is the histogram of all durations of both.
    pub fn merge(&mut self, other: &Self) {
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        for &(index, count) in &other.buckets {
            match self.buckets.binary_search_by_key(&index, |bucket| bucket.0) {
                Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
                Err(at) => self.buckets.insert(at, (index, count)),
            }
        }
    }

    /// Returns the buckets as OTLP carries them: the first index and the counts from there on, gaps included.
    pub fn dense(&self) -> (i32, Vec<u64>) {
        let (Some(first), Some(last)) = (self.buckets.first(), self.buckets.last()) else {
            return (0, Vec::new());
        };
        let offset = first.0;
        let mut counts = vec![0; (last.0 - offset) as usize + 1];
        for (index, count) in &self.buckets {
            counts[(index - offset) as usize] = *count;
        }
        (offset, counts)
    }

    /// Returns the duration that a share `q` (0 to 1) of the calls did not exceed, as the middle (geometric
    /// mean) of its bucket, so at most 5 % off; `None` without calls.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut seen = self.zero_count;
        if seen >= rank {
            return Some(Duration::ZERO);
        }
        for (index, count) in &self.buckets {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                let middle = (f64::from(*index) + 0.5) / PER_DOUBLING as f64;
                return Some(Duration::try_from_secs_f64(middle.exp2()).unwrap_or(Duration::MAX));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn a_quantile_lies_within_five_percent() {
        let recorder = Recorder::default();
        for ms in 1..=1_000 {
            recorder.record(ms * 1_000_000);
        }
        let mut histogram = LatencyHistogram::default();
        recorder.read(&mut histogram);
        assert_eq!(histogram.count(), 1_000);
        for (q, seconds) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99)] {
            let got = histogram.quantile(q).unwrap().as_secs_f64();
            assert!((got / seconds - 1.0).abs() < 0.05, "{q}: {got}");
        }
        assert_eq!(LatencyHistogram::default().quantile(0.5), None);
    }

    /// Guarantees: no figure that a caller hands in makes a reader panic or run out of memory.
    #[test]
    fn absurd_figures_saturate() {
        let absurd = LatencyHistogram {
            sum_nanos: u64::MAX,
            zero_count: u64::MAX,
            buckets: vec![(i32::MAX, u64::MAX)],
        };
        let mut sum = absurd.clone();
        sum.merge(&absurd);
        assert_eq!((sum.sum_nanos, sum.count()), (u64::MAX, u64::MAX));
        let far = LatencyHistogram {
            buckets: vec![(i32::MAX, 1)],
            ..LatencyHistogram::default()
        };
        assert_eq!(far.quantile(0.5), Some(Duration::MAX));
    }

    #[test]
    fn dense_counts_fill_the_gaps() {
        let histogram = LatencyHistogram {
            sum_nanos: 0,
            zero_count: 0,
            buckets: vec![(-3, 1), (0, 2)],
        };
        assert_eq!(histogram.dense(), (-3, vec![1, 0, 0, 2]));
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

        #[test]
        fn merging_is_recording_both(left in prop::collection::vec(0_u64..u64::MAX >> 20, 0..50),
                                     right in prop::collection::vec(0_u64..u64::MAX >> 20, 0..50)) {
            let read = |durations: &[u64]| {
                let recorder = Recorder::default();
                durations.iter().for_each(|nanos| recorder.record(*nanos));
                let mut histogram = LatencyHistogram::default();
                recorder.read(&mut histogram);
                histogram
            };
            let mut merged = read(&left);
            merged.merge(&read(&right));
            prop_assert_eq!(merged, read(&[left, right].concat()));
        }
    }
}
