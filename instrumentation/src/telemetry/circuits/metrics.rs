//! The counts of breakers as cumulative OTLP metrics.
//!
//! Every outcome is a data point of one exponential histogram. Calls that did not run to their end (refused, no slot,
//! cancelled) have no duration: they count in the zero bucket with a sum of 0, so that the counts of all outcomes add
//! up to all calls.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{identity, scope, text, unix_nanos};
use crate::circuit_breaker::{
    CircuitSnapshot, EffectiveState, FallbackOutcome, LatencyHistogram, Outcome,
};
use crate::semconv;

/// Creates a request with all breakers; their counts start at `start`, or at their creation if it was later.
pub(super) fn request(
    resource: &Resource,
    snapshots: &[CircuitSnapshot],
    start: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let points = Points {
        snapshots,
        start: unix_nanos(start),
        now: unix_nanos(now),
    };
    let mut metrics = vec![points.durations(), points.states(), points.in_flight()];
    metrics.extend(points.fallbacks());
    request_of(resource, metrics)
}

pub(super) fn request_of(resource: &Resource, metrics: Vec<Metric>) -> ExportMetricsServiceRequest {
    let scope_metrics = ScopeMetrics {
        scope: Some(scope()),
        metrics,
        ..ScopeMetrics::default()
    };
    let resource_metrics = ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest {
        resource_metrics: vec![resource_metrics],
    }
}

struct Points<'a> {
    snapshots: &'a [CircuitSnapshot],
    start: u64,
    now: u64,
}

impl Points<'_> {
    fn durations(&self) -> Metric {
        let outcomes = |snapshot| Outcome::ALL.map(|outcome| self.duration(snapshot, outcome));
        let data_points = self.snapshots.iter().flat_map(outcomes).flatten().collect();
        let data = Data::ExponentialHistogram(ExponentialHistogram {
            data_points,
            aggregation_temporality: AggregationTemporality::Cumulative.into(),
        });
        let description = "Duration of calls through a circuit breaker";
        metric(semconv::CALL_DURATION, description, "s", data)
    }

    /// Returns the data point of one outcome; `None` before the first call with it.
    fn duration(
        &self,
        snapshot: &CircuitSnapshot,
        outcome: Outcome,
    ) -> Option<ExponentialHistogramDataPoint> {
        let mut attributes = identity(&snapshot.name, &snapshot.group);
        attributes.push(text(semconv::BREAKER_OUTCOME, outcome.as_str()));
        attributes.extend(error_type(outcome).map(|error| text(semconv::ERROR_TYPE, error)));
        // The histogram's own count, because the total may be a call ahead of it.
        let latency = snapshot.latency.of(outcome);
        let count = latency.map_or(snapshot.calls.of(outcome), LatencyHistogram::count);
        let (offset, bucket_counts) = latency.map(LatencyHistogram::dense).unwrap_or_default();
        (count > 0).then(|| ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: self.start_of(snapshot),
            time_unix_nano: self.now,
            count,
            sum: Some(latency.map_or(0.0, LatencyHistogram::sum_seconds)),
            scale: LatencyHistogram::SCALE,
            zero_count: latency.map_or(count, |latency| latency.zero_count),
            zero_threshold: LatencyHistogram::ZERO_THRESHOLD_SECONDS,
            positive: Some(Buckets {
                offset,
                bucket_counts,
            }),
            ..ExponentialHistogramDataPoint::default()
        })
    }

    fn states(&self) -> Metric {
        let states = |snapshot: &CircuitSnapshot| {
            let (attributes, in_force) =
                (identity(&snapshot.name, &snapshot.group), snapshot.state);
            EffectiveState::ALL.map(|state| {
                let mut attributes = attributes.clone();
                attributes.push(text(semconv::BREAKER_STATE, state.as_str()));
                self.point(attributes, u64::from(state == in_force))
            })
        };
        let data_points = self.snapshots.iter().flat_map(states).collect();
        let data = Data::Gauge(Gauge { data_points });
        let description = "1 for the state of the circuit breaker, 0 for the others";
        metric(semconv::STATE, description, "1", data)
    }

    fn in_flight(&self) -> Metric {
        let point = |snapshot: &CircuitSnapshot| {
            self.point(
                identity(&snapshot.name, &snapshot.group),
                snapshot.in_flight,
            )
        };
        let data_points = self.snapshots.iter().map(point).collect();
        let data = Data::Gauge(Gauge { data_points });
        metric(semconv::INFLIGHT, "Calls that are running", "{call}", data)
    }

    /// Returns `None` until a fallback was called.
    fn fallbacks(&self) -> Option<Metric> {
        let outcomes = |snapshot: &CircuitSnapshot| {
            let (attributes, totals) = (
                identity(&snapshot.name, &snapshot.group),
                snapshot.fallbacks,
            );
            FallbackOutcome::ALL.map(|outcome| {
                let mut attributes = attributes.clone();
                attributes.push(text(semconv::FALLBACK_OUTCOME, outcome.as_str()));
                let count = totals.of(outcome);
                (count > 0).then(|| NumberDataPoint {
                    start_time_unix_nano: self.start_of(snapshot),
                    ..self.point(attributes, count)
                })
            })
        };
        let data_points: Vec<_> = self.snapshots.iter().flat_map(outcomes).flatten().collect();
        let description = "Fallbacks by outcome";
        sum(semconv::FALLBACKS, description, "{fallback}", data_points)
    }

    /// Returns when the counts of a breaker started: after an eviction or replacement they start again at zero.
    fn start_of(&self, snapshot: &CircuitSnapshot) -> u64 {
        self.start.max(unix_nanos(snapshot.created))
    }

    fn point(&self, attributes: Vec<KeyValue>, value: u64) -> NumberDataPoint {
        point(attributes, value, self.now)
    }
}

