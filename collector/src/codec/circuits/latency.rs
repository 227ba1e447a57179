//! Durations of calls as an exponential histogram of one fixed scale, so that any two can be merged and
//! subtracted: what the codec maps every sender's buckets to and what the journal keeps.

/// Eight buckets to each doubling: a bucket's middle is at most 4.5 % away from any duration in it.
pub const SCALE: i32 = 3;
/// Index of the lowest bucket, about a nanosecond; shorter durations count there.
pub const MIN_INDEX: i32 = -240;
/// Index of the highest bucket, a day and a half; longer durations count there.
pub const MAX_INDEX: i32 = 135;

const BUCKETS_PER_DOUBLING: f64 = 8.0;
const NANOS_PER_SECOND: f64 = 1e9;

/// Counts of durations by bucket; bucket `i` holds `2^(i/8) < seconds <= 2^((i+1)/8)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    buckets: Vec<(i32, u64)>,
}

impl Latency {
    /// Returns the histogram with those buckets, in any order; indices are clamped to the range.
    pub fn from_buckets(buckets: impl IntoIterator<Item = (i32, u64)>) -> Self {
        let mut latency = Self::default();
        for (index, count) in buckets {
            latency.add(index, count);
        }
        latency
    }

    /// Returns the buckets that are not empty, sorted by index.
    pub fn buckets(&self) -> &[(i32, u64)] {
        &self.buckets
    }

    /// Takes the buckets out.
    pub fn into_buckets(self) -> Vec<(i32, u64)> {
        self.buckets
    }

    /// Adds to one bucket.
    pub fn add(&mut self, index: i32, count: u64) {
        if count == 0 {
            return;
        }
        let index = index.clamp(MIN_INDEX, MAX_INDEX);
        match self.buckets.binary_search_by_key(&index, |bucket| bucket.0) {
            Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(count),
            Err(at) => self.buckets.insert(at, (index, count)),
        }
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, buckets: &[(i32, u64)]) {
        for (index, count) in buckets {
            self.add(*index, *count);
        }
    }

    /// Returns what was added since `earlier`; a bucket that shrank counts nothing.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut rest = earlier.buckets.iter().peekable();
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for (index, count) in &self.buckets {
            while rest.next_if(|old| old.0 < *index).is_some() {}
            let old = rest.next_if(|old| old.0 == *index).map_or(0, |old| old.1);
            if *count > old {
                buckets.push((*index, count - old));
            }
        }
        Self { buckets }
    }

    /// Returns how many durations it holds.
    pub fn count(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, bucket| sum.saturating_add(bucket.1))
    }

    /// Returns the duration below which that share (0 to 1) lies, nanoseconds; `None` when empty.
    pub fn quantile_nanos(&self, share: f64) -> Option<u64> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below = 0_u64;
        let bucket = self.buckets.iter().find(|bucket| {
            below = below.saturating_add(bucket.1);
            below >= rank
        })?;
        Some((middle_seconds(bucket.0, SCALE) * NANOS_PER_SECOND).round() as u64)
    }
}

/// Returns the bucket of a duration in seconds; nonsense (NaN, not above zero) is the lowest.
pub fn index_of(seconds: f64) -> i32 {
    if seconds.is_nan() || seconds <= 0.0 {
        return MIN_INDEX;
    }
    let index = (seconds.log2() * BUCKETS_PER_DOUBLING).ceil() - 1.0;
    index.clamp(f64::from(MIN_INDEX), f64::from(MAX_INDEX)) as i32
}

/// Returns the geometric middle of a bucket of an exponential histogram of that scale.
pub(super) fn middle_seconds(index: i32, scale: i32) -> f64 {
    ((f64::from(index) + 0.5) * (-f64::from(scale)).exp2()).exp2()
}

/// Maps one bucket of a sender's exponential histogram (its unit is `unit_seconds` long) to ours.
///
/// Finer buckets in seconds fall into ours exactly; coarser ones and other units go by their middle.
pub(super) fn rescale(index: i64, scale: i32, unit_seconds: f64) -> i32 {
    if unit_seconds == 1.0 && scale >= SCALE {
        let index = index >> (scale - SCALE);
        return index.clamp(i64::from(MIN_INDEX), i64::from(MAX_INDEX)) as i32;
    }
    let index = index.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
    index_of(middle_seconds(index, scale) * unit_seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_within_a_bucket_of_the_truth() {
        let latency =
            Latency::from_buckets((1..=1000).map(|ms| (index_of(f64::from(ms) / 1e3), 1)));
        for (share, truth) in [(0.5, 500e6), (0.9, 900e6), (0.99, 990e6)] {
            let found = latency.quantile_nanos(share).unwrap() as f64;
            assert!((found / truth - 1.0).abs() < 0.046, "{share}: {found}");
        }
        assert_eq!(Latency::default().quantile_nanos(0.5), None);
    }

    #[test]
    fn finer_buckets_in_seconds_fall_into_ours_exactly() {
        for fine in -2000..2000_i64 {
            let by_middle = index_of(middle_seconds(fine as i32, 6));
            assert_eq!(rescale(fine, 6, 1.0), by_middle, "{fine}");
        }
    }

    proptest! {
        #[test]
        fn merged_percentiles_equal_those_of_the_union(
            parts in prop::collection::vec(prop::collection::vec(0.0001_f64..100.0, 0..50), 1..6),
        ) {
            let mut merged = Latency::default();
            for part in &parts {
                let own = Latency::from_buckets(part.iter().map(|s| (index_of(*s), 1)));
                merged.merge(own.buckets());
            }
            let union = Latency::from_buckets(parts.concat().iter().map(|s| (index_of(*s), 1)));
            for share in [0.5, 0.9, 0.99, 0.995] {
                prop_assert_eq!(merged.quantile_nanos(share), union.quantile_nanos(share));
            }
        }

        #[test]
        fn what_was_added_comes_back(first in prop::collection::vec((-300..300_i32, 0..9_u64), 0..30),
                                     then in prop::collection::vec((-300..300_i32, 0..9_u64), 0..30)) {
            let earlier = Latency::from_buckets(first);
            let added = Latency::from_buckets(then);
            let mut later = earlier.clone();
            later.merge(added.buckets());
            prop_assert_eq!(later.since(&earlier), added);
        }
    }
}
