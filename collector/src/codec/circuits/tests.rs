//! Requests of each library, and requests of no library at all.

use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, Outcome, SettingOrigin};
use fusebox::semconv;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogram, ExponentialHistogramDataPoint, Histogram, HistogramDataPoint, Metric,
    NumberDataPoint, Sum, exponential_histogram_data_point::Buckets, metric::Data,
    number_data_point,
};
use proptest::prelude::*;
use prost::Message;

use super::request::{
    FakeBreaker, events, gauge, int, logs, metric, metrics, micrometer, observed, resource, text,
};
use super::*;
use crate::codec::otlp::write;

const NOW: u64 = 1_795_397_646_702_000_000;
const START: u64 = 1_795_397_630_222_000_000;

fn counts(observation: &Observation) -> Vec<(Count, u64)> {
    observation
        .counts
        .iter()
        .map(|c| (c.what, c.count))
        .collect()
}

#[test]
fn a_fusebox_request_is_one_observation_per_breaker() {
    let mut breaker = FakeBreaker::new("a", START);
    breaker.count("success", -30, 40);
    breaker.count("timeout", 0, 2);
    breaker.count("rejected", -200, 9);
    breaker.state = EffectiveState::Open;
    breaker.in_flight = 3;
    let batch = observed(&breaker.metrics(NOW));
    assert_eq!((batch.circuit_points, batch.refused_points), (11, 0));
    let [observation] = &batch.observations[..] else {
        panic!("{batch:?}");
    };
    assert_eq!(observation.key.service, "product-page");
    assert_eq!(observation.key.name, "inventory");
    assert_eq!(observation.instance, "a");
    assert_eq!(observation.state, Some(EffectiveState::Open));
    assert_eq!(observation.in_flight, Some(3));
    let expected = [
        (Count::Outcome(Outcome::Rejected), 9),
        (Count::Outcome(Outcome::Success), 40),
        (Count::Outcome(Outcome::Timeout), 2),
    ];
    assert_eq!(counts(observation), expected);
    // A refused call did not run: its duration says nothing of the callee.
    assert!(observation.counts[0].latency.buckets().is_empty());
    assert_eq!(observation.counts[1].latency.buckets(), [(-30, 40)]);
}

#[test]
fn micrometer_spreads_one_breaker_over_many_metrics() {
    let batch = observed(&micrometer("open", (50, 7, 25.0), START, NOW));
    assert_eq!((batch.ignored_points, batch.refused_points), (1, 0));
    let [observation] = &batch.observations[..] else {
        panic!("{batch:?}");
    };
    assert_eq!(observation.key.name, "stock");
    assert_eq!(observation.source, Source::Resilience4j);
    assert_eq!(observation.state, Some(EffectiveState::Open));
    // Replicas name no instance: the start of their counts tells them apart.
    assert_eq!(observation.instance, "started 2026-11-23T01:33:50.222Z");
    let expected = [
        (Count::Outcome(Outcome::Success), 50),
        (Count::Outcome(Outcome::Failure), 7),
        (Count::Outcome(Outcome::Rejected), 25),
        (Count::Outcome(Outcome::Ignored), 0),
    ];
    assert_eq!(counts(observation), expected);
}

#[test]
fn explicit_bounds_in_milliseconds_become_seconds() {
    let point = HistogramDataPoint {
        attributes: vec![text("name", "stock"), text("kind", "successful")],
        count: 10,
        explicit_bounds: vec![10.0, 100.0, 1000.0],
        bucket_counts: vec![0, 9, 1, 0],
        ..HistogramDataPoint::default()
    };
    let mut calls = metric(
        "resilience4j.circuitbreaker.calls",
        Data::Histogram(Histogram {
            data_points: vec![point],
            aggregation_temporality: 2,
        }),
    );
    calls.unit = "ms".to_owned();
    let batch = observed(&metrics(resource("shop", None), vec![calls]));
    let latency = &batch.observations[0].counts[0].latency;
    let median = latency.quantile(0.5).unwrap().as_nanos() as f64;
    assert!((median / 31_600_000.0 - 1.0).abs() < 0.05, "{median}");
}

