//! Which requests were slow: those in the slowest hundredth of their operation, of the hour in which they began, by the
//! stored minutes of operations. These are of the time of arrival: of what came long after it began, or was sent by a
//! clock that is wrong, the hour of arrival decides.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::LatencyHistogram;

use crate::live::cut_name;
use crate::model::{HOUR, MINUTE, TimeRange, UnixNanos};
use crate::store::embedded::SlowRule;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, StoreError};
use crate::sync::Mutex;

/// The part of the calls that are not slow.
const NOT_SLOW: f64 = 0.99;
/// Where the bucket at the limit and those above have more than one call in this many, it is what calls mostly take.
const COMMON_PART: u64 = 10;
/// Hours whose thresholds are kept: requests are looked at in the order of their times.
const HOURS_MAX: usize = 8;
/// How long after its end the minutes of an hour are stored.
const STORED_AFTER: Duration = MINUTE.saturating_mul(5);

/// The bucket of durations from which on an operation of a service is slow.
type Thresholds = HashMap<String, HashMap<String, i32>>;

/// Tells slow requests by the journal.
#[derive(Debug)]
pub(super) struct SlowByHour {
    series: SeriesLog,
    /// Those that were read last, in that order.
    hours: Mutex<VecDeque<(u64, Arc<Thresholds>)>>,
}

impl SlowByHour {
    pub(super) fn new(series: SeriesLog) -> Self {
        Self {
            series,
            hours: Mutex::default(),
        }
    }

    fn thresholds(&self, hour: u64) -> Result<Arc<Thresholds>, StoreError> {
        let is_known = |known: &&(u64, Arc<Thresholds>)| known.0 == hour;
        if let Some((_, known)) = self.hours.lock().iter().find(is_known) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(self.read(hour)?);
        let mut hours = self.hours.lock();
        hours.push_back((hour, Arc::clone(&read)));
        if hours.len() > HOURS_MAX {
            hours.pop_front();
        }
        Ok(read)
    }

    fn read(&self, hour: u64) -> Result<Thresholds, StoreError> {
        let range = TimeRange {
            start: UnixNanos::of_window(hour, HOUR),
            end: UnixNanos::of_window(hour + 1, HOUR),
        };
        let mut calls: HashMap<String, HashMap<String, LatencyHistogram>> = HashMap::new();
        self.series
            .scan(SeriesKind::Red, range, None, &mut |record| {
                if let SeriesRecord::Red(minute) = record {
                    let latency = minute.latency();
                    let of_service = calls.entry(minute.service).or_default();
                    let of_operation = of_service.entry(minute.operation).or_default();
                    of_operation.merge(&latency);
                }
            })?;
        let threshold = |(operation, latency): (String, LatencyHistogram)| {
            Some((operation, slow_from(&latency)?))
        };
        let of_service = |(service, operations): (String, HashMap<String, LatencyHistogram>)| {
            let operations = operations.into_iter().filter_map(threshold);
            (service, operations.collect())
        };
        Ok(calls.into_iter().map(of_service).collect())
    }
}

/// Returns the bucket from which on calls are slow; `None` without a call.
fn slow_from(latency: &LatencyHistogram) -> Option<i32> {
    let limit = LatencyHistogram::index_of(latency.quantile(NOT_SLOW)?);
    let behind = latency.buckets().iter().filter(|(at, _)| *at >= limit);
    let behind: u64 = behind.map(|(_, calls)| calls).sum();
    let is_common = behind > (latency.count() / COMMON_PART).max(1);
    Some(limit + i32::from(is_common))
}

