//! The counts of policies (retries, limiters, bulkheads, hedges) as cumulative OTLP metrics.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::metrics::{self, point, request_of};
use super::{text, unix_nanos};
use crate::resilience::{EventKind, Snapshot};
use crate::semconv;

/// Creates a request with all policies; their counts start at `start`, or at their creation if it was later.
pub(super) fn request(
    resource: &Resource,
    snapshots: &[Snapshot],
    start: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let now = unix_nanos(now);
    let gauge = |name, description, unit, value: fn(&Snapshot) -> Option<u64>| {
        let points = snapshots.iter().filter_map(|snapshot| {
            let value = value(snapshot)?;
            Some(point(identity(snapshot), value, now))
        });
        metrics::gauge(name, description, unit, points.collect())
    };
    let available = gauge(
        semconv::POLICY_AVAILABLE,
        "Permits, slots or extra attempts that are left",
        "{permit}",
        |snapshot| snapshot.available,
    );
    let limit = gauge(
        semconv::POLICY_LIMIT,
        "Slots of a bulkhead",
        "{slot}",
        |snapshot| snapshot.limit,
    );
    let waiting = gauge(
        semconv::POLICY_WAITING,
        "Calls that wait for a permit or a slot",
        "{call}",
        |snapshot| snapshot.waiting,
    );
    let counted = events(snapshots, unix_nanos(start), now);
    let metrics = counted
        .into_iter()
        .chain(available)
        .chain(limit)
        .chain(waiting);
    request_of(resource, metrics.collect())
}

/// Returns `None` until there is an event.
fn events(snapshots: &[Snapshot], start: u64, now: u64) -> Option<Metric> {
    let points = snapshots.iter().flat_map(|snapshot| {
        let start = start.max(unix_nanos(snapshot.created));
        let counted = EventKind::ALL.into_iter().filter_map(move |event| {
            let count = snapshot.count(event);
            (count > 0).then_some((event, count))
        });
        counted.map(move |(event, count)| {
            let mut attributes = identity(snapshot);
            attributes.push(text(semconv::POLICY_EVENT, event.as_str()));
            NumberDataPoint {
                start_time_unix_nano: start,
                ..point(attributes, count, now)
            }
        })
    });
    let description =
        "Events of retries, rate limiters, bulkheads, time limiters, hedges and caches";
    metrics::sum(
        semconv::POLICY_EVENTS,
        description,
        "{event}",
        points.collect(),
    )
}

fn identity(snapshot: &Snapshot) -> Vec<KeyValue> {
    vec![
        text(semconv::POLICY_KIND, snapshot.policy.as_str()),
        text(semconv::POLICY_NAME, &*snapshot.name),
    ]
}
