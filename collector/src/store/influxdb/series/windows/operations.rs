//! Operations in a window: per operation, and sums by tag of operation and service.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::LatencyHistogram;

use super::super::points::{Points, Tagged, written};
use super::super::text::json;
use super::{OF_OPERATIONS, QUANTILES, quantiles};
use crate::model::UnixNanos;
use crate::store::influxdb::schema::{Measurement, RED};
use crate::store::influxdb::wire::line::Fields;
use crate::store::series::{RedMinute, stored_buckets};

/// Merged figures of served calls.
#[derive(Debug, Default)]
struct RedSum {
    calls: u64,
    errors: u64,
    latency: LatencyHistogram,
}

impl RedSum {
    fn add(&mut self, minute: &RedMinute) {
        self.calls = self.calls.saturating_add(minute.calls);
        self.errors = self.errors.saturating_add(minute.errors);
        self.latency.merge(&minute.latency());
    }

    fn fields<'a>(&self, point: Fields<'a>) -> Fields<'a> {
        let point = point
            .count("calls", self.calls)
            .count("errors", self.errors);
        quantiles(point, &self.latency, &QUANTILES[..OF_OPERATIONS])
    }
}

/// The operations of one minute, by service and operation.
#[derive(Debug, Default)]
pub(in super::super) struct OperationMinutes(BTreeMap<(String, String), RedSum>);

impl OperationMinutes {
    /// Merges a minute: a restart, or two span kinds with one name, give several records.
    pub(super) fn add(&mut self, minute: &RedMinute) {
        let id = (minute.service.clone(), minute.operation.clone());
        self.0.entry(id).or_default().add(minute);
    }

    pub(super) fn write(&self, window: u64, points: &mut Points<'_>) {
        for ((service, operation), sum) in &self.0 {
            let tags = points.operation(service, operation);
            let tagged = Tagged::new(tags, [operation, service]);
            let time = points.time_of(&RED, &tagged, UnixNanos::new(window));
            let point = points.point(&RED, &tagged);
            sum.fields(point)
                .string("h", &json(&stored_buckets(&sum.latency)))
                .at(time);
        }
    }
}

/// Sums by operation and by service, keyed by tags.
#[derive(Debug, Default)]
pub(in super::super) struct RedSums {
    operations: BTreeMap<[String; 2], RedSum>,
    services: BTreeMap<String, RedSum>,
}

impl RedSums {
    pub(super) fn add(&mut self, minute: &RedMinute, points: &Points<'_>) {
        let tags = written(points.operation(&minute.service, &minute.operation));
        let service = self.services.entry(tags[1].clone()).or_default();
        service.add(minute);
        let operation = self.operations.entry(tags).or_default();
        operation.add(minute);
    }

    pub(super) fn write_operations(
        &self,
        measurement: &Measurement,
        window: u64,
        points: &mut Points<'_>,
    ) {
        for ([operation, service], sum) in &self.operations {
            let tagged = Tagged::plain([operation, service]);
            sum.fields(points.point(measurement, &tagged)).at(window);
        }
    }

    pub(super) fn write_services(
        &self,
        measurement: &Measurement,
        window: u64,
        points: &mut Points<'_>,
    ) {
        for (service, sum) in &self.services {
            let tagged = Tagged::plain([service]);
            sum.fields(points.point(measurement, &tagged)).at(window);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::influxdb::names::Names;
    use crate::store::influxdb::schema::{RED_5M, RED_SERVICE_5M};

    /// Scenario: the span names are two statements that are equal up to the longest tag.
    /// Guarantees: they share one point with the sum of both.
    #[test]
    fn names_that_are_one_tag_are_added_up() {
        let names = Names::default();
        let mut points = Points::new("abc123", &names);
        let mut sums = RedSums::default();
        for end in ["a", "b"] {
            let minute = RedMinute {
                service: "shop\n".to_owned(),
                operation: format!("SELECT {}{end}", "x".repeat(300)),
                minute: UnixNanos::new(0),
                calls: 1,
                errors: 0,
                latency_buckets: Vec::new(),
            };
            sums.add(&minute, &points);
        }
        sums.write_operations(&RED_5M, 0, &mut points);
        sums.write_services(&RED_SERVICE_5M, 0, &mut points);
        let batches = points.into_batches();
        let lines = batches[0].lines.lines();
        assert_eq!(lines.clone().count(), 2);
        assert!(lines.into_iter().all(|line| line.contains("calls=2i")));
    }
}
