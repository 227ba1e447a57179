//! A mergeable histogram of call durations, so that quantiles of a whole cluster are exact to the bucket: an OTLP
//! exponential histogram with one fixed scale. Breakers record into `shell::recorder` and are read as this type; a
//! collector adds and subtracts the histograms that it receives.

use std::time::Duration;

use serde::Serialize;

use super::buckets::{FIRST_INDEX, PER_DOUBLING, ZERO_NANOS, index_in_range, place};
use crate::time::nanos;

/// Counts of durations by bucket; bucket `i` counts durations in (2^(i/8) s, 2^((i+1)/8) s].
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::circuit_breaker::LatencyHistogram;
///
/// let mut latency = LatencyHistogram::default();
/// latency.add(LatencyHistogram::index_of(Duration::from_millis(20)), 99);
/// latency.add(LatencyHistogram::index_of(Duration::from_secs(1)), 1);
/// let median = latency.quantile(0.5).unwrap();
/// assert!(median.abs_diff(Duration::from_millis(20)) < Duration::from_millis(1));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LatencyHistogram {
    /// Sum of all durations, nanoseconds.
    pub sum_nanos: u64,
    /// Durations of at most [`ZERO_THRESHOLD_SECONDS`](Self::ZERO_THRESHOLD_SECONDS).
    pub zero_count: u64,
    /// Indexes in the range, ascending; only buckets with counts above zero.
    buckets: Vec<(i32, u64)>,
}

impl LatencyHistogram {
    /// The scale of every latency histogram: eight buckets per doubling, each 9 % wide.
    pub const SCALE: i32 = 3;

    /// Index of the lowest bucket, about a nanosecond; shorter durations count there.
    pub const MIN_INDEX: i32 = -240;

    /// Index of the highest bucket, a day and a half; longer durations count there.
    pub const MAX_INDEX: i32 = 135;

    /// Breakers count durations up to this many seconds in `zero_count`: 2^-20 s.
    pub const ZERO_THRESHOLD_SECONDS: f64 = 1.0 / 1_048_576.0;

    /// Creates a histogram from buckets in any order; see [`add`](Self::add).
    pub fn from_buckets(buckets: impl IntoIterator<Item = (i32, u64)>) -> Self {
        let mut histogram = Self::default();
        let buckets = buckets.into_iter();
        let (_, most) = buckets.size_hint();
        // The reserved capacity is limited to the range, whatever the hint from outside says.
        let range = (Self::MAX_INDEX - Self::MIN_INDEX + 1) as usize;
        histogram.buckets.reserve(most.unwrap_or(0).min(range));
        for (index, count) in buckets {
            histogram.add(index, count);
        }
        histogram
    }

    /// Returns the index of the bucket that counts `duration`.
    pub fn index_of(duration: Duration) -> i32 {
        index_in_range(nanos(duration))
            .unwrap_or_else(|| Self::index_of_seconds(duration.as_secs_f64()))
    }

    /// As [`index_of`](Self::index_of), for seconds; a number that is not a positive duration (NaN, zero, negative)
    /// counts in the lowest bucket.
    pub fn index_of_seconds(seconds: f64) -> i32 {
        if seconds.is_nan() || seconds <= 0.0 {
            return Self::MIN_INDEX;
        }
        let index = (seconds.log2() * PER_DOUBLING as f64).ceil() - 1.0;
        index.clamp(f64::from(Self::MIN_INDEX), f64::from(Self::MAX_INDEX)) as i32
    }

    /// Returns the longest duration that bucket `index` counts.
    pub fn upper_bound(index: i32) -> Duration {
        exp2_seconds(f64::from(index) + 1.0)
    }

    /// Adds `count` durations to bucket `index`, or to the nearest bucket of the range.
    pub fn add(&mut self, index: i32, count: u64) {
        if count == 0 {
            return;
        }
        let index = index.clamp(Self::MIN_INDEX, Self::MAX_INDEX);
        // A caller that adds a whole histogram adds its buckets in order.
        if self.buckets.last().is_none_or(|last| last.0 < index) {
            return self.buckets.push((index, count));
        }
        match self.buckets.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Adds a duration in the same way as a breaker.
    pub(crate) fn record(&mut self, nanos: u64) {
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
        if nanos > ZERO_NANOS {
            self.add(place(nanos) as i32 + FIRST_INDEX, 1);
        } else {
            self.zero_count = self.zero_count.saturating_add(1);
        }
    }

    /// Adds the counts of another histogram.
    pub fn merge(&mut self, other: &Self) {
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        for (index, count) in &other.buckets {
            self.add(*index, *count);
        }
    }

    /// Returns the difference to `earlier`; counts that shrank become zero.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut old = earlier.buckets.iter().peekable();
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for (index, count) in &self.buckets {
            while old.next_if(|bucket| bucket.0 < *index).is_some() {}
            let before = old.next_if(|bucket| bucket.0 == *index);
            let added = count.saturating_sub(before.map_or(0, |bucket| bucket.1));
            if added > 0 {
                buckets.push((*index, added));
            }
        }
        Self {
            sum_nanos: self.sum_nanos.saturating_sub(earlier.sum_nanos),
            zero_count: self.zero_count.saturating_sub(earlier.zero_count),
            buckets,
        }
    }

