//! Figures of made calls.

use super::*;
use crate::model::{MINUTE, UnixNanos};

fn call(nanos: u64) -> Exemplar {
    Exemplar::new([1; 16], nanos, 0)
}

#[test]
fn each_bucket_remembers_its_latest_call() {
    let mut red = Red::default();
    let (id, _) = red.operation(SHOP, "buy", SpanKind::Server);
    for (trace, nanos) in [(1, 1_000), (2, 2_000_000), (3, 900), (4, u64::MAX)] {
        red.count(id, 1, Exemplar::new([trace; 16], nanos, 7), false);
    }
    let totals = red.totals();
    let known = totals[0].exemplars.iter().enumerate();
    let known: Vec<_> = known
        .filter_map(|(bucket, call)| Some((bucket, call.as_ref()?.trace_id[0])))
        .collect();
    assert_eq!(known, [(0, 3), (1, 2), (BUCKETS - 1, 4)]);
}

const SHOP: NodeId = NodeId(1);

#[test]
fn calls_and_errors_are_counted_by_operation_and_minute() {
    let mut red = Red::default();
    let (buy, _) = red.operation(SHOP, "GET /buy", SpanKind::Server);
    red.count(buy, 10, call(5_000_000), false);
    red.count(buy, 11, call(5_000_000), true);
    let (stats, operations) = red.service(SHOP, 11, 60.0);
    assert_eq!((stats.calls, stats.errors), (1, 1));
    assert_eq!(red.service(SHOP, 10, 60.0).0.calls, 2);
    assert_eq!(operations[0].name, "GET /buy");
    let p50 = stats.p50_nanos.unwrap() as f64;
    assert!((p50 / 5e6 - 1.0).abs() < 0.05);
}

#[test]
fn operations_past_the_bound_are_counted_as_the_rest() {
    let mut red = Red::default();
    for n in 0..3_000 {
        let (id, _) = red.operation(SHOP, &format!("GET /{n}"), SpanKind::Server);
        red.count(id, 1, call(1_000), false);
    }
    let (stats, operations) = red.service(SHOP, 0, 60.0);
    assert_eq!(stats.calls, 3_000);
    assert_eq!(operations.len(), OPERATIONS_PER_SERVICE_MAX + 1);
    assert_eq!(operations[0].name, OTHER);
    assert_eq!(operations[0].red.calls, 2_000);
}

#[test]
fn an_hour_is_kept() {
    let mut red = Red::default();
    let (id, _) = red.operation(SHOP, "job", SpanKind::Internal);
    (0..200).for_each(|minute| red.count(id, minute, call(1), false));
    assert_eq!(red.service(SHOP, 0, 60.0).0.calls, MINUTES as u64 + 1);
    assert_eq!(red.totals()[0].total.calls, 200);
    let complete = red.minutes(SHOP, 199);
    assert!(complete.len() == MINUTES && complete.iter().all(|minute| minute.calls == 1));
}

/// *Guarantees*: the minutes of an hour are in their order, with idle ones, those of an earlier run, and all operations, but
/// without the current one, which would look like a fall of traffic.
#[test]
fn an_hour_of_a_service_is_in_minutes() {
    let mut red = Red::default();
    let (buy, _) = red.operation(SHOP, "buy", SpanKind::Server);
    let (sell, _) = red.operation(SHOP, "sell", SpanKind::Server);
    for (id, minute, failed) in [
        (buy, 139, true),
        (buy, 140, true),
        (sell, 140, false),
        (buy, 200, false),
    ] {
        red.count(id, minute, call(1), failed);
    }
    let (other, _) = red.operation(NodeId(2), "buy", SpanKind::Server);
    red.count(other, 199, call(1), true);
    let earlier = RedMinute {
        service: "shop".to_owned(),
        operation: "buy".to_owned(),
        minute: UnixNanos::of_window(199, MINUTE),
        calls: 7,
        errors: 2,
        latency_buckets: Vec::new(),
    };
    red.restore(SHOP, 199, &earlier);
    let minutes = red.minutes(SHOP, 200);
    let busy: Vec<_> = minutes
        .iter()
        .enumerate()
        .filter(|(_, minute)| minute.calls > 0)
        .collect();
    let of = |calls, errors| MinuteCalls { calls, errors };
    assert_eq!(
        (minutes.len(), busy),
        (60, vec![(0, &of(2, 1)), (59, &of(7, 2))])
    );
    assert_eq!(
        red.minutes(NodeId(9), 200),
        vec![MinuteCalls::default(); 60]
    );
}
