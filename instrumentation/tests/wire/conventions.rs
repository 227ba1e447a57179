//! The types of everything that is exported: each attribute that `fusebox` sets is compared with its type in the
//! semantic conventions, on real spans, metrics, events and resources as a receiver decodes them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::any;
use fusebox::circuit_breaker::{CircuitBreaker, Override, OverrideKind, Registry, Settings};
use fusebox::http::client::{Target, TracedClient};
use fusebox::http::server::TraceLayer;
use fusebox::resilience::{self, RateLimiter, Retry};
use fusebox::{Telemetry, semconv};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};

use crate::sink::{Received, Sink, serve};
use crate::{block_on, config};

/// The types in use; no attribute is a double or a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Type {
    Text,
    Integer,
    Bool,
}

use Type::{Bool, Integer, Text};

/// `https://opentelemetry.io/docs/specs/semconv/registry/attributes/` and the page below it.
const HTTP: &str = "registry/attributes/http";
const URL: &str = "registry/attributes/url";
const SERVER: &str = "registry/attributes/server";
const CLIENT: &str = "registry/attributes/client";
const PEER: &str = "registry/attributes/peer";
const RPC: &str = "registry/attributes/rpc";
const NETWORK: &str = "registry/attributes/network";
const USER_AGENT: &str = "registry/attributes/user-agent";
const ERROR: &str = "registry/attributes/error";
const SERVICE: &str = "registry/attributes/service";
const HOST: &str = "registry/attributes/host";
const PROCESS: &str = "registry/attributes/process";
const TELEMETRY: &str = "registry/attributes/telemetry";
/// Not in the conventions: the types that `fusebox::semconv` states.
const OURS: &str = "fusebox::semconv";

/// Every attribute that the crate sets, its type and where the type is stated.
const ATTRIBUTES: [(&str, Type, &str); 43] = [
    ("service.name", Text, SERVICE),
    ("service.instance.id", Text, SERVICE),
    ("host.name", Text, HOST),
    ("process.pid", Integer, PROCESS),
    ("telemetry.sdk.name", Text, TELEMETRY),
    ("telemetry.sdk.language", Text, TELEMETRY),
    ("telemetry.sdk.version", Text, TELEMETRY),
    ("http.request.method", Text, HTTP),
    ("http.request.method_original", Text, HTTP),
    ("http.request.resend_count", Integer, HTTP),
    ("http.response.status_code", Integer, HTTP),
    ("http.route", Text, HTTP),
    ("url.full", Text, URL),
    ("url.scheme", Text, URL),
    ("url.path", Text, URL),
    ("url.query", Text, URL),
    ("server.address", Text, SERVER),
    ("server.port", Integer, SERVER),
    ("client.address", Text, CLIENT),
    ("peer.service", Text, PEER),
    ("network.protocol.version", Text, NETWORK),
    ("user_agent.original", Text, USER_AGENT),
    ("rpc.response.status_code", Text, RPC),
    ("error.type", Text, ERROR),
    ("circuit_breaker.name", Text, OURS),
    ("circuit_breaker.group", Text, OURS),
    ("circuit_breaker.state", Text, OURS),
    ("circuit_breaker.outcome", Text, OURS),
    ("circuit_breaker.fallback", Text, OURS),
    ("circuit_breaker.probe", Bool, OURS),
    ("circuit_breaker.from", Text, OURS),
    ("circuit_breaker.to", Text, OURS),
    ("circuit_breaker.reason", Text, OURS),
    ("circuit_breaker.open_until", Integer, OURS),
    ("circuit_breaker.settings", Text, OURS),
    ("circuit_breaker.settings.origins", Text, OURS),
    ("circuit_breaker.override.kind", Text, OURS),
    ("circuit_breaker.override.reason", Text, OURS),
    ("circuit_breaker.override.expires", Integer, OURS),
    ("resilience.policy.kind", Text, OURS),
    ("resilience.policy.name", Text, OURS),
    ("resilience.policy.event", Text, OURS),
    ("resilience.attempt", Integer, OURS),
];

/// Every metric that the crate sends: its unit, its kind, and whether its numbers are integers.
const METRICS: [(&str, &str, &str); 9] = [
    (semconv::CALL_DURATION, "s", "exponential histogram"),
    (semconv::STATE, "1", "gauge of integers"),
    (semconv::INFLIGHT, "{call}", "gauge of integers"),
    (semconv::FALLBACKS, "{fallback}", "sum of integers"),
    (semconv::POLICY_EVENTS, "{event}", "sum of integers"),
    (semconv::POLICY_AVAILABLE, "{permit}", "gauge of integers"),
    (semconv::POLICY_WAITING, "{call}", "gauge of integers"),
    (
        "http.server.request.duration",
        "s",
        "histogram of the conventions' bounds",
    ),
    (
        "http.client.request.duration",
        "s",
        "histogram of the conventions' bounds",
    ),
];