impl SlowRule for SlowByHour {
    fn is_slow(
        &self,
        service: &str,
        operation: &str,
        (began, arrived): (UnixNanos, UnixNanos),
        took: Duration,
    ) -> Result<bool, StoreError> {
        let (service, operation) = (cut_name(service), cut_name(operation));
        let running = (UnixNanos::now() - STORED_AFTER).window(HOUR);
        let mut is_any_stored = false;
        for hour in [began.min(arrived), arrived].map(|time| time.window(HOUR)) {
            if hour >= running {
                // What is slow in it is not known yet.
                return Ok(true);
            }
            let thresholds = self.thresholds(hour)?;
            is_any_stored |= !thresholds.is_empty();
            if let Some(slow) = thresholds.get(service).and_then(|of| of.get(operation)) {
                return Ok(LatencyHistogram::index_of(took) >= *slow);
            }
        }
        // Without any minutes of the hour, as by a clock that was wrong, what was slow in it is not known.
        Ok(!is_any_stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::Counters;
    use crate::store::embedded::tests::support::wait;
    use crate::store::series::{RedMinute, stored_buckets};

    const MS: Duration = Duration::from_millis(1);

    /// Returns the rule over calls of operations of `shop` in a minute of three hours ago, and that time.
    fn rule(
        dir: &std::path::Path,
        calls: &[(&str, &[(Duration, u64)])],
    ) -> (SlowByHour, UnixNanos) {
        let time = UnixNanos::now() - HOUR * 3;
        let counters = Arc::new(Counters::default());
        let series = SeriesLog::open(dir, HOUR * 24, counters).unwrap();
        let minute = |(operation, calls): &(&str, &[(Duration, u64)])| {
            let buckets = calls.iter();
            let buckets = buckets.map(|(took, n)| (LatencyHistogram::index_of(*took), *n));
            SeriesRecord::Red(RedMinute {
                service: "shop".to_owned(),
                operation: (*operation).to_owned(),
                minute: time.floor(MINUTE),
                calls: calls.iter().map(|(_, calls)| calls).sum(),
                errors: 0,
                latency_buckets: stored_buckets(&LatencyHistogram::from_buckets(buckets)),
            })
        };
        wait(series.append(calls.iter().map(minute).collect())).unwrap();
        (SlowByHour::new(series), time)
    }

    /// *Guarantees*: what nearly every call takes is not slow, and what a few take is, also where they are more than a hundredth.
    #[test]
    fn the_slowest_are_slow_and_what_is_common_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(300);
        let (rule, time) = rule(
            dir.path(),
            &[
                ("steady", &[(MS * 20, 1_000)]),
                ("timeouts", &[(MS * 20, 985), (MS * 30_000, 15)]),
                ("rare", &[(MS * 20, 4), (MS * 90, 1)]),
                (cut_name(&long), &[(MS * 20, 985), (MS * 500, 5)]),
            ],
        );
        let is_slow = |operation: &str, took| {
            let times = (time, time);
            rule.is_slow("shop", operation, times, took).unwrap()
        };
        assert!(!is_slow("steady", MS * 20) && is_slow("steady", MS * 40));
        assert!(!is_slow("timeouts", MS * 20) && is_slow("timeouts", MS * 30_000));
        assert!(!is_slow("rare", MS * 20) && is_slow("rare", MS * 90));
        assert!(!is_slow(&long, MS * 20) && is_slow(&long, MS * 500));
        assert!(!is_slow("unknown", MS * 30_000));
    }

    /// *Guarantees*: a clock that is wrong hides no slow request, and an hour that is not over calls none quick.
    #[test]
    fn the_hour_of_arrival_decides_where_that_of_the_begin_knows_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (rule, time) = rule(dir.path(), &[("buy", &[(MS * 20, 990), (MS * 90, 10)])]);
        for began in [time - HOUR * 9, time + HOUR * 9] {
            let is_slow = |took| rule.is_slow("shop", "buy", (began, time), took).unwrap();
            assert!(!is_slow(MS * 20) && is_slow(MS * 90), "{began:?}");
        }
        let now = UnixNanos::now();
        assert!(rule.is_slow("shop", "buy", (now, now), MS).unwrap());
    }

    /// *Guarantees*: an hour is read once for requests that follow each other, whatever hours were asked for before.
    #[test]
    fn an_hour_that_was_just_read_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (rule, time) = rule(dir.path(), &[]);
        let hour = time.window(HOUR);
        let hours = (0..20).map(|n| hour + 20 - n).chain(0..20);
        for hour in hours {
            let first = rule.thresholds(hour).unwrap();
            assert!(Arc::ptr_eq(&first, &rule.thresholds(hour).unwrap()));
        }
        assert_eq!(rule.hours.lock().len(), HOURS_MAX);
    }
}
