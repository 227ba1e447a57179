//! The ranges of time that a page offers. The longest is the retention.

use super::text::{DAY, HOUR, MINUTE};

/// Longer ranges that every page offers, up to the retention.
const LONGER: [u64; 4] = [7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY];

/// Allowed lengths of bars in a chart.
const BARS: [u64; 13] = [
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    4 * DAY,
    7 * DAY,
];
/// Most bars per chart; thinner ones cannot be distinguished on a small screen.
const BARS_MAX: u64 = 180;

/// Allowed distances of labelled lines in a chart.
const LINES: [u64; 12] = [
    MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    5 * DAY,
    15 * DAY,
    60 * DAY,
];
/// Most labelled lines per chart; more would overlap.
const LINES_MAX: u64 = 8;

/// A range of time that ends now or at the shown time, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range(u64);

impl Range {
    pub(crate) const fn of(length: u64) -> Self {
        Self(length)
    }

    /// Returns its length in nanoseconds.
    pub(crate) fn length(self) -> u64 {
        self.0
    }

    /// Returns its value in a URL: `15m`, `24h`, `7d`.
    pub(crate) fn value(self) -> String {
        let (count, unit) = self.parts();
        format!("{count}{}", &unit[..1])
    }

    /// Returns it in words: `15 minutes`, `1 hour`, `7 days`.
    pub(crate) fn words(self) -> String {
        match self.parts() {
            (count, "day") => tn!(count, "{n} day", "{n} days"),
            (count, "hour") => tn!(count, "{n} hour", "{n} hours"),
            (count, _) => tn!(count, "{n} minute", "{n} minutes"),
        }
    }

    fn parts(self) -> (u64, &'static str) {
        match self.0 {
            length if length.is_multiple_of(DAY) && length > DAY => (length / DAY, "day"),
            length if length.is_multiple_of(HOUR) && length > 0 => (length / HOUR, "hour"),
            length => (length.div_ceil(MINUTE), "minute"),
        }
    }

    /// Returns the length of a bar in a chart of this range.
    pub(crate) fn bar(self) -> u64 {
        fitting(&BARS, self.0, BARS_MAX)
    }

    /// Returns the distance of labelled lines in a chart of this range.
    pub(crate) fn line(self) -> u64 {
        fitting(&LINES, self.0, LINES_MAX)
    }
}

/// Returns the shortest step of which at most `count_max` fit.
fn fitting(steps: &[u64], length: u64, count_max: u64) -> u64 {
    let mut fitting = steps
        .iter()
        .filter(|step| length.div_ceil(**step) <= count_max);
    let longest = steps.last().copied().unwrap_or(length);
    fitting.next().copied().unwrap_or(longest)
}

/// The ranges that a page offers, shortest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ranges {
    shorter: Vec<Range>,
    longest: Range,
}

impl Ranges {
    /// Returns the given and the usual longer ranges that are shorter than the retention, and the retention.
    pub(crate) fn within(retention: u64, lengths: &[u64]) -> Self {
        let lengths = lengths.iter().chain(&LONGER);
        Self {
            shorter: lengths
                .filter(|length| **length < retention)
                .map(|length| Range(*length))
                .collect(),
            longest: Range(retention),
        }
    }

    /// Returns the range of the whole retention.
    pub(crate) fn longest(&self) -> Range {
        self.longest
    }

    pub(crate) fn shortest(&self) -> Range {
        self.iter().next().unwrap_or(self.longest)
    }

    /// Returns every range, shortest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Range> {
        self.shorter.iter().copied().chain([self.longest])
    }

    /// Returns the range of this value; the longest for one beyond the retention, as in an old link.
    pub(crate) fn find(&self, value: &str) -> Option<Range> {
        let is_known = |range: &Range| range.value() == value;
        let past = || LONGER.into_iter().map(Range).find(is_known);
        self.iter()
            .find(is_known)
            .or_else(|| past().map(|_| self.longest))
    }

    /// Returns the shortest range of at least this length, or the longest.
    pub(crate) fn holding(&self, length: u64) -> Range {
        let mut holding = self.iter().filter(|range| range.length() >= length);
        holding.next().unwrap_or(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: [u64; 4] = [15 * MINUTE, HOUR, 6 * HOUR, DAY];

    fn values(retention: u64) -> Vec<String> {
        let ranges = Ranges::within(retention, &SEARCH);
        ranges.iter().map(Range::value).collect()
    }

    #[test]
    fn ranges_end_with_the_retention() {
        assert_eq!(values(7 * DAY), ["15m", "1h", "6h", "24h", "7d"]);
        assert_eq!(values(30 * DAY), ["15m", "1h", "6h", "24h", "7d", "30d"]);
        assert_eq!(values(DAY), ["15m", "1h", "6h", "24h"]);
        assert_eq!(values(100 * HOUR), ["15m", "1h", "6h", "24h", "100h"]);
        assert_eq!(values(10 * MINUTE), ["10m"]);
        assert_eq!(Range(30 * DAY).words(), "30 days");
        assert_eq!(Range(HOUR).words(), "1 hour");
    }

    #[test]
    fn a_link_past_the_retention_gets_all_that_is_kept() {
        let ranges = Ranges::within(DAY, &SEARCH);
        assert_eq!(ranges.find("7d"), Some(Range(DAY)));
        assert_eq!(ranges.find("6h"), Some(Range(6 * HOUR)));
        assert_eq!(ranges.find("banana"), None);
        assert_eq!(ranges.holding(2 * HOUR), Range(6 * HOUR));
        assert_eq!(ranges.holding(9 * DAY), Range(DAY));
    }

    #[test]
    fn charts_have_a_bounded_number_of_bars_and_lines() {
        let steps = |length| (Range(length).bar(), Range(length).line());
        assert_eq!(steps(HOUR), (MINUTE, 10 * MINUTE));
        assert_eq!(steps(DAY), (10 * MINUTE, 3 * HOUR));
        assert_eq!(steps(7 * DAY), (HOUR, DAY));
        assert_eq!(steps(30 * DAY), (4 * HOUR, 5 * DAY));
        assert_eq!(steps(400 * DAY), (4 * DAY, 60 * DAY));
    }
}
