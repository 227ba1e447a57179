//! Turns an instance's cumulative counts into the increase since its last report, which is never negative: a
//! count that shrank or has a later start was reset, and one older than the last is late and ignored, unless
//! only such ones have come for minutes: then the sender's clock was set back.

use std::collections::HashMap;
use std::time::Duration;

use fusebox::circuit_breaker::{LatencyHistogram, Outcome};

use super::counted::calls_of;
use crate::codec::circuits::{Count, CountPoint, Temporality};
use crate::model::{CircuitCalls, UnixNanos};
use crate::store::hash::Seed;
use crate::store::series::SeriesTotal;

/// Series of one breaker instance: outcomes times error types.
const MAX_SERIES: usize = 256;
/// Series whose totals are stored, 100 bytes each, once a minute: enough for a breaker with four error types.
/// For the rest, calls made while the collector is away are not known.
pub(super) const MAX_STORED: usize = 64;

/// After this long without a report that is newer than the last, older ones are not late: the sender's clock was set back.
const SET_BACK_AFTER: Duration = Duration::from_secs(120);

/// The last report of each of an instance's series.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    series: HashMap<(u8, u64), Last, Seed>,
    /// Calls that an earlier run counted after it stored its totals.
    beyond: CircuitCalls,
}

#[derive(Debug, Clone)]
struct Last {
    start: UnixNanos,
    time: UnixNanos,
    /// When it came; of an earlier run, when the first after it came.
    arrived: Option<UnixNanos>,
    count: u64,
    /// `None` if restored from an earlier run.
    latency: Option<LatencyHistogram>,
    /// Whether the count is cumulative.
    is_running: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Added {
    Calls(u64, LatencyHistogram),
    /// Nothing: a repetition, a late report, or the first of an old count.
    Nothing,
    TooManySeries,
}

/// How to treat the first report of a cumulative count.
#[derive(Debug, Clone, Copy)]
pub(super) enum NewSeries {
    /// Count all of it: the instance reported before, without this series.
    Whole,
    /// Count all of it if it started after that time, so that it cannot have been counted before.
    BegunAfter(UnixNanos),
}

impl Tracker {
    /// Returns the increase from a report.
    pub(super) fn add(&mut self, point: &CountPoint, new: NewSeries, now: UnixNanos) -> Added {
        let key = (kind(point.what), point.series);
        let Some(last) = self.series.get_mut(&key) else {
            if self.series.len() >= MAX_SERIES {
                return Added::TooManySeries;
            }
            self.series.insert(key, last_of(point, now));
            return first(point, new, now);
        };
        let was_set_back = now - *last.arrived.get_or_insert(now) >= SET_BACK_AFTER;
        let added = match point.temporality {
            Temporality::Delta => (point.time > last.time || was_set_back).then(|| whole(point)),
            Temporality::Cumulative => cumulative(point, last, was_set_back, &mut self.beyond),
        };
        let Some(added) = added else {
            return Added::Nothing;
        };
        *last = last_of(point, now);
        added
    }

    pub(super) fn totals(&self) -> (Vec<SeriesTotal>, CircuitCalls) {
        let running = self.series.iter().filter(|(_, last)| last.is_running);
        let mut totals: Vec<SeriesTotal> = running
            .map(|((kind, series), last)| SeriesTotal {
                kind: *kind,
                series: *series,
                start: last.start,
                time: last.time,
                count: last.count,
            })
            .collect();
        totals.sort_by_key(|total| (std::cmp::Reverse(total.count), total.kind, total.series));
        totals.truncate(MAX_STORED);
        (totals, self.beyond)
    }

