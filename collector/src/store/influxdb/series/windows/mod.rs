//! Aggregates the records of a time window to points. Pure: the same records give the same lines.
//!
//! Data for the reader is keyed by real names; data that only panels query (sums and quantiles) is merged by
//! tag, so that `__other__` has true quantiles too.

mod circuits;
mod edges;
mod operations;

pub(super) use circuits::Thresholds;

use fusebox::circuit_breaker::LatencyHistogram;

use circuits::{BreakerSums, InstanceSeconds};
use edges::Edges;
use operations::{OperationMinutes, RedSums};

use super::pending::Window;
use super::points::Points;
use crate::model::{UnixNanos, nanos};
use crate::store::influxdb::schema::{
    CIRCUIT_5M, CIRCUIT_10S, RED_5M, RED_SERVICE, RED_SERVICE_5M,
};
use crate::store::influxdb::wire::line::Fields;
use crate::store::series::SeriesRecord;

/// The quantiles of breakers; the last one is that of Hystrix's dashboard.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p995", 0.995),
];
/// The first ones are those of operations.
const OF_OPERATIONS: usize = 4;

#[derive(Debug)]
pub(super) enum WindowSums {
    /// `circuit` and `circuit_10s`.
    CircuitTenSeconds(InstanceSeconds, BreakerSums),
    /// `circuit_5m`.
    CircuitFiveMinutes(BreakerSums),
    /// `red` and `red_service`.
    RedMinute(OperationMinutes, RedSums),
    /// `red_5m` and `red_service_5m`.
    RedFiveMinutes(RedSums),
    /// `dep`.
    DependencyMinute(Edges),
}

impl WindowSums {
    pub(super) fn new(window: Window) -> Self {
        match window {
            Window::CircuitTenSeconds => {
                Self::CircuitTenSeconds(InstanceSeconds::default(), BreakerSums::default())
            }
            Window::CircuitFiveMinutes => Self::CircuitFiveMinutes(BreakerSums::default()),
            Window::RedMinute => Self::RedMinute(OperationMinutes::default(), RedSums::default()),
            Window::RedFiveMinutes => Self::RedFiveMinutes(RedSums::default()),
            Window::DependencyMinute => Self::DependencyMinute(Edges::default()),
        }
    }

    /// Adds a record; records of other kinds are ignored.
    pub(super) fn add(&mut self, record: SeriesRecord, points: &Points<'_>) {
        match (self, record) {
            (Self::CircuitTenSeconds(instances, sums), SeriesRecord::Sample(sample)) => {
                sums.add(&sample, points);
                instances.add(sample);
            }
            (Self::CircuitFiveMinutes(sums), SeriesRecord::Sample(sample)) => {
                sums.add(&sample, points);
            }
            (Self::RedMinute(minutes, sums), SeriesRecord::Red(minute)) => {
                minutes.add(&minute);
                sums.add(&minute, points);
            }
            (Self::RedFiveMinutes(sums), SeriesRecord::Red(minute)) => sums.add(&minute, points),
            (Self::DependencyMinute(edges), SeriesRecord::Dependency(edge)) => edges.add(edge),
            _ => {}
        }
    }

    /// Writes the points of the window that begins at `start`.
    pub(super) fn write(&self, start: UnixNanos, thresholds: &Thresholds, points: &mut Points<'_>) {
        match self {
            Self::CircuitTenSeconds(instances, sums) => {
                instances.write(start, points);
                sums.write(&CIRCUIT_10S, start, thresholds, points);
            }
            Self::CircuitFiveMinutes(sums) => sums.write(&CIRCUIT_5M, start, thresholds, points),
            Self::RedMinute(minutes, sums) => {
                minutes.write(start.get(), points);
                sums.write_services(&RED_SERVICE, start.get(), points);
            }
            Self::RedFiveMinutes(sums) => {
                sums.write_operations(&RED_5M, start.get(), points);
                sums.write_services(&RED_SERVICE_5M, start.get(), points);
            }
            Self::DependencyMinute(edges) => edges.write(start.get(), points),
        }
    }
}

fn quantiles<'a>(
    point: Fields<'a>,
    latency: &LatencyHistogram,
    quantiles: &[(&'static str, f64)],
) -> Fields<'a> {
    quantiles.iter().fold(point, |point, (key, share)| {
        match latency.quantile(*share) {
            Some(duration) => point.count(key, nanos(duration)),
            None => point,
        }
    })
}