#[test]
fn polly_names_the_states_it_entered() {
    let event = |name: &str, count| NumberDataPoint {
        attributes: vec![
            text("event.name", name),
            text("pipeline.name", "stock"),
            text("strategy.name", "breaker"),
        ],
        value: Some(number_data_point::Value::AsInt(count)),
        ..NumberDataPoint::default()
    };
    let sum = Sum {
        data_points: vec![event("OnCircuitOpened", 2), event("OnRetry", 9)],
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let events = metric("resilience.polly.strategy.events", Data::Sum(sum));
    let batch = observed(&metrics(resource("shop", Some("1")), vec![events]));
    assert_eq!((batch.circuit_points, batch.ignored_points), (1, 1));
    let observation = &batch.observations[0];
    assert_eq!(observation.key.name, "stock/breaker");
    assert_eq!(
        counts(observation),
        [(Count::Entered(EffectiveState::Open), 2)]
    );
}

#[test]
fn what_cannot_be_believed_is_refused_and_counted() {
    let point = |attributes, value| NumberDataPoint {
        attributes,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let long = "x".repeat(300);
    let name = || text("name", "stock");
    let points = vec![
        point(vec![name()], f64::NAN),
        point(vec![name()], -1.0),
        point(vec![name()], f64::INFINITY),
        point(vec![name()], 1e300),
        point(vec![], 1.0),
        point(vec![text("name", &long)], 1.0),
        point(vec![int("name", 3)], 1.0),
        point(vec![name()], 4.0),
    ];
    let sum = Sum {
        data_points: points,
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let refused = metric(
        "resilience4j.circuitbreaker.not.permitted.calls",
        Data::Sum(sum),
    );
    let state = point(vec![name(), text("state", "molten")], 1.0);
    let state = metric("resilience4j.circuitbreaker.state", gauge(vec![state]));
    let batch = observed(&metrics(resource("shop", None), vec![refused, state]));
    assert_eq!((batch.circuit_points, batch.refused_points), (1, 8));
}

#[test]
fn a_transition_carries_its_call_and_its_end() {
    let mut breaker = FakeBreaker::new("a", START);
    let request = breaker.turn(EffectiveState::Open, NOW, "52 % of 118 calls failed");
    let batch = events(&request);
    let [transition] = &batch.transitions[..] else {
        panic!("{batch:?}");
    };
    assert_eq!(transition.from, EffectiveState::Closed);
    assert_eq!(transition.to, EffectiveState::Open);
    assert_eq!(transition.reason, "52 % of 118 calls failed");
    let open_until = UnixNanos::new(NOW + 5_000_000_000);
    assert_eq!(transition.open_until, Some(open_until));
    assert_eq!(transition.trace_id.unwrap().to_string(), "07".repeat(16));
}

#[test]
fn settings_are_read_from_their_document() {
    let breaker = FakeBreaker::new("a", START);
    let settings = fusebox::circuit_breaker::Settings {
        slow_call_duration: Some(Duration::from_micros(1_500)),
        open_duration_factor: 2.0,
        open_duration_max: Some(Duration::from_secs(60)),
        open_duration_jitter_percent: 20.0,
        automatic_half_open: true,
        half_open_max_duration: Some(Duration::from_secs(90)),
        probe_lease: Duration::from_secs(20),
        timeout: None,
        fallback_max_concurrent: 7,
        ..fusebox::circuit_breaker::Settings::default()
    };
    let document = serde_json::to_string(&settings).unwrap();
    let batch = events(&breaker.settings(NOW, &document));
    let [report] = &batch.settings[..] else {
        panic!("{batch:?}");
    };
    let expected = CircuitSettings {
        group: String::new(),
        window_ms: Some(10_000),
        window_buckets: Some(10),
        window_calls: None,
        minimum_calls: Some(20),
        failure_rate_percent: Some(50.0),
        slow_call_rate_percent: Some(100.0),
        slow_call_duration_ms: Some(2),
        count_unfinished_slow_calls: Some(true),
        open_duration_ms: Some(5_000),
        open_duration_factor: Some(2.0),
        open_duration_max_ms: Some(60_000),
        open_duration_jitter_percent: Some(20.0),
        automatic_half_open: Some(true),
        half_open_max_duration_ms: Some(90_000),
        half_open_probes: Some(1),
        probe_lease_ms: Some(20_000),
        timeout_ms: None,
        max_concurrent: Some(10),
        fallback_max_concurrent: Some(7),
        bulkhead_full_is_failure: Some(false),
        origins: None,
    };
    assert_eq!(report.settings, expected);
    assert_eq!(report.forced, None);
    let broken = events(&breaker.settings(NOW, "{"));
    assert_eq!(broken.refused_records, 1);
    let other = events(&logs(resource("shop", None), LogRecord::default()));
    assert_eq!(other, LogsBatch::default());
}

/// Guarantees: a setting unknown to this build is ignored, and one unknown to the sender is not read as its
/// default.
#[test]
fn settings_of_other_builds_are_read() {
    let breaker = FakeBreaker::new("a", START);
    let document = r#"{"minimum_calls": 7, "added_later": {"secs": 1},
        "window": {"count": {"calls": 30, "added_later": true}}}"#;
    let batch = events(&breaker.settings(NOW, document));
    assert_eq!(batch.settings[0].settings.minimum_calls, Some(7));
    assert_eq!(batch.settings[0].settings.window_calls, Some(30));
    assert_eq!(batch.settings[0].settings.bulkhead_full_is_failure, None);
}

/// Guarantees: where settings come from is read, without what a newer library added.
#[test]
fn origins_of_settings_are_read() {
    let origins = r#"{"timeout": "code", "minimum_calls": "common_properties", "window": "added_later", "added_later": "code"}"#;
    let record = LogRecord {
        event_name: semconv::EVENT_SETTINGS.to_owned(),
        attributes: vec![
            text(semconv::BREAKER_NAME, "stock"),
            text(semconv::SETTINGS, "{}"),
            text(semconv::SETTINGS_ORIGINS, origins),
        ],
        ..LogRecord::default()
    };
    let batch = events(&logs(resource("shop", None), record));
    let expected = [
        ("minimum_calls", SettingOrigin::CommonProperties),
        ("timeout", SettingOrigin::Code),
    ];
    let expected = expected.map(|(name, origin)| (name.to_owned(), origin));
    assert_eq!(batch.settings[0].settings.origins, Some(expected.into()));
}

fn any_text() -> impl Strategy<Value = String> {
    let words = [
        "",
        "name",
        "kind",
        "state",
        "successful",
        "failed",
        "open",
        "success",
        "rejected",
        "event.name",
        "OnCircuitOpened",
        "pipeline.name",
        "service.name",
        "service.instance.id",
        "circuit_breaker.name",
        "circuit_breaker.outcome",
        "circuit_breaker.state",
        "circuit_breaker.group",
        "circuit_breaker.fallback",
    ];
    prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn any_attributes() -> impl Strategy<Value = Vec<opentelemetry_proto::tonic::common::v1::KeyValue>>
{
    prop::collection::vec(
        prop_oneof![
            3 => (any_text(), any_text()).prop_map(|(key, value)| text(&key, &value)),
            1 => (any_text(), any::<i64>()).prop_map(|(key, value)| int(&key, value)),
        ],
        0..5,
    )
}

fn any_data() -> impl Strategy<Value = Data> {
    let number = (any_attributes(), any::<f64>(), any::<[u64; 2]>()).prop_map(|(a, value, t)| {
        NumberDataPoint {
            attributes: a,
            start_time_unix_nano: t[0],
            time_unix_nano: t[1],
            value: Some(number_data_point::Value::AsDouble(value)),
            ..NumberDataPoint::default()
        }
    });
    let histogram = (
        any_attributes(),
        any::<u64>(),
        prop::collection::vec(any::<f64>(), 0..4),
        prop::collection::vec(any::<u64>(), 0..5),
    )
        .prop_map(
            |(attributes, count, explicit_bounds, bucket_counts)| HistogramDataPoint {
                attributes,
                count,
                explicit_bounds,
                bucket_counts,
                ..HistogramDataPoint::default()
            },
        );
    let exponential = (
        any_attributes(),
        any::<[u64; 2]>(),
        prop_oneof![-12..22_i32, any::<i32>()],
        any::<i32>(),
        prop::collection::vec(any::<u64>(), 0..5),
        any::<f64>(),
    )
        .prop_map(
            |(attributes, [count, zero], scale, offset, bucket_counts, threshold)| {
                ExponentialHistogramDataPoint {
                    attributes,
                    count,
                    zero_count: zero,
                    zero_threshold: threshold,
                    scale,
                    positive: Some(Buckets {
                        offset,
                        bucket_counts,
                    }),
                    ..ExponentialHistogramDataPoint::default()
                }
            },
        );
    prop_oneof![
        prop::collection::vec(number, 0..8).prop_map(gauge),
        (prop::collection::vec(histogram, 0..8), any::<i32>()).prop_map(|(data_points, kind)| {
            Data::Histogram(Histogram {
                data_points,
                aggregation_temporality: kind,
            })
        }),
        (prop::collection::vec(exponential, 0..8), 0..3_i32).prop_map(|(data_points, kind)| {
            Data::ExponentialHistogram(ExponentialHistogram {
                data_points,
                aggregation_temporality: kind,
            })
        }),
    ]
}

/// Any request whose metrics have names of circuits.
pub(crate) fn any_request() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let names = [
        "fusebox.circuit_breaker.call.duration",
        "fusebox.circuit_breaker.state",
        "fusebox.circuit_breaker.inflight",
        "fusebox.circuit_breaker.fallbacks",
        "resilience4j.circuitbreaker.calls",
        "resilience4j.circuitbreaker.state",
        "resilience4j.circuitbreaker.not.permitted.calls",
        "resilience.polly.strategy.events",
        "jvm.info",
    ];
    let one = (prop::sample::select(names.to_vec()), any_text(), any_data());
    let one = one.prop_map(|(name, unit, data)| {
        let mut metric = metric(name, data);
        metric.unit = unit;
        metric
    });
    (any_text(), prop::collection::vec(one, 0..6))
        .prop_map(|(service, list)| metrics(resource(&service, Some("1")), list))
}

fn points_of(metric: &Metric) -> u64 {
    let points = match metric.data.as_ref() {
        Some(Data::Gauge(data)) => data.data_points.len(),
        Some(Data::Sum(data)) => data.data_points.len(),
        Some(Data::Histogram(data)) => data.data_points.len(),
        Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
        Some(Data::Summary(data)) => data.data_points.len(),
        None => 0,
    };
    points as u64
}

/// *Scenario*: an encoder writes every message from its last field to the first, and numbers one by one.
/// *Guarantees*: nothing depends on the order of fields.
#[test]
fn fields_may_come_in_any_order() {
    let attribute = |out: &mut Vec<u8>, field, key: &str, value: &str| {
        write::message(out, field, |out| {
            write::message(out, 2, |out| write::bytes(out, 1, value.as_bytes()));
            write::bytes(out, 1, key.as_bytes());
        });
    };
    let mut request = Vec::new();
    write::message(&mut request, 1, |out| {
        write::message(out, 2, |out| {
            write::message(out, 2, |out| {
                write::message(out, 10, |out| {
                    write::varint(out, 2, 1);
                    write::message(out, 1, |out| {
                        write::message(out, 8, |out| {
                            for count in [3, 0, 4] {
                                write::varint(out, 2, count);
                            }
                            write::varint(out, 1, 3);
                        });
                        write::varint(out, 6, 6);
                        write::fixed64(out, 4, 7);
                        write::fixed64(out, 3, NOW);
                        attribute(out, 1, "circuit_breaker.outcome", "success");
                        attribute(out, 1, "circuit_breaker.name", "stock");
                    });
                });
                write::bytes(out, 3, b"s");
                write::bytes(out, 1, b"fusebox.circuit_breaker.call.duration");
            });
        });
        write::message(out, 1, |out| attribute(out, 1, "service.name", "shop"));
    });
    let batch = decode_metrics(&request, &Mapping::shipped()).unwrap();
    let [observation] = &batch.observations[..] else {
        panic!("{batch:?}");
    };
    let name = (&*observation.key.service, &*observation.key.name);
    assert_eq!((name, observation.time.get()), (("shop", "stock"), NOW));
    let [count] = &observation.counts[..] else {
        panic!("{observation:?}");
    };
    assert_eq!((count.count, count.temporality), (7, Temporality::Delta));
    assert_eq!(count.latency.buckets(), [(-2, 3), (0, 4)]);
}

/// *Guarantees*: a request of made-up breakers is refused before it takes a multiple of its bytes in memory; metrics of
/// nothing that is known are passed over, however many points they have.
#[test]
fn what_a_request_becomes_is_bounded() {
    let state = |breakers: u32| {
        let point = |number: u32| NumberDataPoint {
            attributes: vec![
                text("circuit_breaker.name", &number.to_string()),
                text("circuit_breaker.state", "closed"),
            ],
            value: Some(number_data_point::Value::AsInt(1)),
            ..NumberDataPoint::default()
        };
        let data = gauge((0..breakers).map(point).collect());
        metrics(
            resource("shop", None),
            vec![metric("fusebox.circuit_breaker.state", data)],
        )
    };
    assert_eq!(observed(&state(30_000)).observations.len(), 30_000);
    assert!(decode_metrics(&state(40_000).encode_to_vec(), &Mapping::shipped()).is_err());
    let other = gauge(vec![NumberDataPoint::default(); 1 << 17]);
    let other = metrics(resource("shop", None), vec![metric("jvm.info", other)]);
    assert_eq!(observed(&other).ignored_points, 1 << 17);
}

proptest! {
    #[test]
    fn every_point_of_any_request_is_counted_once(request in any_request()) {
        let batch = observed(&request);
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let points: u64 = metrics.iter().map(points_of).sum();
        prop_assert_eq!(batch.circuit_points + batch.ignored_points + batch.refused_points, points);
        for count in batch.observations.iter().flat_map(|o| &o.counts) {
            prop_assert!(count.count <= MAX_COUNT);
        }
    }
}
