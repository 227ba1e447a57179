//! Reconstructs durations from percentiles: of every hundred calls, each percentile gets as many as lie
//! between it and the previous one, so that the histogram has the stream's percentiles.

use fusebox::circuit_breaker::LatencyHistogram;

use crate::codec::hystrix::PERCENTILES;

/// Fractions of calls left over at each percentile so far.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    left_over: [f64; PERCENTILES.len()],
}

impl Latencies {
    /// Returns durations for the given number of further calls.
    pub(super) fn of(
        &mut self,
        calls: u64,
        percentiles_ms: &[f64; PERCENTILES.len()],
    ) -> LatencyHistogram {
        let mut counts = [0; PERCENTILES.len()];
        let (mut rest, mut below) = (calls, 0.0);
        for (index, (_, share)) in PERCENTILES.iter().enumerate() {
            let due = self.left_over[index] + calls as f64 * (share - below);
            counts[index] = (due.max(0.0) as u64).min(rest);
            self.left_over[index] = due - counts[index] as f64;
            rest -= counts[index];
            below = *share;
        }
        // At most one per percentile is left.
        for _ in 0..rest.min(PERCENTILES.len() as u64) {
            let most = self.most_due();
            counts[most] += 1;
            self.left_over[most] -= 1.0;
        }
        let index = |ms: &f64| LatencyHistogram::index_of_seconds(ms / 1e3);
        LatencyHistogram::from_buckets(percentiles_ms.iter().map(index).zip(counts))
    }

    fn most_due(&self) -> usize {
        let due = self.left_over.iter().enumerate();
        let most = due.max_by(|left, right| left.1.total_cmp(right.1));
        most.map_or(0, |(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: [f64; 8] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0];

    /// Guarantees: however few calls arrive at a time, none is lost, and the percentiles are those of the
    /// stream.
    #[test]
    fn single_calls_add_up_to_the_percentiles() {
        let (mut latencies, mut all) = (Latencies::default(), LatencyHistogram::default());
        for calls in (0..150).map(|n| n % 3).chain([0, 2, 48, 200]) {
            let added = latencies.of(calls, &MS);
            assert_eq!(added.count(), calls);
            all.merge(&added);
        }
        assert_eq!(all.count(), 400);
        for ((name, share), ms) in PERCENTILES.iter().zip(MS) {
            let got = all.quantile(*share).unwrap().as_secs_f64() * 1e3;
            assert!((got / ms - 1.0).abs() < 0.05, "{name}: {got}");
        }
    }
}
