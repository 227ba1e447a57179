//! Metrics of other libraries as their exporters and OpenTelemetry's Prometheus receiver send them.

use fusebox::circuit_breaker::{EffectiveState, Outcome};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data, number_data_point,
};

use prost::Message;

use super::request::{gauge, metric, metrics, resource, text};
use super::*;

const NOW: u64 = 1_795_397_646_702_000_000;
const START: u64 = 1_795_397_630_222_000_000;

pub(super) fn point(attributes: &[(&str, &str)], value: f64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes
            .iter()
            .map(|(key, value)| text(key, value))
            .collect(),
        start_time_unix_nano: START,
        time_unix_nano: NOW,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    }
}

pub(super) fn counter(name: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    let sum = Sum {
        data_points,
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    metric(name, Data::Sum(sum))
}

fn request(all: Vec<Metric>) -> ExportMetricsServiceRequest {
    metrics(resource("shop", Some("shop-1")), all)
}

fn only(batch: &MetricsBatch) -> &Observation {
    match &batch.observations[..] {
        [observation] => observation,
        others => panic!("{others:?}"),
    }
}

fn counts(observation: &Observation) -> Vec<(Count, u64)> {
    let counts = observation.counts.iter();
    counts.map(|count| (count.what, count.count)).collect()
}

/// Its `failure` has timeouts and calls without a slot too.
#[test]
fn opossum_counts_events() {
    let events = [
        ("fire", 19.0),
        ("success", 10.0),
        ("failure", 5.0),
        ("timeout", 2.0),
        ("reject", 4.0),
        ("fallback", 3.0),
        ("open", 1.0),
        ("halfOpen", 0.0),
    ];
    let points = |(event, value)| point(&[("name", "stock"), ("event", event)], value);
    for name in ["circuit", "circuit_breaker_counter"] {
        let metric = counter(name, events.map(points).to_vec());
        let batch =
            decode_metrics(&request(vec![metric]).encode_to_vec(), &Mapping::shipped()).unwrap();
        let observation = only(&batch);
        assert_eq!(observation.key.name, "stock");
        assert_eq!(observation.source, Source::Opossum);
        assert_eq!(observation.instance, "shop-1");
        let expected = [
            (Count::Outcome(Outcome::Success), 10),
            (Count::Outcome(Outcome::Failure), 5),
            (Count::Outcome(Outcome::Rejected), 4),
            (Count::Fallback { answered: true }, 3),
            (Count::Entered(EffectiveState::Open), 1),
            (Count::Entered(EffectiveState::HalfOpen), 0),
        ];
        assert_eq!(counts(observation), expected, "{name}");
        let points = (
            batch.circuit_points,
            batch.ignored_points,
            batch.refused_points,
        );
        assert_eq!(points, (6, 2, 0), "{name}");
    }
}

/// As Micrometer's registry for Prometheus names them, and OpenTelemetry's receiver passes them on.
#[test]
fn resilience4j_is_read_as_prometheus_writes_it() {
    let state = |word, value| point(&[("name", "stock"), ("state", word)], value);
    let states = [("closed", 0.0), ("half_open", 1.0), ("open", 0.0)];
    let calls = |kind: &str, count| HistogramDataPoint {
        attributes: vec![text("name", "stock"), text("kind", kind)],
        start_time_unix_nano: START,
        time_unix_nano: NOW,
        count,
        explicit_bounds: vec![0.1],
        bucket_counts: vec![count, 0],
        ..HistogramDataPoint::default()
    };
    let calls = Data::Histogram(Histogram {
        data_points: vec![calls("successful", 8), calls("failed", 2)],
        aggregation_temporality: 2,
    });
    let of_name = |value| gauge(vec![point(&[("name", "stock")], value)]);
    let r4j = |name: &str| format!("resilience4j_circuitbreaker_{name}");
    let all = vec![
        metric(
            &r4j("state"),
            gauge(states.map(|(word, value)| state(word, value)).to_vec()),
        ),
        metric(&r4j("calls_seconds"), calls),
        counter(
            &r4j("not_permitted_calls_total"),
            vec![point(&[("name", "stock")], 3.0)],
        ),
        metric(&r4j("failure_rate"), of_name(20.0)),
        metric(&r4j("slow_call_rate"), of_name(-1.0)),
        metric(&r4j("buffered_calls"), of_name(10.0)),
    ];
    let batch = decode_metrics(&request(all).encode_to_vec(), &Mapping::shipped()).unwrap();
    let observation = only(&batch);
    assert_eq!(observation.source, Source::Resilience4j);
    assert_eq!(observation.state, Some(EffectiveState::HalfOpen));
    let expected = [
        (Count::Outcome(Outcome::Success), 8),
        (Count::Outcome(Outcome::Failure), 2),
        (Count::Outcome(Outcome::Rejected), 3),
    ];
    assert_eq!(counts(observation), expected);
    assert_eq!(observation.counts[0].latency.buckets().len(), 1);
    let window = observation.own_window.unwrap();
    assert_eq!(window.failure_percent, Some(20.0));
    assert_eq!((window.slow_percent, window.calls), (None, Some(10)));
    assert_eq!((batch.refused_points, batch.ignored_points), (0, 0));
}

/// Maps the metrics below.
const OF_USERS: &str = r#"{"metrics": [
            {"metric": "shop_breaker_state", "library": "gobreaker", "breaker": ["name"],
             "state": {"numbers": {"0": "closed", "1": "half_open", "2": "open"}}},
            {"metric": "shop_breaker_requests_total", "library": "gobreaker", "breaker": ["name"],
             "counts": {"attribute": "result", "words": {"ok": "success", "error": "failure", "open": "rejected"}}},
            {"metric": "python.breaker.state", "library": "pybreaker", "breaker": ["breaker"],
             "state": {"attribute": "state"}},
            {"metric": "failsafe.state", "library": "failsafe-go", "breaker": ["policy"],
             "state": {"numbers": {"0": "closed", "1": "open", "2": "half_open"}}},
            {"metric": "failsafe.failure_rate", "library": "failsafe-go", "breaker": ["policy"], "gauge": "failure_ratio"},
            {"metric": "sentinel_state", "library": "sentinel", "breaker": ["resource"],
             "state": {"attribute": "state", "words": {"BROKEN": "open"}}},
            {"metric": "sentinel_concurrency", "library": "sentinel", "breaker": ["resource"], "gauge": "in_flight"},
            {"metric": "sentinel_blocked", "library": "sentinel", "breaker": ["resource"], "counts": {"all": "rejected"}}
        ]}"#;

