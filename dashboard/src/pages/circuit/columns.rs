//! The values behind the chart of a circuit, bar by bar, for the pointer and as a table.

use fusebox_collector::model::{CircuitCalls, CircuitHistory, CircuitKey, TimeRange, nanos};

use crate::pages::view::chart::{self, trim};
use crate::pages::view::{moment, text};
use crate::pages::wall::card::requests;

/// Width of the chart in its own units.
pub(super) const WIDTH: f64 = 1008.0;

/// One bar with calls.
#[derive(Debug, PartialEq)]
pub(super) struct Column {
    /// Its left edge, in units of the chart.
    pub(super) x: String,
    /// Its width, in units of the chart.
    pub(super) width: String,
    /// Its start, as HTML.
    pub(super) when: String,
    /// Its start, in UTC.
    pub(super) clock: String,
    /// Calls by outcome in words.
    pub(super) words: String,
    /// The search for its requests.
    pub(super) href: String,
}

/// Returns the bars that have calls, oldest first.
pub(super) fn columns(
    key: &CircuitKey,
    history: &CircuitHistory,
    time: TimeRange,
    now: u64,
) -> Vec<Column> {
    let count = history.buckets.len().max(1);
    let length = nanos(time.end - time.start) / count as u64;
    let width = WIDTH / count as f64;
    let column = |(place, calls): (usize, &CircuitCalls)| {
        let start = time.start.get() + place as u64 * length;
        (calls.total() > 0).then(|| Column {
            x: trim(place as f64 * width),
            width: trim(width),
            when: moment::short(start, now),
            clock: text::day_clock(start),
            words: words(calls),
            href: requests(key, None, None)
                .with("start", text::datetime_local(start))
                .with("end", text::datetime_local(start + length))
                .to_string(),
        })
    };
    let calls = history.buckets.iter().map(|bucket| &bucket.calls);
    calls.enumerate().filter_map(column).collect()
}

/// Returns the calls of the highest bar.
pub(super) fn highest(history: &CircuitHistory) -> Option<String> {
    let totals = history.buckets.iter().map(|bucket| bucket.calls.total());
    let highest = totals.max().filter(|calls| *calls > 0)?;
    Some(tn!(highest, "{n} call", "{n} calls"))
}

fn words(calls: &CircuitCalls) -> String {
    let there = chart::shares(calls)
        .into_iter()
        .filter(|share| share.calls > 0);
    let words: Vec<String> = there
        .map(|share| format!("{} {}", share.count(), share.word))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use fusebox_collector::model::{SparkBucket, UnixNanos};

    use super::*;
    use crate::pages::view::text::MINUTE;

    #[test]
    fn every_bar_with_calls_says_its_values() {
        let bucket = |success, failure| SparkBucket {
            calls: CircuitCalls {
                success,
                failure,
                ..CircuitCalls::default()
            },
            state: None,
        };
        let history = CircuitHistory {
            buckets: vec![bucket(0, 0), bucket(1_200, 3), bucket(0, 0), bucket(0, 2)],
            ..crate::pages::tests::fixtures::history()
        };
        let start = 1_795_428_240_000_000_000; // 10:04 UTC
        let time = TimeRange {
            start: UnixNanos::new(start),
            end: UnixNanos::new(start + 4 * MINUTE),
        };
        let key = CircuitKey {
            service: "shop".to_owned(),
            name: "stock".to_owned(),
        };
        let columns = columns(&key, &history, time, start + 4 * MINUTE);
        let said: Vec<_> = columns
            .iter()
            .map(|c| (c.x.as_str(), c.words.as_str()))
            .collect();
        assert_eq!(said, [("252", "1,200 ok, 3 failed"), ("756", "2 failed")]);
        assert!(
            columns[0].clock.ends_with("10:05:00"),
            "{}",
            columns[0].clock
        );
        let href = &columns[0].href;
        let times = "start=2026-11-23T10%3A05%3A00&end=2026-11-23T10%3A06%3A00";
        assert_eq!(href, &format!("/traces?service=shop&circuit=stock&{times}"));
        assert_eq!(highest(&history).as_deref(), Some("1,203 calls"));
    }
}