/// Creates an integer data point.
pub(super) fn point(attributes: Vec<KeyValue>, value: u64, now: u64) -> NumberDataPoint {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    NumberDataPoint {
        attributes,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

/// Creates a gauge; `None` if there are no points.
pub(super) fn gauge(
    name: &str,
    description: &str,
    unit: &str,
    data_points: Vec<NumberDataPoint>,
) -> Option<Metric> {
    let is_empty = data_points.is_empty();
    let data = Data::Gauge(Gauge { data_points });
    (!is_empty).then(|| metric(name, description, unit, data))
}

/// Creates a cumulative monotonic sum; `None` if there are no points.
pub(super) fn sum(
    name: &str,
    description: &str,
    unit: &str,
    data_points: Vec<NumberDataPoint>,
) -> Option<Metric> {
    let is_empty = data_points.is_empty();
    let data = Data::Sum(Sum {
        data_points,
        aggregation_temporality: AggregationTemporality::Cumulative.into(),
        is_monotonic: true,
    });
    (!is_empty).then(|| metric(name, description, unit, data))
}

pub(super) fn metric(name: &str, description: &str, unit: &str, data: Data) -> Metric {
    Metric {
        name: name.to_owned(),
        description: description.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

/// Returns the `error.type` that the breaker counts; the type of a failure is only on its span.
fn error_type(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Rejected => Some(semconv::ERROR_TYPE_CIRCUIT_OPEN),
        Outcome::BulkheadFull => Some(semconv::ERROR_TYPE_BULKHEAD_FULL),
        Outcome::Timeout => Some(semconv::ERROR_TYPE_TIMEOUT),
        Outcome::Failure => Some("_OTHER"),
        Outcome::Success | Outcome::Ignored | Outcome::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::circuit_breaker::{
        CircuitBreaker, Outcome, Override, OverrideKind, Registry, Settings, State,
    };

    /// Returns the states whose series is 1, and the number of series.
    fn states_in_force(breaker: &CircuitBreaker) -> (Vec<String>, usize) {
        let (snapshots, now) = ([breaker.snapshot()], SystemTime::now());
        let request = request(&Resource::default(), &snapshots, now, now);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let states = metrics.iter().find(|metric| metric.name == semconv::STATE);
        let Some(Data::Gauge(states)) = &states.unwrap().data else {
            panic!("it is a gauge");
        };
        let state = |point: &NumberDataPoint| {
            let mut attributes = point.attributes.iter();
            let state = attributes.find(|one| one.key == semconv::BREAKER_STATE);
            format!("{:?}", state.unwrap().value.as_ref().unwrap().value)
        };
        let in_force = states
            .data_points
            .iter()
            .filter(|point| point.value == Some(number_data_point::Value::AsInt(1)));
        (in_force.map(state).collect(), states.data_points.len())
    }

    /// Guarantees: of the series of the states exactly one is 1, that of the state in force, whatever happens.
    #[test]
    fn exactly_one_state_is_one() {
        let settings = Settings {
            minimum_calls: 1,
            ..Settings::default()
        };
        let builder = CircuitBreaker::builder("stock").registry(&Registry::new());
        let breaker = builder.settings(settings).build();
        let check = |expected: &str| {
            let (states, series) = states_in_force(&breaker);
            assert_eq!(series, EffectiveState::ALL.len());
            let [state] = &states[..] else {
                panic!("{states:?}")
            };
            assert!(state.contains(&format!("{expected:?}")), "{state}");
        };
        check("closed");
        let call = breaker.try_acquire().unwrap();
        call.record(Outcome::Failure, Duration::ZERO);
        check("open");
        breaker.transition_to(State::HalfOpen, "test");
        check("half_open");
        for (kind, state) in [
            (OverrideKind::ForcedOpen, "forced_open"),
            (OverrideKind::ForcedClosed, "forced_closed"),
            (OverrideKind::Disabled, "disabled"),
            (OverrideKind::MetricsOnly, "metrics_only"),
        ] {
            breaker.force(Override {
                kind,
                reason: "test".to_owned(),
                expires: None,
            });
            check(state);
        }
        breaker.release();
        check("half_open");
    }

    /// Guarantees: the counts of a breaker start when it was created, unless the export began later.
    #[test]
    fn counts_start_with_their_breaker() {
        let registry = Registry::new();
        let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
        drop(breaker.try_acquire());
        let snapshot = breaker.snapshot();
        let start_of = |start: SystemTime| {
            let snapshots = [snapshot.clone()];
            let request = request(&Resource::default(), &snapshots, start, SystemTime::now());
            let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
            match metrics[0].data.as_ref().unwrap() {
                Data::ExponentialHistogram(counts) => counts.data_points[0].start_time_unix_nano,
                other => panic!("{other:?}"),
            }
        };
        let minute = Duration::from_secs(60);
        let (created, later) = (snapshot.created, snapshot.created + minute);
        assert_eq!(start_of(created - minute), unix_nanos(created));
        assert_eq!(start_of(later), unix_nanos(later));
    }
}