fn metrics_of_users() -> Vec<Metric> {
    let result = |word, value| point(&[("name", "stock"), ("result", word)], value);
    vec![
        metric(
            "shop_breaker_state",
            gauge(vec![point(&[("name", "stock")], 1.0)]),
        ),
        counter(
            "shop_breaker_requests",
            vec![result("ok", 7.0), result("open", 2.0), result("retry", 1.0)],
        ),
        metric(
            "python_breaker_state",
            gauge(vec![
                point(&[("breaker", "pay"), ("state", "half-open")], 0.0),
                point(&[("breaker", "pay"), ("state", "open")], 1.0),
            ]),
        ),
        metric(
            "failsafe.state",
            gauge(vec![point(&[("policy", "mail")], 1.0)]),
        ),
        metric(
            "failsafe.failure_rate",
            gauge(vec![point(&[("policy", "mail")], 0.25)]),
        ),
        metric(
            "sentinel_state",
            gauge(vec![point(
                &[("resource", "GET:/buy"), ("state", "BROKEN")],
                1.0,
            )]),
        ),
        metric(
            "sentinel_concurrency",
            gauge(vec![point(&[("resource", "GET:/buy")], 4.0)]),
        ),
        counter(
            "sentinel_blocked_total",
            vec![point(&[("resource", "GET:/buy")], 9.0)],
        ),
    ]
}

/// *Scenario*: metrics that users' listeners of pybreaker, gobreaker and failsafe-go keep, which number states each in its
/// own way, and Sentinel's of a resource.
/// *Guarantees*: the file says what they mean.
#[test]
fn a_file_maps_what_has_no_exporter_of_its_own() {
    let mapping = Mapping::read(OF_USERS).unwrap();
    let batch = decode_metrics(&request(metrics_of_users()).encode_to_vec(), &mapping).unwrap();
    assert_eq!((batch.refused_points, batch.ignored_points), (0, 1));
    let of = |name: &str| {
        let mut all = batch.observations.iter();
        all.find(|observation| observation.key.name == name)
            .unwrap()
    };
    let stock = of("stock");
    assert_eq!(stock.source, Source::Gobreaker);
    assert_eq!(stock.state, Some(EffectiveState::HalfOpen));
    let expected = [
        (Count::Outcome(Outcome::Success), 7),
        (Count::Outcome(Outcome::Rejected), 2),
    ];
    assert_eq!(counts(stock), expected);
    let (pay, mail, buy) = (of("pay"), of("mail"), of("GET:/buy"));
    assert_eq!(
        (pay.source, pay.state),
        (Source::Pybreaker, Some(EffectiveState::Open))
    );
    assert_eq!(
        (mail.source, mail.state),
        (Source::FailsafeGo, Some(EffectiveState::Open))
    );
    assert_eq!(mail.own_window.unwrap().failure_percent, Some(25.0));
    assert_eq!(
        (buy.source, buy.state),
        (Source::Sentinel, Some(EffectiveState::Open))
    );
    assert_eq!(buy.in_flight, Some(4));
    assert_eq!(counts(buy), [(Count::Outcome(Outcome::Rejected), 9)]);
}

