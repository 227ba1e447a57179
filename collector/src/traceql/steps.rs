//! The times of a metric's samples: multiples of a step, or once at the end of a range.

use std::time::Duration;

use crate::model::{MINUTE, NANOSECOND, SECOND, TimeRange, UnixNanos, nanos};

/// Steps in one answer: as many points per series as in Prometheus.
const STEPS_MAX: u64 = 11_000;

/// Evenly spaced times of samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    first: UnixNanos,
    step: Duration,
    count: u64,
}

impl Steps {
    /// Returns the times of a range: multiples of the step, from the last one before it to the first one
    /// after it.
    ///
    /// # Errors
    ///
    /// A message for people if there are none or too many.
    pub fn aligned(range: TimeRange, step: Duration) -> Result<Self, String> {
        if step.is_zero() {
            return Err("a step is longer than 0".to_owned());
        }
        let first = range.start.floor(step);
        let last = (range.end + (step - NANOSECOND)).floor(step);
        let count = nanos(last - first) / nanos(step) + 1;
        if count > STEPS_MAX {
            return Err(format!(
                "it makes {count} steps of this range; {STEPS_MAX} is the most"
            ));
        }
        Ok(Self { first, step, count })
    }

    /// Returns the end of a range as the only time.
    pub fn once(range: TimeRange) -> Self {
        Self {
            first: range.end,
            step: range.end - range.start,
            count: 1,
        }
    }

    /// Returns a round step that splits a range into some 240.
    pub fn of(range: TimeRange) -> Duration {
        const ROUND_SECONDS: [u64; 6] = [3_600, 300, 60, 15, 5, 1];
        let length = range.end - range.start;
        let wanted = length / 240;
        let mut round = ROUND_SECONDS.map(Duration::from_secs).into_iter();
        let round = match length < MINUTE {
            true => Duration::from_millis(50),
            false => round.find(|round| wanted > *round).unwrap_or(SECOND),
        };
        let times = (nanos(wanted) / nanos(round)).max(1);
        Duration::from_nanos(times * nanos(round))
    }

    /// Returns the range of the starts of counted spans.
    pub fn range(&self) -> TimeRange {
        let after = NANOSECOND;
        TimeRange {
            start: self.first - self.step + after,
            end: self.time(self.count - 1) + after,
        }
    }

    pub(super) fn length(&self) -> Duration {
        self.step
    }

    /// Returns the time of every sample, with its number.
    pub(super) fn times(&self) -> impl Iterator<Item = (u64, UnixNanos)> {
        (0..self.count).map(|number| (number, self.time(number)))
    }

    fn time(&self, number: u64) -> UnixNanos {
        self.first + Duration::from_nanos(nanos(self.step).saturating_mul(number))
    }

    /// Returns the number of the step for a time.
    pub(super) fn number(&self, time: UnixNanos) -> Option<u64> {
        let range = self.range();
        let number = nanos(time - range.start) / nanos(self.step).max(1);
        range.contains(time).then_some(number)
    }
}