    /// Continues from the stored totals of an earlier run.
    pub(super) fn restore(totals: &[SeriesTotal], beyond: CircuitCalls) -> Self {
        let known = totals.iter().take(MAX_STORED).map(|total| {
            let last = Last {
                start: total.start,
                time: total.time,
                arrived: None,
                count: total.count,
                latency: None,
                is_running: true,
            };
            ((total.kind, total.series), last)
        });
        Self {
            series: known.collect(),
            beyond,
        }
    }
}

fn first(point: &CountPoint, new: NewSeries, now: UnixNanos) -> Added {
    let is_whole = point.temporality == Temporality::Delta
        || match new {
            NewSeries::Whole => true,
            NewSeries::BegunAfter(earliest) => began(point, now) > earliest,
        };
    if is_whole {
        whole(point)
    } else {
        Added::Nothing
    }
}

/// Returns when a count started, by the collector's clock: a sender's clock that is ahead must not make an
/// old count look new. A count without a start time is as old as possible.
fn began(point: &CountPoint, now: UnixNanos) -> UnixNanos {
    if point.start == UnixNanos::default() {
        return UnixNanos::default();
    }
    point.start.min(now - (point.time - point.start))
}

/// Returns the increase of a cumulative count since its last report, minus what was already counted `beyond`
/// that; `None` if the report is older. A count of the same start that has grown is newer, whatever its time.
fn cumulative(
    point: &CountPoint,
    last: &Last,
    was_set_back: bool,
    beyond: &mut CircuitCalls,
) -> Option<Added> {
    let starts_earlier = point.start < last.start;
    let starts_later = point.start > last.start && last.start > UnixNanos::default();
    if starts_later || (starts_earlier && was_set_back) {
        Some(whole(point))
    } else if starts_earlier || (point.time < last.time && point.count < last.count) {
        None
    } else if point.count >= last.count {
        let growth = point.count - last.count;
        Some(match &last.latency {
            Some(latency) => Added::Calls(growth, point.latency.since(latency)),
            None => Added::Calls(
                not_counted(growth, point.what, beyond),
                LatencyHistogram::default(),
            ),
        })
    } else {
        Some(whole(point))
    }
}

/// Returns the part of the increase that an earlier run had not counted.
fn not_counted(growth: u64, what: Count, beyond: &mut CircuitCalls) -> u64 {
    let Some(beyond) = calls_of(beyond, what) else {
        return growth;
    };
    let counted = growth.min(*beyond);
    *beyond -= counted;
    growth - counted
}

fn whole(point: &CountPoint) -> Added {
    Added::Calls(point.count, point.latency.clone())
}

fn last_of(point: &CountPoint, now: UnixNanos) -> Last {
    Last {
        start: point.start,
        time: point.time,
        arrived: Some(now),
        count: point.count,
        latency: Some(match point.temporality {
            Temporality::Cumulative => point.latency.clone(),
            Temporality::Delta => LatencyHistogram::default(),
        }),
        is_running: point.temporality == Temporality::Cumulative,
    }
}

/// Returns the number of a count's kind; it is on disk and must not change.
fn kind(what: Count) -> u8 {
    match what {
        Count::Outcome(Outcome::Success) => 0,
        Count::Outcome(Outcome::Failure) => 1,
        Count::Outcome(Outcome::Timeout) => 2,
        Count::Outcome(Outcome::Rejected) => 3,
        Count::Outcome(Outcome::BulkheadFull) => 4,
        Count::Outcome(Outcome::Ignored) => 5,
        Count::Outcome(Outcome::Cancelled) => 6,
        Count::Fallback { answered } => 16 + u8::from(answered),
        Count::Entered(state) => 32 + state as u8,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::SECOND;

    fn point(start: u64, time: u64, count: u64) -> CountPoint {
        CountPoint {
            what: Count::Outcome(Outcome::Success),
            series: 1,
            temporality: Temporality::Cumulative,
            start: UnixNanos::new(start),
            time: UnixNanos::new(time),
            count,
            latency: LatencyHistogram::from_buckets([(0, count)]),
        }
    }

    fn calls(added: Added) -> Option<(u64, u64)> {
        match added {
            Added::Calls(calls, latency) => Some((calls, latency.count())),
            Added::Nothing | Added::TooManySeries => None,
        }
    }

    #[test]
    fn a_running_count_adds_its_growth_and_a_restart_its_whole() {
        let mut tracker = Tracker::default();
        let now = UnixNanos::new(1_000);
        assert_eq!(
            calls(tracker.add(&point(1, 10, 500), NewSeries::BegunAfter(now), now)),
            None
        );
        assert_eq!(
            calls(tracker.add(&point(1, 20, 507), NewSeries::BegunAfter(now), now)),
            Some((7, 7))
        );
        // The same request twice.
        assert_eq!(
            calls(tracker.add(&point(1, 20, 507), NewSeries::BegunAfter(now), now)),
            Some((0, 0))
        );
        // A request that was overtaken.
        assert_eq!(
            calls(tracker.add(&point(1, 15, 503), NewSeries::BegunAfter(now), now)),
            None
        );
        // The process restarted; its old request arrives late.
        assert_eq!(
            calls(tracker.add(&point(21, 30, 3), NewSeries::BegunAfter(now), now)),
            Some((3, 3))
        );
        assert_eq!(
            calls(tracker.add(&point(1, 20, 507), NewSeries::BegunAfter(now), now)),
            None
        );
        assert_eq!(
            calls(tracker.add(&point(21, 40, 5), NewSeries::BegunAfter(now), now)),
            Some((2, 2))
        );
    }

    /// *Scenario*: the clock of a sender was ahead; once it is right, the process goes on, or starts again.
    #[test]
    fn reports_of_a_clock_that_was_set_back_count() {
        let mut tracker = Tracker::default();
        let mut add = |start, time, count, second: u32| {
            let (point, now) = (
                point(start, time, count),
                UnixNanos::default() + SECOND * second,
            );
            calls(tracker.add(&point, NewSeries::Whole, now)).map(|calls| calls.0)
        };
        assert_eq!(add(900, 1_000, 5, 10), Some(5));
        assert_eq!(add(900, 100, 8, 11), Some(3));
        assert_eq!(
            add(500, 501, 2, 12),
            None,
            "it may be a late one of an earlier run"
        );
        assert_eq!(add(500, 601, 4, 131), Some(4));
        assert_eq!(add(500, 602, 6, 132), Some(2));
    }

    #[test]
    fn the_first_report_counts_when_it_began_after_the_collector() {
        let first = |start, time, count, new, now| {
            let point = point(start, time, count);
            calls(Tracker::default().add(&point, new, UnixNanos::new(now)))
        };
        let since = |time| NewSeries::BegunAfter(UnixNanos::new(time));
        assert_eq!(first(600, 900, 4, since(500), 900), Some((4, 4)));
        assert_eq!(first(400, 900, 4, since(500), 900), None);
        assert_eq!(first(0, 900, 4, since(500), 900), None);
        assert_eq!(first(0, 900, 4, NewSeries::Whole, 900), Some((4, 4)));
        // Its clock is 500 ahead: it began at 400 by the collector's.
        assert_eq!(first(900, 1_400, 4, since(500), 900), None);
    }

    proptest! {
        #[test]
        fn resets_never_count_more_than_was_reported(
            reports in prop::collection::vec((0..4_u64, 0..50_u64, 0..1_000_u64), 0..60),
        ) {
            let mut tracker = Tracker::default();
            for (start, time, count) in reports {
                if let Some((calls, timed)) = calls(tracker.add(&point(start, time, count), NewSeries::Whole, UnixNanos::new(0))) {
                    prop_assert!(calls <= count && timed <= count);
                }
            }
        }
    }
}