    /// Returns the buckets that are not empty, by ascending index.
    pub fn buckets(&self) -> &[(i32, u64)] {
        &self.buckets
    }

    /// As [`buckets`](Self::buckets), without a copy.
    pub fn into_buckets(self) -> Vec<(i32, u64)> {
        self.buckets
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        let counts = self.buckets.iter().map(|(_, count)| *count);
        counts.fold(self.zero_count, u64::saturating_add)
    }

    /// Returns the sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / 1e9
    }

    /// Returns the buckets in OTLP's form: the first index, and the counts from there on with zeros for empty buckets.
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

    /// Returns the duration that a share `q` (0 to 1) of the calls did not exceed. The value is the geometric mean of
    /// its bucket's bounds and so at most 5 % off. Returns `None` if there are no calls.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.count() as f64).ceil() as u64).max(1);
        let mut seen = self.zero_count;
        if seen >= rank {
            return Some(Duration::ZERO);
        }
        let bucket = self.buckets.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        })?;
        Some(exp2_seconds(f64::from(bucket.0) + 0.5))
    }
}

/// Returns 2^(index/8) seconds, capped at the longest `Duration`.
fn exp2_seconds(index: f64) -> Duration {
    let seconds = (index / PER_DOUBLING as f64).exp2();
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_nanos(durations: impl IntoIterator<Item = u64>) -> LatencyHistogram {
        let index = |nanos| LatencyHistogram::index_of(Duration::from_nanos(nanos));
        LatencyHistogram::from_buckets(durations.into_iter().map(|nanos| (index(nanos), 1)))
    }

    #[test]
    fn a_quantile_lies_within_five_percent() {
        let histogram = of_nanos((1..=1_000).map(|ms| ms * 1_000_000));
        assert_eq!(histogram.count(), 1_000);
        for (q, seconds) in [(0.5, 0.5), (0.9, 0.9), (0.99, 0.99)] {
            let got = histogram.quantile(q).unwrap().as_secs_f64();
            assert!((got / seconds - 1.0).abs() < 0.05, "{q}: {got}");
        }
        assert_eq!(LatencyHistogram::default().quantile(0.5), None);
    }

    #[test]
    fn the_range_is_a_nanosecond_to_a_day_and_a_half() {
        let index = LatencyHistogram::index_of;
        assert_eq!(index(Duration::ZERO), LatencyHistogram::MIN_INDEX);
        assert_eq!(index(Duration::from_nanos(1)), LatencyHistogram::MIN_INDEX);
        assert_eq!(index(Duration::from_nanos(953)), -161);
        assert_eq!(index(Duration::from_secs(1)), -1);
        assert_eq!(index(Duration::from_secs(1024)), 79);
        assert_eq!(index(Duration::from_secs(1025)), 80);
        assert_eq!(index(Duration::MAX), LatencyHistogram::MAX_INDEX);
        for nonsense in [f64::NAN, 0.0, -1.0, f64::NEG_INFINITY] {
            let index = LatencyHistogram::index_of_seconds(nonsense);
            assert_eq!(index, LatencyHistogram::MIN_INDEX);
        }
    }

    /// Guarantees: no number from a caller makes a reader panic or run out of memory.
    #[test]
    fn absurd_numbers_saturate() {
        let far = [(i32::MAX, u64::MAX), (i32::MIN, 1)];
        let absurd = LatencyHistogram {
            sum_nanos: u64::MAX,
            zero_count: u64::MAX,
            ..LatencyHistogram::from_buckets(far)
        };
        let mut sum = absurd.clone();
        sum.merge(&absurd);
        assert_eq!((sum.sum_nanos, sum.count()), (u64::MAX, u64::MAX));
        assert_eq!(sum.dense().1.len(), 376);
        let longest = LatencyHistogram::from_buckets(far).quantile(1.0).unwrap();
        assert!(longest < LatencyHistogram::upper_bound(LatencyHistogram::MAX_INDEX));
        assert_eq!(LatencyHistogram::upper_bound(i32::MAX), Duration::MAX);
    }

    #[test]
    fn dense_counts_fill_the_gaps() {
        let histogram = LatencyHistogram::from_buckets([(0, 2), (-3, 1)]);
        assert_eq!(histogram.dense(), (-3, vec![1, 0, 0, 2]));
    }

    proptest! {
        #[test]
        fn a_duration_lies_below_the_bound_of_its_bucket(nanos in 1_000_u64..100_000_000_000_000) {
            let duration = Duration::from_nanos(nanos);
            let index = LatencyHistogram::index_of(duration);
            // Bounds are not whole numbers of nanoseconds.
            let rounding = Duration::from_nanos(2);
            prop_assert!(duration <= LatencyHistogram::upper_bound(index) + rounding);
            prop_assert!(duration + rounding > LatencyHistogram::upper_bound(index - 1));
        }

        #[test]
        fn what_was_added_comes_back(first in prop::collection::vec((-300..300_i32, 0..9_u64), 0..30),
                                     then in prop::collection::vec((-300..300_i32, 0..9_u64), 0..30)) {
            let earlier = LatencyHistogram::from_buckets(first);
            let added = LatencyHistogram::from_buckets(then);
            let mut later = earlier.clone();
            later.merge(&added);
            prop_assert_eq!(later.since(&earlier), added);
        }
    }
}
