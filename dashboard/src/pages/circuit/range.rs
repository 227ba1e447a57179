//! How much of the past the chart of a circuit shows, and what happened in it.

use fusebox_collector::model::{CircuitKey, TimeRange};
use fusebox_collector::query::CircuitHistory;

use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::view::text::{self, DAY, HOUR, MINUTE, WEEK};

/// How much of the past the chart may show.
pub(crate) const RANGES: [Range; 3] = [
    Range {
        value: "1h",
        word: "1 hour",
        length: HOUR,
        bars: 60,
        grid: 10 * MINUTE,
    },
    Range {
        value: "24h",
        word: "24 hours",
        length: DAY,
        bars: 144,
        grid: 3 * HOUR,
    },
    Range {
        value: "7d",
        word: "a week",
        length: WEEK,
        bars: 168,
        grid: DAY,
    },
];

/// A range of the chart: how long it is, its bars, how far apart its lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// Its value in the URL.
    pub(crate) value: &'static str,
    /// Its word.
    pub(crate) word: &'static str,
    length: u64,
    bars: usize,
    grid: u64,
}

/// A line of the chart: place in percent, word, and for times of day the moment in Unix milliseconds.
pub(crate) type Line = (String, String, Option<u64>);

impl Range {
    /// Reads it from the URL.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        RANGES.into_iter().find(|range| range.value == value)
    }

    /// Returns the one that a range of time is shown as.
    pub(crate) fn of(shown: TimeRange) -> Self {
        let length = shown.end_unix_nanos - shown.start_unix_nanos;
        let [.., longest] = RANGES;
        let mut ranges = RANGES.into_iter();
        ranges
            .find(|range| range.length >= length)
            .unwrap_or(longest)
    }

    /// Returns the lines inside a range of time: whole days, hours or minutes.
    pub(crate) fn lines(self, shown: TimeRange) -> Vec<Line> {
        let start = shown.start_unix_nanos;
        let lines = (start / self.grid + 1..).map(|line| line * self.grid);
        let inside = lines.take_while(|line| *line < shown.end_unix_nanos);
        let place = |line: u64| (line - start) as f64 / self.length as f64 * 100.0;
        inside
            .map(|line| {
                let (word, moment) = match self.grid {
                    DAY => (text::day(line), None),
                    _ => (text::hour_minute(line), Some(line / 1_000_000)),
                };
                // At the very end a word would leave the chart.
                let word = if place(line) < 96.0 {
                    word
                } else {
                    String::new()
                };
                let moment = moment.filter(|_| !word.is_empty());
                (format!("{:.2}", place(line)), word, moment)
            })
            .collect()
    }

    /// Returns the range of time that ends there. Up to now it ends with the bar that is still growing, so that
    /// bars stand still from one refresh to the next and the calls of the running minute are in.
    fn until(self, end: u64, live: bool) -> TimeRange {
        let bar = self.length / self.bars as u64;
        let end = if live { end.div_ceil(bar) * bar } else { end };
        TimeRange {
            start_unix_nanos: end.saturating_sub(self.length),
            end_unix_nanos: end,
        }
    }
}

/// Returns the range of the chart and what happened in it: the one asked for, else the shortest that holds all
/// that is known, so that the first minutes of a breaker are not a hair at the end of a week.
pub(crate) async fn history(
    pages: &Pages,
    key: &CircuitKey,
    asked: Option<Range>,
    end: u64,
    live: bool,
) -> Result<(TimeRange, CircuitHistory), PageError> {
    let [.., longest] = RANGES;
    let first = asked.unwrap_or(longest);
    let found = pages
        .query
        .circuit_history(key, first.until(end, live), first.bars)
        .await?;
    let begins = found.states.iter().map(|span| span.start_unix_nanos).min();
    let known = end.saturating_sub(begins.unwrap_or(0));
    let fits = RANGES.into_iter().find(|range| range.length >= known);
    match fits {
        Some(range) if asked.is_none() && range != first => {
            let shown = range.until(end, live);
            let found = pages.query.circuit_history(key, shown, range.bars).await?;
            Ok((shown, found))
        }
        _ => Ok((first.until(end, live), found)),
    }
}
