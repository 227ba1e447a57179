//! Durations in the form of the stream: a mean and nine percentiles in whole milliseconds.

use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::circuit_breaker::LatencyHistogram;

/// The percentiles of the stream by name.
pub(super) const PERCENTILES: [(&str, f64); 9] = [
    ("0", 0.0),
    ("25", 0.25),
    ("50", 0.5),
    ("75", 0.75),
    ("90", 0.9),
    ("95", 0.95),
    ("99", 0.99),
    ("99.5", 0.995),
    ("100", 1.0),
];

/// Mean and percentiles of durations in milliseconds; all 0 if there are no durations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatencyMs {
    mean: u64,
    percentiles: [u64; 9],
}

impl LatencyMs {
    /// Returns the figures of a histogram.
    pub fn of(latency: &LatencyHistogram) -> Self {
        let at = |share| latency.quantile(share).map_or(0, whole_ms);
        Self {
            mean: mean(latency).map_or(0, whole_ms),
            percentiles: PERCENTILES.map(|(_, share)| at(share)),
        }
    }

    /// Returns the mean.
    pub fn mean(&self) -> u64 {
        self.mean
    }

    /// Returns each figure times `factor`, because a reader divides them by the number of hosts.
    pub(super) fn times(self, factor: u64) -> Self {
        Self {
            mean: self.mean.saturating_mul(factor),
            percentiles: self.percentiles.map(|ms| ms.saturating_mul(factor)),
        }
    }
}

/// Serializes one field per percentile.
impl Serialize for LatencyMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(PERCENTILES.len()))?;
        for ((name, _), ms) in PERCENTILES.iter().zip(self.percentiles) {
            map.serialize_entry(name, &ms)?;
        }
        map.end()
    }
}

/// Returns the mean: exact if the sum of the durations is known, else from the middles of the buckets.
fn mean(latency: &LatencyHistogram) -> Option<Duration> {
    let count = latency.count();
    if count == 0 {
        return None;
    }
    if latency.sum_nanos > 0 {
        return Some(Duration::from_nanos(latency.sum_nanos / count));
    }
    let middle = |index| LatencyHistogram::from_buckets([(index, 1)]).quantile(0.5);
    let seconds = |&(index, count): &(i32, u64)| {
        middle(index).map_or(0.0, |middle| middle.as_secs_f64() * count as f64)
    };
    let sum: f64 = latency.buckets().iter().map(seconds).sum();
    Duration::try_from_secs_f64(sum / count as f64).ok()
}

fn whole_ms(duration: Duration) -> u64 {
    let rounded = duration.saturating_add(Duration::from_micros(500));
    u64::try_from(rounded.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_mean_are_those_of_the_durations() {
        let index = |ms| LatencyHistogram::index_of(Duration::from_millis(ms));
        let mut latency = LatencyHistogram::from_buckets((1..=1_000).map(|ms| (index(ms), 1)));
        for sum_nanos in [0, 500_500 * 1_000_000] {
            latency.sum_nanos = sum_nanos;
            let figures = LatencyMs::of(&latency);
            let near = |got: u64, wanted: u64| got.abs_diff(wanted) <= wanted / 20;
            assert!(near(figures.mean, 500), "{figures:?}");
            let wanted = [1, 250, 500, 750, 900, 950, 990, 995, 1_000];
            for (got, wanted) in figures.percentiles.into_iter().zip(wanted) {
                assert!(near(got, wanted), "{got} is not near {wanted}");
            }
        }
    }

    #[test]
    fn without_durations_all_is_zero() {
        let figures = LatencyMs::of(&LatencyHistogram::default());
        assert_eq!(figures, LatencyMs::default());
    }
}
