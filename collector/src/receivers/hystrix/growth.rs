//! Converts rolling counts to increases. A stream repeatedly reports the calls of the last ten seconds; this
//! computes how many came since the last report.
//!
//! The total until now is the calls in the window plus the total until its beginning, which was computed a
//! window ago. At the first report, the window's calls count as evenly spread over it, and as calls from
//! before the report. A report a window or more before the last one comes from a clock that was set back, and
//! counts as a first report.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{CircuitCalls, UnixNanos};

/// Reports remembered per window: all of a stream that sends twice a second, with a window of ten seconds.
const LOOKS_OF_WINDOW: u32 = 40;
/// Upper bound of remembered reports, whatever times and windows a stream claims.
const LOOKS_MAX: usize = 128;

type Counts = [f64; 9];

/// The cumulative counts of a command.
#[derive(Debug)]
pub(super) struct Growth {
    /// Times and total calls until then, oldest first.
    looks: VecDeque<(UnixNanos, Counts)>,
    returned: [u64; 9],
}

impl Growth {
    /// Starts with the counts of the first report.
    pub(super) fn new(at: UnixNanos, window: Duration, rolling: &CircuitCalls) -> Self {
        let counts = rolling.in_order().map(|count| count as f64);
        Self {
            looks: VecDeque::from([(at - window, Counts::default()), (at, counts)]),
            returned: rolling.in_order(),
        }
    }

    pub(super) fn add(
        &mut self,
        at: UnixNanos,
        window: Duration,
        rolling: &CircuitCalls,
    ) -> CircuitCalls {
        let Some((last_at, last)) = self.looks.back().copied() else {
            return CircuitCalls::default();
        };
        if at <= last_at {
            // A clock that was set back: the old times may not come again for hours.
            if last_at - at >= window {
                *self = Self::new(at, window, rolling);
            }
            return CircuitCalls::default();
        }
        // After a gap longer than the window, the unseen calls are not guessed.
        let before = if at - last_at >= window {
            last
        } else {
            self.until(at - window)
        };
        let mut counts = Counts::default();
        for (index, rolling) in rolling.in_order().into_iter().enumerate() {
            counts[index] = (before[index] + rolling as f64).max(last[index]);
        }
        if self.is_crowded(window) {
            self.looks.pop_back();
        }
        self.looks.push_back((at, counts));
        self.forget(at - window);
        self.take_whole(&counts)
    }

    /// Whether the last report is so close to the previous one that the next may replace it.
    fn is_crowded(&self, window: Duration) -> bool {
        let mut latest = self.looks.iter().rev().map(|look| look.0);
        let (last, before) = (latest.next(), latest.next());
        let gap = last.zip(before).map(|(last, before)| last - before);
        gap.is_some_and(|gap| gap < window / LOOKS_OF_WINDOW)
    }

    /// Returns the total at a time, interpolated between two reports.
    fn until(&self, at: UnixNanos) -> Counts {
        let after = self.looks.partition_point(|look| look.0 <= at);
        let (Some(before), Some(after)) = (
            after.checked_sub(1).and_then(|i| self.looks.get(i)),
            self.looks.get(after),
        ) else {
            return self
                .looks
                .front()
                .map_or_else(Counts::default, |look| look.1);
        };
        let share = (at - before.0).as_secs_f64() / (after.0 - before.0).as_secs_f64();
        std::array::from_fn(|index| before.1[index] + share * (after.1[index] - before.1[index]))
    }

    /// Drops reports, except the last one before the next window.
    fn forget(&mut self, before: UnixNanos) {
        while self.looks.get(1).is_some_and(|look| look.0 <= before) || self.looks.len() > LOOKS_MAX
        {
            self.looks.pop_front();
        }
    }

    /// Returns the whole calls that were not returned before.
    fn take_whole(&mut self, counts: &Counts) -> CircuitCalls {
        // A sum of fractions may be slightly below its integer value.
        let whole = counts.map(|count| (count + 1e-6) as u64);
        let added = std::array::from_fn(|index| whole[index].saturating_sub(self.returned[index]));
        self.returned = std::array::from_fn(|index| whole[index].max(self.returned[index]));
        CircuitCalls::from_order(added)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);
    /// The interval of a stream.
    const LOOK_MS: u64 = 500;

    fn at(ms: u64) -> UnixNanos {
        UnixNanos::new((1_000_000 + ms) * 1_000_000)
    }

