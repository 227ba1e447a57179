//! From the counts that an instance reports to what was added since its last report, which is never negative: a count
//! that shrank or has a later start was reset, and one that is older than the last is late and ignored.

use std::collections::HashMap;

use fusebox::circuit_breaker::LatencyHistogram;

use super::timing::RECENT_COUNT;
use crate::codec::circuits::{Count, CountPoint, Temporality};
use crate::model::UnixNanos;

/// Series that one instance of a breaker may have: outcomes times error types.
const MAX_SERIES: usize = 256;

/// The last report of each series of an instance.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    series: HashMap<(u8, u64), Last>,
}

#[derive(Debug, Clone)]
struct Last {
    start: UnixNanos,
    time: UnixNanos,
    count: u64,
    latency: LatencyHistogram,
}

/// What a report adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Added {
    /// That many calls with those durations.
    Calls(u64, LatencyHistogram),
    /// Nothing: a repetition, a late report or the first of an old count.
    Nothing,
    /// Nothing, because there are too many series.
    TooManySeries,
}

impl Tracker {
    /// Returns what a report adds; a new series of an instance that was `followed` before counts from zero.
    pub(super) fn add(&mut self, point: &CountPoint, followed: bool, now: UnixNanos) -> Added {
        let key = (kind(point.what), point.series);
        let Some(last) = self.series.get_mut(&key) else {
            if self.series.len() >= MAX_SERIES {
                return Added::TooManySeries;
            }
            self.series.insert(key, last_of(point));
            return first(point, followed, now);
        };
        let added = match point.temporality {
            Temporality::Delta if point.time > last.time => whole(point),
            Temporality::Delta => return Added::Nothing,
            Temporality::Cumulative => match cumulative(point, last) {
                Some(added) => added,
                None => return Added::Nothing,
            },
        };
        *last = last_of(point);
        added
    }
}

fn first(point: &CountPoint, followed: bool, now: UnixNanos) -> Added {
    let began = point.start;
    let recent = began > UnixNanos::default() && now - began < RECENT_COUNT;
    if followed || recent || point.temporality == Temporality::Delta {
        whole(point)
    } else {
        Added::Nothing
    }
}

/// Returns what a running count adds to its last report; `None` when it is older than that.
fn cumulative(point: &CountPoint, last: &Last) -> Option<Added> {
    let begun_anew = point.start > last.start && last.start > UnixNanos::default();
    let older = point.start < last.start || point.time < last.time;
    if begun_anew {
        Some(whole(point))
    } else if older {
        None
    } else if point.count >= last.count {
        let latency = point.latency.since(&last.latency);
        Some(Added::Calls(point.count - last.count, latency))
    } else {
        Some(whole(point))
    }
}

fn whole(point: &CountPoint) -> Added {
    Added::Calls(point.count, point.latency.clone())
}

fn last_of(point: &CountPoint) -> Last {
    Last {
        start: point.start,
        time: point.time,
        count: point.count,
        latency: match point.temporality {
            Temporality::Cumulative => point.latency.clone(),
            Temporality::Delta => LatencyHistogram::default(),
        },
    }
}

fn kind(what: Count) -> u8 {
    match what {
        Count::Outcome(outcome) => outcome as u8,
        Count::Fallback { answered } => 16 + u8::from(answered),
        Count::Entered(state) => 32 + state as u8,
    }
}

#[cfg(test)]
mod tests {
    use fusebox::circuit_breaker::Outcome;
    use proptest::prelude::*;

    use super::*;

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
        let now = UnixNanos::of_window(100, RECENT_COUNT);
        assert_eq!(calls(tracker.add(&point(1, 10, 500), false, now)), None);
        assert_eq!(
            calls(tracker.add(&point(1, 20, 507), false, now)),
            Some((7, 7))
        );
        // The same request twice.
        assert_eq!(
            calls(tracker.add(&point(1, 20, 507), false, now)),
            Some((0, 0))
        );
        // A request that was overtaken.
        assert_eq!(calls(tracker.add(&point(1, 15, 503), false, now)), None);
        // The process restarted; its old request arrives late.
        assert_eq!(
            calls(tracker.add(&point(21, 30, 3), false, now)),
            Some((3, 3))
        );
        assert_eq!(calls(tracker.add(&point(1, 20, 507), false, now)), None);
        assert_eq!(
            calls(tracker.add(&point(21, 40, 5), false, now)),
            Some((2, 2))
        );
    }

    #[test]
    fn the_first_report_counts_when_it_is_new() {
        let now = UnixNanos::of_window(100, RECENT_COUNT);
        let mut tracker = Tracker::default();
        let fresh = point(now.get() - 1_000, now.get(), 4);
        assert_eq!(calls(tracker.add(&fresh, false, now)), Some((4, 4)));
        let mut tracker = Tracker::default();
        assert_eq!(
            calls(tracker.add(&point(1, now.get(), 4), true, now)),
            Some((4, 4))
        );
    }

    proptest! {
        #[test]
        fn resets_never_count_more_than_was_reported(
            reports in prop::collection::vec((0..4_u64, 0..50_u64, 0..1_000_u64), 0..60),
        ) {
            let mut tracker = Tracker::default();
            for (start, time, count) in reports {
                if let Some((calls, timed)) = calls(tracker.add(&point(start, time, count), true, UnixNanos::new(0))) {
                    prop_assert!(calls <= count && timed <= count);
                }
            }
        }
    }
}
