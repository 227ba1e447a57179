//! Windows that have new records and must be written, or written again after late records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FIVE_MINUTES, TEN_SECONDS};
use crate::model::{MINUTE, NANOSECOND, TimeRange, UnixNanos};
use crate::store::series::SeriesKind;

/// Delay of a window after its end: samples may be filed two seconds back, and a minute of operations is
/// written in the second after it. Later records still make the window be written again.
const GRACE: Duration = Duration::from_secs(5);
/// Windows read together while catching up: an extent of the journal holds a minute, and ten seconds of ten
/// thousand instances take some 30 MB.
const TOGETHER: u64 = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Window {
    /// `circuit` and `circuit_10s`.
    CircuitTenSeconds,
    /// `circuit_5m`.
    CircuitFiveMinutes,
    /// `red` and `red_service`.
    RedMinute,
    /// `red_5m` and `red_service_5m`.
    RedFiveMinutes,
    /// `dep`.
    DependencyMinute,
}

impl Window {
    pub(super) const ALL: [Self; 5] = [
        Self::CircuitTenSeconds,
        Self::CircuitFiveMinutes,
        Self::RedMinute,
        Self::RedFiveMinutes,
        Self::DependencyMinute,
    ];

    pub(super) fn records(self) -> SeriesKind {
        match self {
            Self::CircuitTenSeconds | Self::CircuitFiveMinutes => SeriesKind::Sample,
            Self::RedMinute | Self::RedFiveMinutes => SeriesKind::Red,
            Self::DependencyMinute => SeriesKind::Dependency,
        }
    }

    pub(super) fn length(self) -> Duration {
        match self {
            Self::CircuitTenSeconds => TEN_SECONDS,
            Self::CircuitFiveMinutes | Self::RedFiveMinutes => FIVE_MINUTES,
            Self::RedMinute | Self::DependencyMinute => MINUTE,
        }
    }
}

/// Windows to write, by their number since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Pending(BTreeMap<Window, BTreeSet<u64>>);

impl Pending {
    pub(super) fn note(&mut self, kind: SeriesKind, range: TimeRange) {
        for window in Window::ALL.into_iter().filter(|w| w.records() == kind) {
            let length = window.length();
            let first = range.start.window(length);
            let last = (range.end - NANOSECOND).window(length);
            self.0.entry(window).or_default().extend(first..=last);
        }
    }

    /// Returns the number of pending windows of a kind of records.
    pub(super) fn waiting(&self, kind: SeriesKind) -> usize {
        let windows = self.0.iter().filter(|(window, _)| window.records() == kind);
        windows.map(|(_, numbers)| numbers.len()).sum()
    }

    /// Takes the oldest complete windows, as start times within a short range.
    pub(super) fn take_complete(&mut self, window: Window, now: UnixNanos) -> Vec<UnixNanos> {
        let length = window.length();
        let Some(numbers) = self.0.get_mut(&window) else {
            return Vec::new();
        };
        let Some(first) = numbers.first().copied() else {
            return Vec::new();
        };
        let start = |number| UnixNanos::of_window(number, length);
        let is_complete = |number: &&u64| start(**number + 1) + GRACE <= now;
        let taken = numbers.range(first..first + TOGETHER);
        let taken: Vec<u64> = taken.take_while(is_complete).copied().collect();
        numbers.retain(|number| taken.binary_search(number).is_err());
        taken.into_iter().map(start).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::SECOND;

    #[test]
    fn a_window_is_taken_once_complete_and_again_when_something_came_late() {
        let mut pending = Pending::default();
        let range = TimeRange {
            start: UnixNanos::of_window(18, SECOND),
            end: UnixNanos::of_window(21, SECOND),
        };
        pending.note(SeriesKind::Sample, range);
        let take = |pending: &mut Pending, seconds: u64| {
            pending.take_complete(
                Window::CircuitTenSeconds,
                UnixNanos::of_window(seconds, SECOND),
            )
        };
        assert!(take(&mut pending, 24).is_empty());
        assert_eq!(take(&mut pending, 25), [UnixNanos::of_window(10, SECOND)]);
        assert_eq!(take(&mut pending, 100), [UnixNanos::of_window(20, SECOND)]);
        assert!(take(&mut pending, 100).is_empty());
        pending.note(SeriesKind::Sample, range);
        assert_eq!(take(&mut pending, 100).len(), 2);
        assert_eq!(pending.waiting(SeriesKind::Sample), 1);
        assert!(
            pending
                .take_complete(Window::RedMinute, UnixNanos::MAX)
                .is_empty()
        );
    }
}
