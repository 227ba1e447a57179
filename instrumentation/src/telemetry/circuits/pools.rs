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

/// Creates a request with pools; their counts start at `start`, or with the pool if that was later.
pub(super) fn request(
    resource: &Resource,
    pools: &[IsolationPool],
    start: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let snapshots: Vec<_> = pools.iter().map(IsolationPool::snapshot).collect();
    let (start, now) = (unix_nanos(start), unix_nanos(now));
    let counted = |pool: &PoolSnapshot, attributes, value| NumberDataPoint {
        start_time_unix_nano: start.max(unix_nanos(pool.created)),
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
                .map(|pool| counted(pool, name(pool), figure(pool)));
            sum(metric, description, unit, points.collect())
        });
    let callers = callers(pools, &snapshots, counted);
    let metrics: Vec<_> = gauges.chain(sums).chain(callers).collect();
    request_of(resource, metrics)
}

/// Returns the breakers whose calls each pool runs, with the number of refused calls.
fn callers(
    pools: &[IsolationPool],
    snapshots: &[PoolSnapshot],
    counted: impl Fn(&PoolSnapshot, Vec<KeyValue>, u64) -> NumberDataPoint,
) -> Option<Metric> {
    let of_pool = |(pool, snapshot): (&IsolationPool, &PoolSnapshot)| {
        let callers = pool.callers().into_iter();
        let points = callers.map(|(breaker, refused)| {
            let pool = text(semconv::POOL_NAME, pool.key());
            let names = vec![pool, text(semconv::BREAKER_NAME, &*breaker)];
            counted(snapshot, names, refused)
        });
        points.collect::<Vec<_>>()
    };
    let points = pools.iter().zip(snapshots).flat_map(of_pool).collect();
    let description = "Calls of a breaker that its pool refused";
    sum(semconv::POOL_CALLER_REJECTED, description, "{call}", points)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    use super::*;
    use crate::circuit_breaker::{CircuitBreaker, PoolSettings, Registry};

    /// Guarantees: the counts of a pool start when it was created, unless the export began later; so a pool made long after
    /// its process loses no count.
    #[tokio::test]
    async fn counts_start_with_their_pool() {
        let registry = Registry::new();
        let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
        let pool = registry.pool("warehouse", PoolSettings::default()).unwrap();
        let _done = pool.call(&breaker, async { Ok::<_, ()>(()) }).await;
        let created = pool.snapshot().created;
        let starts_of = |start: SystemTime| {
            let pools = [pool.clone()];
            let request = request(&Resource::default(), &pools, start, SystemTime::now());
            let metrics = request.resource_metrics[0].scope_metrics[0].metrics.clone();
            let sums = metrics.into_iter().filter_map(|metric| match metric.data? {
                Data::Sum(sum) => Some(sum.data_points[0].start_time_unix_nano),
                _ => None,
            });
            sums.collect::<Vec<_>>()
        };
        let minute = Duration::from_secs(60);
        let (before, later) = (created - minute, created + minute);
        assert_eq!(starts_of(before), [unix_nanos(created); 4]);
        assert_eq!(starts_of(later), [unix_nanos(later); 4]);
    }
}
