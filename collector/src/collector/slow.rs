//! Which requests were slow: those in the slowest hundredth of their operation, of the hour in which they began, by the
//! stored minutes of operations.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::LatencyHistogram;

use crate::model::{HOUR, TimeRange, UnixNanos};
use crate::store::embedded::SlowRule;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};
use crate::store::{SeriesReader, StoreError};
use crate::sync::Mutex;

/// The part of the calls that are not slow.
const NOT_SLOW: f64 = 0.99;
/// Hours whose thresholds are kept: segments are looked at in the order of arrival.
const HOURS_MAX: usize = 8;

/// The bucket of durations from which on an operation of a service is slow.
type Thresholds = HashMap<String, HashMap<String, i32>>;

/// Tells slow requests by the journal.
#[derive(Debug)]
pub(super) struct SlowByHour {
    series: SeriesLog,
    hours: Mutex<BTreeMap<u64, Arc<Thresholds>>>,
}

impl SlowByHour {
    pub(super) fn new(series: SeriesLog) -> Self {
        Self {
            series,
            hours: Mutex::default(),
        }
    }

    fn thresholds(&self, hour: u64) -> Result<Arc<Thresholds>, StoreError> {
        if let Some(known) = self.hours.lock().get(&hour) {
            return Ok(Arc::clone(known));
        }
        let read = Arc::new(self.read(hour)?);
        let mut hours = self.hours.lock();
        hours.insert(hour, Arc::clone(&read));
        while hours.len() > HOURS_MAX {
            hours.pop_first();
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
            let slow = LatencyHistogram::index_of(latency.quantile(NOT_SLOW)?);
            Some((operation, slow))
        };
        let of_service = |(service, operations): (String, HashMap<String, LatencyHistogram>)| {
            let operations = operations.into_iter().filter_map(threshold);
            (service, operations.collect())
        };
        Ok(calls.into_iter().map(of_service).collect())
    }
}

impl SlowRule for SlowByHour {
    fn is_slow(
        &self,
        service: &str,
        operation: &str,
        (began, _): (UnixNanos, UnixNanos),
        took: Duration,
    ) -> Result<bool, StoreError> {
        let thresholds = self.thresholds(began.window(HOUR))?;
        let threshold = thresholds.get(service).and_then(|of| of.get(operation));
        Ok(threshold.is_some_and(|slow| LatencyHistogram::index_of(took) >= *slow))
    }
}
