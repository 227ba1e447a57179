//! The calls of an instance over the last two minutes: second by second with their durations within the breaker's window,
//! before that as bars of the sparkline, which need no durations: a quarter of the entries, and none with an allocation of its own.

use std::collections::VecDeque;

use fusebox::circuit_breaker::LatencyHistogram;

use super::facts::Second;
use super::view::SPARK_BAR_SECONDS;
use crate::model::CircuitCalls;

/// The seconds of an instance in which it reported, oldest first.
#[derive(Debug, Default)]
pub(super) struct Seconds {
    /// Before the window.
    bars: VecDeque<Bar>,
    /// In the window.
    detailed: VecDeque<Second>,
}

/// Calls without their durations.
#[derive(Debug)]
struct Bar {
    second: u64,
    calls: CircuitCalls,
}

impl From<Vec<Second>> for Seconds {
    fn from(seconds: Vec<Second>) -> Self {
        Self {
            bars: VecDeque::new(),
            detailed: seconds.into(),
        }
    }
}

impl Seconds {
    /// Adds calls of the latest second.
    pub(super) fn add(&mut self, second: u64, calls: &CircuitCalls, latency: &LatencyHistogram) {
        match self.detailed.back_mut() {
            Some(last) if last.second == second => {
                last.calls.add(calls);
                last.latency.merge(latency);
            }
            _ => self.detailed.push_back(Second {
                second,
                calls: *calls,
                latency: latency.clone(),
            }),
        }
    }

    /// Drops the latest second.
    pub(super) fn forget_last(&mut self) {
        self.detailed.pop_back();
    }

    /// Drops what is older than `oldest`, and the durations of what is older than `window`.
    pub(super) fn forget(&mut self, oldest: u64, window: u64) {
        while self.detailed.front().is_some_and(|s| s.second < window) {
            let Some(Second { second, calls, .. }) = self.detailed.pop_front() else {
                break;
            };
            let bar = second / SPARK_BAR_SECONDS;
            match self.bars.back_mut() {
                Some(last) if last.second / SPARK_BAR_SECONDS == bar => last.calls.add(&calls),
                _ => self.bars.push_back(Bar { second, calls }),
            }
        }
        while self.bars.front().is_some_and(|bar| bar.second < oldest) {
            self.bars.pop_front();
        }
    }

    /// Returns all of them; bars have no durations.
    pub(super) fn to_vec(&self) -> Vec<Second> {
        let bars = self.bars.iter().map(|bar| Second {
            second: bar.second,
            calls: bar.calls,
            latency: LatencyHistogram::default(),
        });
        bars.chain(self.detailed.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_kept_in_the_window_and_calls_for_the_sparkline() {
        let mut seconds = Seconds::default();
        let calls = CircuitCalls {
            success: 1,
            ..CircuitCalls::default()
        };
        let latency = LatencyHistogram::from_buckets([(3, 1)]);
        for second in 1_000..1_130 {
            seconds.add(second, &calls, &latency);
            seconds.forget(second - 119, second - 9);
        }
        let kept = seconds.to_vec();
        let count = |seconds: &[Second]| seconds.iter().map(|s| s.calls.success).sum::<u64>();
        let (bars, window) = kept.split_at(kept.len() - 10);
        assert_eq!(window[0].second, 1_120);
        assert!(window.iter().all(|s| s.latency == latency));
        assert!(
            bars.iter()
                .all(|s| s.latency == LatencyHistogram::default())
        );
        // 110 seconds before the window, from the first whole bar on.
        assert_eq!((bars.len(), count(bars)), (55, 110));
        let in_order = kept.windows(2).all(|pair| pair[0].second < pair[1].second);
        assert!(in_order, "{kept:?}");
    }
}