/// Answers with the failure that the client requests.
async fn broken() -> http::StatusCode {
    http::StatusCode::INTERNAL_SERVER_ERROR
}

/// Answers as gRPC does.
async fn unavailable() -> [(&'static str, &'static str); 1] {
    [("grpc-status", "14")]
}

/// Requests that set every attribute of the HTTP layers, the last one behind policies.
async fn make_requests(url: &str, policies: &resilience::Registry) {
    let client = TracedClient::new().with_target(Target::default().named("broken"));
    let brew = http::Method::from_bytes(b"BREW").unwrap();
    for method in [http::Method::GET, brew] {
        let request = client.request(method, format!("{url}/broken?page=2"));
        let answer = request.header("user-agent", "test").send().await.unwrap();
        assert_eq!(answer.status(), 500);
    }
    let limiter = RateLimiter::builder("grpc").registry(policies).build();
    let retry = Retry::builder("grpc").registry(policies).build();
    let mut attempts = 0;
    let request = || {
        attempts += 1;
        // The first attempt fails before it sends anything.
        let is_sent = attempts > 1 && limiter.try_acquire().is_ok();
        let request = is_sent.then(|| client.get(format!("{url}/grpc")));
        async { request.ok_or(())?.send().await.map_err(drop) }
    };
    retry.call(request).await.unwrap();
}

/// Opens a breaker, lets a probe close it, uses a fallback and forces a state.
async fn use_breaker(breaker: &CircuitBreaker) {
    let fails = async || Err::<(), &str>("out of stock");
    let succeeds = async || Ok::<(), &str>(());
    breaker.call(fails()).await.unwrap_err();
    // Refused until the open time is over, then a probe.
    while breaker.call(succeeds()).await.is_err() {
        tokio::task::yield_now().await;
    }
    let command = breaker.command().run(fails);
    let answer = command.fallback(|_| succeeds()).execute().await;
    assert!(answer.is_ok(), "the fallback answers");
    breaker.force(Override {
        kind: OverrideKind::ForcedOpen,
        reason: "maintenance".into(),
        expires: Some(SystemTime::now() + Duration::from_secs(3600)),
    });
}

fn all_attributes(received: &Received) -> Vec<&KeyValue> {
    let spans = received.spans.iter().flat_map(|(_, span)| {
        let events = span.events.iter().flat_map(|event| &event.attributes);
        span.attributes.iter().chain(events)
    });
    let points = received
        .metrics
        .iter()
        .flat_map(|(_, metric)| points(metric));
    let logs = received.logs.iter().flat_map(|(_, log)| &log.attributes);
    spans
        .chain(points)
        .chain(logs)
        .chain(&received.resources)
        .collect()
}

fn points(metric: &Metric) -> Vec<&KeyValue> {
    match metric.data.as_ref().unwrap() {
        Data::ExponentialHistogram(data) => data
            .data_points
            .iter()
            .flat_map(|p| &p.attributes)
            .collect(),
        Data::Histogram(data) => data
            .data_points
            .iter()
            .flat_map(|p| &p.attributes)
            .collect(),
        Data::Gauge(data) => data
            .data_points
            .iter()
            .flat_map(|p| &p.attributes)
            .collect(),
        Data::Sum(data) => data
            .data_points
            .iter()
            .flat_map(|p| &p.attributes)
            .collect(),
        other => panic!("a kind of metric that nothing here makes: {other:?}"),
    }
}

fn type_of(attribute: &KeyValue) -> Type {
    let value = attribute.value.as_ref().and_then(|any| any.value.as_ref());
    match value {
        Some(Value::StringValue(_)) => Text,
        Some(Value::IntValue(_)) => Integer,
        Some(Value::BoolValue(_)) => Bool,
        other => panic!("{}: unexpected type {other:?}", attribute.key),
    }
}

fn kind_of(metric: &Metric) -> &'static str {
    let all_integers = |points: &[opentelemetry_proto::tonic::metrics::v1::NumberDataPoint]| {
        let mut values = points.iter().map(|point| &point.value);
        values.all(|value| matches!(value, Some(Number::AsInt(_))))
    };
    match metric.data.as_ref().unwrap() {
        Data::ExponentialHistogram(_) => "exponential histogram",
        Data::Histogram(histogram) if has_bounds_of_http(histogram) => {
            "histogram of the conventions' bounds"
        }
        Data::Gauge(gauge) if all_integers(&gauge.data_points) => "gauge of integers",
        Data::Sum(sum) if all_integers(&sum.data_points) => "sum of integers",
        other => panic!("{}: unexpected numbers {other:?}", metric.name),
    }
}

