//! Metrics of resilience4j's policies, with the names and tags of its module `resilience4j-micrometer`.

use opentelemetry_proto::tonic::metrics::v1::Metric;

use super::mapping_tests::{counter, point};
use super::request::{gauge, metric, metrics, observed, resource};
use super::{Figure, PolicyReport, Reading};

/// Gauges by their names with dots, with what they are read as.
const GAUGES: [(&str, &str, &str); 8] = [
    (
        "bulkhead.available.concurrent.calls",
        "bulkhead",
        "available",
    ),
    ("bulkhead.max.allowed.concurrent.calls", "bulkhead", "limit"),
    ("bulkhead.active.thread.count", "pool", "active"),
    ("bulkhead.max.thread.pool.size", "pool", "size"),
    ("bulkhead.queue.depth", "pool", "queued"),
    ("bulkhead.queue.capacity", "pool", "queue_limit"),
    (
        "ratelimiter.available.permissions",
        "rate_limiter",
        "available",
    ),
    ("ratelimiter.waiting_threads", "rate_limiter", "waiting"),
];
/// Counters by name and `kind`.
const COUNTERS: [(&str, &str, &str, &str); 7] = [
    (
        "retry.calls",
        "successful_without_retry",
        "retry",
        "succeeded",
    ),
    (
        "retry.calls",
        "successful_with_retry",
        "retry",
        "succeeded_after_retry",
    ),
    ("retry.calls", "failed_without_retry", "retry", "failed"),
    (
        "retry.calls",
        "failed_with_retry",
        "retry",
        "failed_after_retry",
    ),
    (
        "timelimiter.calls",
        "successful",
        "time_limiter",
        "succeeded",
    ),
    ("timelimiter.calls", "failed", "time_limiter", "failed"),
    ("timelimiter.calls", "timeout", "time_limiter", "timed_out"),
];

fn number(report: &PolicyReport) -> u64 {
    match report.reading {
        Reading::Value(value) | Reading::Window(value, _) => value,
        Reading::Count { count, .. } => count,
    }
}

fn shown(report: &PolicyReport) -> (&str, &str, &str, u64) {
    let figure = match &report.figure {
        Figure::Now(word) | Figure::Count(word) => word,
        Figure::Caller(name) => name.as_str(),
    };
    (report.id.kind, &report.id.name, figure, number(report))
}

fn read(all: Vec<Metric>) -> Vec<PolicyReport> {
    let batch = observed(&metrics(resource("shop", None), all));
    assert_eq!((batch.ignored_points, batch.refused_points), (0, 0));
    batch.policies
}

#[test]
fn each_of_its_policies_is_read_by_both_names() {
    for is_prometheus in [false, true] {
        let named = |name: &str| match is_prometheus {
            true => format!("resilience4j_{}", name.replace('.', "_")),
            false => format!("resilience4j.{name}"),
        };
        for (name, kind, word) in GAUGES {
            let data = gauge(vec![point(&[("name", "stock")], 7.0)]);
            let reports = read(vec![metric(&named(name), data)]);
            assert_eq!(
                reports.iter().map(shown).collect::<Vec<_>>(),
                [(kind, "stock", word, 7)]
            );
        }
        for (name, end, kind, word) in COUNTERS {
            let total = if is_prometheus { "_total" } else { "" };
            let points = vec![point(&[("name", "stock"), ("kind", end)], 9.0)];
            let reports = read(vec![counter(&format!("{}{total}", named(name)), points)]);
            assert_eq!(
                reports.iter().map(shown).collect::<Vec<_>>(),
                [(kind, "stock", word, 9)]
            );
        }
    }
}

/// *Scenario*: a rate limiter has reserved permits of later periods, so that fewer than none are available.
#[test]
fn reserved_permits_are_none() {
    let data = gauge(vec![point(&[("name", "stock")], -3.0)]);
    let reports = read(vec![metric(
        "resilience4j.ratelimiter.available.permissions",
        data,
    )]);
    assert_eq!(number(&reports[0]), 0);
}

/// Guarantees: two replicas that name no instance are distinguished, for gauges too.
#[test]
fn replicas_are_distinguished_by_when_they_started() {
    let of = |start: u64| {
        let mut calls = point(&[("name", "stock"), ("kind", "failed_with_retry")], 1.0);
        calls.start_time_unix_nano = start;
        let free = point(&[("name", "stock")], 2.0);
        let bulkhead = "resilience4j.bulkhead.available.concurrent.calls";
        let all = vec![
            metric(bulkhead, gauge(vec![free])),
            counter("resilience4j.retry.calls", vec![calls]),
        ];
        let reports = read(all);
        assert_eq!(reports[0].instance, reports[1].instance);
        reports[0].instance.clone()
    };
    let (first, second) = (of(1_795_397_630_222_000_000), of(1_795_397_630_223_000_000));
    assert!(
        first.starts_with("started ") && first != second,
        "{first} {second}"
    );
}
