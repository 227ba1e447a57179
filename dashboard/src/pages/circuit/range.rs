//! The chart of a circuit: its range of time and its data.

use fusebox_collector::model::{CircuitHistory, CircuitKey, TimeRange, UnixNanos};
use fusebox_collector::query::Missing;

use crate::pages::Pages;
use crate::pages::frame::error::{PageError, lenient};
use crate::pages::view::range::{Range, Ranges};
use crate::pages::view::text::{self, DAY, HOUR};

/// The shorter ranges that the chart offers.
const LENGTHS: [u64; 2] = [HOUR, DAY];

/// A line of the chart: position in percent, word, and for times of day the time in Unix milliseconds.
pub(crate) type Line = (String, String, Option<u64>);

/// Returns the ranges that the chart offers.
pub(crate) fn ranges(retention: u64) -> Ranges {
    Ranges::within(retention, &LENGTHS)
}

/// Returns the lines inside a range of time: whole days, hours or minutes.
pub(crate) fn lines(shown: TimeRange) -> Vec<Line> {
    let (start, end) = (shown.start.get(), shown.end.get());
    let length = end - start;
    let apart = Range::of(length).line();
    let times = (start / apart + 1..).map_while(|index| index.checked_mul(apart));
    times
        .take_while(|time| *time < end)
        .map(|time| {
            let place = (time - start) as f64 / length as f64 * 100.0;
            let place_words = format!("{place:.2}");
            // At the very end the label would leave the chart.
            if place >= 96.0 {
                (place_words, String::new(), None)
            } else if apart >= DAY {
                (place_words, text::day(time), None)
            } else {
                (place_words, text::hour_minute(time), Some(time / 1_000_000))
            }
        })
        .collect()
}

/// Returns the range that ends at `end`. A live range ends with the bar that is still growing, so that bars keep their
/// position between refreshes and include the calls of the current minute.
fn until(range: Range, end: u64, live: bool) -> TimeRange {
    let bar = range.bar();
    let end = if live { end.div_ceil(bar) * bar } else { end };
    TimeRange {
        start: UnixNanos::new(end.saturating_sub(range.length())),
        end: UnixNanos::new(end),
    }
}

/// A range of the chart and its data.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Which of the ranges it is.
    pub(crate) range: Range,
    /// From when to when.
    pub(crate) time: TimeRange,
    /// Calls and states in it.
    pub(crate) history: CircuitHistory,
    /// The part of the data that could not be read.
    pub(crate) missing: Option<Missing>,
}

/// Returns the range of the chart and its data: the requested range, else the shortest that contains all known data, so
/// that the first minutes of a breaker are not a thin line at the end of the retention.
pub(crate) async fn history(
    pages: &Pages,
    key: &CircuitKey,
    asked: Option<Range>,
    end: u64,
    live: bool,
) -> Result<Shown, PageError> {
    let ranges = ranges(pages.retention());
    let first = read(pages, key, asked.unwrap_or(ranges.longest()), end, live).await?;
    let begins = first.history.states.iter().map(|span| span.start).min();
    let fitting = ranges.holding(end.saturating_sub(begins.unwrap_or(UnixNanos::new(0)).get()));
    if asked.is_some() || fitting == first.range {
        return Ok(first);
    }
    read(pages, key, fitting, end, live).await
}

async fn read(
    pages: &Pages,
    key: &CircuitKey,
    range: Range,
    end: u64,
    live: bool,
) -> Result<Shown, PageError> {
    let time = until(range, end, live);
    let bars = range.length().div_ceil(range.bar()) as usize;
    let history = pages.query.circuits().history(key, time, bars).await;
    let history = lenient(history, CircuitHistory::default())?;
    Ok(Shown {
        range,
        time,
        history: history.value,
        missing: history.missing,
    })
}