fn has_bounds_of_http(histogram: &opentelemetry_proto::tonic::metrics::v1::Histogram) -> bool {
    let bounds = [
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ];
    let mut points = histogram.data_points.iter();
    points.all(|point| point.explicit_bounds == bounds)
}

/// Sets all attributes and waits until everything in both tables has arrived.
fn receive<T>(read: impl Fn(&Received) -> T) -> T {
    let (sink, endpoint) = Sink::start();
    let (registry, policies) = (Registry::new(), resilience::Registry::new());
    let config = config("page", &endpoint)
        .with_registry(&registry)
        .with_policies(&policies);
    let page = Telemetry::start(&config).unwrap();
    let settings = Settings {
        minimum_calls: 1,
        open_duration: Duration::from_millis(1),
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("stock").registry(&registry);
    let breaker = builder.settings(settings).build();
    let router = Router::new()
        .route("/broken", any(broken))
        .route("/grpc", any(unavailable));
    let address = serve(page.dispatch().clone(), router.layer(TraceLayer::new()));
    block_on(&page, async {
        make_requests(&format!("http://{address}"), &policies).await;
        use_breaker(&breaker).await;
    });
    drop(page);
    sink.wait_for("attributes and metrics of the tables", |received| {
        let all = all_attributes(received).into_iter();
        let keys: BTreeSet<&str> = all.map(|attribute| attribute.key.as_str()).collect();
        let has_metric = |name| {
            received
                .metrics
                .iter()
                .any(|(_, metric)| metric.name == name)
        };
        let is_complete = ATTRIBUTES.iter().all(|(key, ..)| keys.contains(key))
            && METRICS.iter().all(|(name, ..)| has_metric(*name));
        is_complete.then(|| read(received))
    })
}

/// Guarantees: an attribute fails the test if it is not in the table, if it has another type, or if nothing sets it.
#[test]
fn every_attribute_has_the_type_of_the_conventions() {
    let seen = receive(|received| {
        let all = all_attributes(received).into_iter();
        all.map(|attribute| (attribute.key.clone(), type_of(attribute)))
            .collect::<BTreeSet<_>>()
    });
    let table: BTreeMap<_, _> = ATTRIBUTES.iter().map(|row| (row.0, row)).collect();
    assert_eq!(table.len(), ATTRIBUTES.len(), "each key stands there once");
    for (key, found) in seen {
        let Some((_, expected, source)) = table.get(key.as_str()) else {
            panic!("{key} is not in the table: look its type up and add it");
        };
        assert_eq!(found, *expected, "{key} according to {source}");
    }
}

#[test]
fn every_metric_has_its_unit_and_kind() {
    let seen = receive(|received| {
        let metrics = received.metrics.iter().map(|(_, metric)| metric);
        metrics
            .map(|metric| (metric.name.clone(), metric.unit.clone(), kind_of(metric)))
            .collect::<BTreeSet<_>>()
    });
    let table = METRICS.map(|(name, unit, kind)| (name.to_owned(), unit.to_owned(), kind));
    assert_eq!(seen, BTreeSet::from(table));
}

/// Guarantees: durations are distinguished by method, route and status, the errors by their type, and never by a path.
#[test]
fn durations_have_few_series() {
    let (server, client) = receive(|received| {
        let series = |name: &str| {
            let found = received
                .metrics
                .iter()
                .find(|(_, metric)| metric.name == name);
            let Some(Data::Histogram(data)) = &found.unwrap().1.data else {
                panic!("durations are a histogram");
            };
            let series = data.data_points.iter().map(|point| {
                let keys = [
                    "http.request.method",
                    "http.route",
                    "http.response.status_code",
                    "error.type",
                ];
                let values = keys.map(|key| crate::sink::text(&point.attributes, key));
                (values.join(" "), point.count)
            });
            series.collect::<BTreeMap<_, _>>()
        };
        (
            series("http.server.request.duration"),
            series("http.client.request.duration"),
        )
    });
    let expected = |rows: [&str; 3]| rows.map(|row| (row.to_owned(), 1)).into_iter().collect();
    let rows = [
        "GET /broken 500 500",
        "_OTHER /broken 500 500",
        "GET /grpc 200 UNAVAILABLE",
    ];
    assert_eq!(server, expected(rows));
    let rows = ["GET  500 500", "_OTHER  500 500", "GET  200 UNAVAILABLE"];
    assert_eq!(client, expected(rows));
}