#[test]
fn a_state_in_an_attribute_needs_no_file_and_a_number_does() {
    let states = vec![
        point(&[("circuit_name", "pay"), ("state", "CLOSED")], 0.0),
        point(&[("circuit_name", "pay"), ("state", "OPEN")], 1.0),
        point(&[("name", "stock")], 1.0),
        point(&[("circuit_name", "pay"), ("state", "melted")], 1.0),
    ];
    let entered = vec![point(
        &[("circuit_name", "pay"), ("new_state", "open")],
        2.0,
    )];
    let all = vec![
        metric("circuit_breaker_state", gauge(states)),
        counter("circuit_breaker_state_transition_total", entered),
    ];
    let batch = decode_metrics(&request(all).encode_to_vec(), &Mapping::shipped()).unwrap();
    let observation = only(&batch);
    assert_eq!(observation.source, Source::Other);
    assert_eq!(observation.state, Some(EffectiveState::Open));
    assert_eq!(
        counts(observation),
        [(Count::Entered(EffectiveState::Open), 2)]
    );
    assert_eq!((batch.ignored_points, batch.refused_points), (1, 1));
}

/// *Guarantees*: a file replaces what ships with the collector for the metrics that it names, and nothing else.
#[test]
fn what_a_file_says_of_a_metric_counts() {
    let mapping = Mapping::read(
        r#"{"metrics": [{"metric": "circuit", "breaker": ["name"], "counts": {"all": "success"}}]}"#,
    )
    .unwrap();
    let event = point(&[("name", "stock"), ("event", "failure")], 5.0);
    let state = point(&[("name", "stock"), ("state", "open")], 1.0);
    let all = vec![
        counter("circuit_total", vec![event]),
        metric("resilience4j_circuitbreaker_state", gauge(vec![state])),
    ];
    let batch = decode_metrics(&request(all).encode_to_vec(), &mapping).unwrap();
    let sources: Vec<_> = batch.observations.iter().map(|one| one.source).collect();
    assert_eq!(sources, [Source::Other, Source::Resilience4j]);
    assert_eq!(
        counts(&batch.observations[0]),
        [(Count::Outcome(Outcome::Success), 5)]
    );
}

#[test]
fn what_cannot_work_is_refused_with_a_sentence() {
    let entry =
        |rest: &str| format!(r#"{{"metrics": [{{"metric": "m", "breaker": ["name"], {rest}}}]}}"#);
    for (json, says) in [
        ("[".to_owned(), "line 1 column"),
        (r#"{"metric": []}"#.to_owned(), "unknown field `metric`"),
        (entry(r#""gauge": "calls""#), "unknown variant `calls`"),
        (
            entry(r#""counts": {"all": "won"}"#),
            "unknown variant `won`",
        ),
        (
            entry(r#""state": {"numbers": {"0": "ajar"}}"#),
            "unknown variant `ajar`",
        ),
        (
            entry(r#""library": "istio", "gauge": "in_flight""#),
            "metric 1 (m): library: must be one of resilience4j, opossum",
        ),
        (
            entry(r#""library": "fusebox", "gauge": "in_flight""#),
            "library: must be one of",
        ),
        (entry(r#""where": []"#), "one of counts, state and gauge"),
        (
            entry(r#""gauge": "in_flight", "counts": {"all": "success"}"#),
            "one of counts, state and gauge",
        ),
        (
            entry(r#""counts": {"attribute": "event"}"#),
            "either all, or attribute and 1 to",
        ),
        (
            entry(r#""counts": {"all": "success", "attribute": "event"}"#),
            "either all, or attribute and 1 to",
        ),
        (
            entry(r#""state": {}"#),
            "either attribute, perhaps with words, or numbers",
        ),
        (
            entry(r#""state": {"numbers": {"half": "open"}}"#),
            "numbers must be whole",
        ),
        (
            entry(r#""gauge": "in_flight""#)
                .replace("\"m\"", "\"resilience4j.circuitbreaker.state\""),
            "read without a mapping",
        ),
        (
            entry(r#""gauge": "in_flight""#).replace("[\"name\"]", "[]"),
            "must name 1 to 16 attributes",
        ),
    ] {
        let refusal = Mapping::read(&json).unwrap_err().to_string();
        assert!(refusal.contains(says), "{json}: {refusal}");
    }
}