    /// Hystrix's report at a moment: the sum of the last ten whole seconds.
    fn rolling(seconds: &[u64], ms: u64) -> CircuitCalls {
        let end = (ms / 1_000) as usize;
        let success = seconds[end.saturating_sub(10)..end.min(seconds.len())]
            .iter()
            .sum();
        CircuitCalls {
            success,
            ..CircuitCalls::default()
        }
    }

    /// The calls counted between two moments, with delayed reports twice a second.
    fn counted(seconds: &[u64], from_ms: u64, to_ms: u64, delay: impl Fn(u64) -> u64) -> Vec<u64> {
        let look = |ms| ms + delay(ms);
        let first = look(from_ms);
        let mut growth = Growth::new(at(first), WINDOW, &rolling(seconds, first));
        let looks = (1..=(to_ms - from_ms) / LOOK_MS).map(|n| look(from_ms + n * LOOK_MS));
        looks
            .map(|ms| growth.add(at(ms), WINDOW, &rolling(seconds, ms)).success)
            .collect()
    }

    #[test]
    fn calls_that_begin_after_the_first_look_are_counted_as_they_come() {
        let mut seconds = vec![0; 15];
        seconds.extend([5, 0, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 3]);
        seconds.extend([0; 20]);
        let added = counted(&seconds, 12_200, 48_200, |_| 0);
        assert_eq!(added.iter().sum::<u64>(), 24);
        // Those of the second from 15 to 16 are in the first look after 16.
        assert_eq!(added[7], 5);
        assert_eq!(added.iter().filter(|count| **count > 0).count(), 12);
    }

    #[test]
    fn steady_calls_are_steady_from_the_first_look_on() {
        let added = counted(&[20; 60], 20_300, 50_300, |_| 0);
        for pair in added.chunks(2) {
            assert_eq!(pair.iter().sum::<u64>(), 20);
        }
    }

    #[test]
    fn few_looks_are_remembered_whatever_a_stream_claims() {
        let hour = Duration::from_secs(3_600);
        let mut growth = Growth::new(at(0), hour, &rolling(&[], 0));
        for ms in 1..20_000 {
            growth.add(at(ms * 100), hour, &rolling(&[], 0));
        }
        assert!(
            growth.looks.len() <= LOOKS_OF_WINDOW as usize + 3,
            "{}",
            growth.looks.len()
        );
    }

    #[test]
    fn a_stream_that_was_away_goes_on() {
        let seconds = [20; 60];
        let mut growth = Growth::new(at(15_200), WINDOW, &rolling(&seconds, 15_200));
        let mut add = |ms| growth.add(at(ms), WINDOW, &rolling(&seconds, ms)).success;
        assert_eq!(add(21_200), 120, "six seconds, all within the window");
        assert_eq!(add(51_200), 200, "of thirty seconds the last ten are known");
        assert_eq!(add(51_200), 0, "the same again");
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let seconds = [20; 60];
        let mut growth = Growth::new(at(3_600_000), WINDOW, &rolling(&seconds, 15_200));
        let mut add = |clock, ms| {
            growth
                .add(at(clock), WINDOW, &rolling(&seconds, ms))
                .success
        };
        assert_eq!(add(3_599_500, 15_700), 0, "overtaken");
        assert_eq!(add(3_602_000, 17_200), 40);
        assert_eq!(add(18_200, 18_200), 0, "an hour back");
        assert_eq!(add(20_200, 20_200), 40);
    }

    proptest! {
        /// Guarantees: over any time, the counted calls differ from the true ones by less than the calls of
        /// one window, however late reports are; without calls at the start and with punctual reports, not at
        /// all.
        #[test]
        fn counts_do_not_drift(seconds in prop::collection::vec(0..50_u64, 80..200), late in 0..300_u64, silent: bool) {
            let mut seconds = seconds;
            if silent {
                seconds[..22].fill(0);
            }
            let late = if silent { 0 } else { late };
            let delay = |ms: u64| if late == 0 { 0 } else { (ms * 7_919) % late };
            let end = (seconds.len() as u64 - 1) * 1_000;
            let added: u64 = counted(&seconds, 20_250, end + 250, delay).iter().sum();
            let true_calls: u64 = seconds[20..seconds.len() - 1].iter().sum();
            let most_of_a_window = seconds.windows(10).map(|window| window.iter().sum::<u64>()).max().unwrap_or(0);
            if silent {
                prop_assert_eq!(added, true_calls);
            } else {
                prop_assert!(added.abs_diff(true_calls) <= most_of_a_window + 50, "{} is not near {}", added, true_calls);
            }
        }
    }
}
