//! The figures of isolation pools as OTLP metrics: running and waiting calls, and cumulative totals.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::metrics::{gauge, point, request_of, sum};
use super::{text, unix_nanos};
use crate::circuit_breaker::{IsolationPool, PoolSnapshot};
use crate::semconv;

/// A metric of a pool: its name, description and unit, and the function that reads it.
type Figure = (
    &'static str,
    &'static str,
    &'static str,
    fn(&PoolSnapshot) -> u64,
);

const GAUGES: [Figure; 5] = [
    (
        semconv::POOL_ACTIVE,
        "Calls that workers of the pool run",
        "{call}",
        |pool| pool.active.into(),
    ),
    (
        semconv::POOL_QUEUED,
        "Calls that wait for a worker",
        "{call}",
        |pool| pool.queued.into(),
    ),
    (
        semconv::POOL_SIZE,
        "Workers that the pool may have",
        "{worker}",
        |pool| pool.settings.core_size.into(),
    ),
    (
        semconv::POOL_LARGEST,
        "The most workers that the pool has had at once",
        "{worker}",
        |pool| pool.largest.into(),
    ),
    (
        semconv::POOL_QUEUE_LIMIT,
        "Calls that may wait for a worker",
        "{call}",
        |pool| pool.settings.queue_limit().into(),
    ),
];

const SUMS: [Figure; 3] = [
    (
        semconv::POOL_EXECUTED,
        "Calls that a worker took",
        "{call}",
        |pool| pool.executed,
    ),
    (
        semconv::POOL_COMPLETED,
        "Calls that ended, or whose caller gave them up",
        "{call}",
        |pool| pool.completed,
    ),
    (
        semconv::POOL_REJECTED,
        "Calls that the pool refused",
        "{call}",
        |pool| pool.rejected,
    ),
];

/// Creates a request with pools; their counts start at `start`, or with the pool, at zero.
pub(super) fn request(
    resource: &Resource,
    pools: &[IsolationPool],
    start: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let snapshots: Vec<_> = pools.iter().map(IsolationPool::snapshot).collect();
    let (start, now) = (unix_nanos(start), unix_nanos(now));
    let counted = |attributes, value| NumberDataPoint {
        start_time_unix_nano: start,
        ..point(attributes, value, now)
    };
    let name = |pool: &PoolSnapshot| vec![text(semconv::POOL_NAME, &*pool.key)];
    let gauges = GAUGES
        .iter()
        .filter_map(|(metric, description, unit, figure)| {
            let points = snapshots
                .iter()
                .map(|pool| point(name(pool), figure(pool), now));
            gauge(metric, description, unit, points.collect())
        });
    let sums = SUMS
        .iter()
        .filter_map(|(metric, description, unit, figure)| {
            let points = snapshots
                .iter()
                .map(|pool| counted(name(pool), figure(pool)));
            sum(metric, description, unit, points.collect())
        });
    let metrics: Vec<_> = gauges.chain(sums).chain(callers(pools, counted)).collect();
    request_of(resource, metrics)
}

/// Returns the breakers whose calls each pool runs, with the number of refused calls.
fn callers(
    pools: &[IsolationPool],
    counted: impl Fn(Vec<KeyValue>, u64) -> NumberDataPoint,
) -> Option<Metric> {
    let of_pool = |pool: &IsolationPool| {
        let callers = pool.callers().into_iter();
        let points = callers.map(|(breaker, refused)| {
            let pool = text(semconv::POOL_NAME, pool.key());
            counted(vec![pool, text(semconv::BREAKER_NAME, &*breaker)], refused)
        });
        points.collect::<Vec<_>>()
    };
    let points = pools.iter().flat_map(of_pool).collect();
    let description = "Calls of a breaker that its pool refused";
    sum(semconv::POOL_CALLER_REJECTED, description, "{call}", points)
}
