//! The routes against real pieces: spans through the walk into store and figures, circuits through OTLP.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use fusebox::circuit_breaker::Settings;
use fusebox::semconv;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

use super::*;
use crate::codec::circuits::{Mapping, decode_metrics, read_events};
use crate::codec::otlp::{Limits, Tee, json, read_logs, walk_traces};
use crate::codec::{Format, zipkin};
use crate::live::circuits::{CircuitSink, Circuits};
use crate::live::{Live, LiveTap, SpanTap};
use crate::model::{DAY, UnixNanos, nanos};
use crate::store::StoreError;
use crate::store::embedded::{self, EmbeddedOptions, EmbeddedStore, ShardWriter, SpanLog};
use crate::store::merged::with_influxdb_away;

/// 2026-11-23T10:00:00Z.
const NOW: u64 = 1_795_428_000_000_000_000;
const RANGE: &str = "start=2026-11-23T09:00:00Z&end=2026-11-23T11:00:00Z";

/// A collector without sockets.
pub(super) struct Fixture {
    pub(super) router: Router,
    pub(super) state: ApiState,
    circuits: Circuits,
    store: EmbeddedStore,
    writer: ShardWriter,
    tap: SpanTap,
    _dir: TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::with_retention(Duration::from_secs(7 * 24 * 3600))
    }

    /// Returns a collector whose InfluxDB, shared with other collectors, is unreachable. Must be called
    /// within a runtime.
    pub(super) fn with_influxdb_away() -> Self {
        let mut fixture = Self::new();
        let (store, log) = (&fixture.store, fixture.circuits.series());
        let (traces, series) = with_influxdb_away(store, log, fixture._dir.path());
        let live = fixture.state.query.live().clone();
        let query = QueryService::new(traces, fixture.circuits.clone(), live);
        fixture.state.query = query.with_others(series);
        fixture.router = router(fixture.state.clone());
        fixture
    }

    pub(super) fn with_retention(retention: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let counters = Arc::new(Counters::default());
        let options = EmbeddedOptions {
            dir: dir.path().to_owned(),
            retention,
            disk_budget_bytes: 1 << 30,
            shards: 1,
        };
        let (store, mut writers) = embedded::open(options, counters.clone()).unwrap();
        let circuits = Circuits::open(dir.path(), retention, counters.clone()).unwrap();
        let live = Live::new(circuits.clone(), counters.clone());
        let tap = live.span_tap();
        let query = QueryService::new(store.clone(), circuits.clone(), live);
        let state = ApiState::new(query, counters);
        Self {
            router: router(state.clone()),
            state,
            circuits,
            store,
            writer: writers.remove(0),
            tap,
            _dir: dir,
        }
    }

    /// Returns a collector with one request through a shop, whose spans were sent at `now`.
    pub(super) fn with_shop(now: u64) -> Self {
        let mut fixture = Self::new();
        fixture.receive(&shop(now), now);
        fixture
    }

    pub(super) fn receive(&mut self, request: &Value, now: u64) {
        let text = request.to_string();
        let (request, _) = json::traces_to_protobuf(text.as_bytes()).unwrap();
        self.writer.begin_request();
        self.tap.begin_request();
        let mut tee = Tee(&mut self.writer, &mut self.tap);
        walk_traces(&request, &Limits::default(), now, &mut tee).unwrap();
        self.writer.commit().unwrap();
        self.tap.publish(UnixNanos::new(now));
    }

    /// Takes in spans of Zipkin's JSON v2 that arrive at that time.
    pub(super) fn receive_zipkin(&mut self, spans: &Value, now: u64) {
        let format = Format::Zipkin(zipkin::Encoding::JsonV2);
        let text = spans.to_string();
        self.writer.begin_request();
        self.tap.begin_request();
        let mut tee = Tee(&mut self.writer, &mut self.tap);
        let limits = Limits::default();
        format
            .walk_spans(text.as_bytes(), &limits, now, &mut tee)
            .unwrap();
        self.writer.commit().unwrap();
        self.tap.publish(UnixNanos::new(now));
    }

    /// Lets so much time pass that no span waits for its other half any more.
    pub(super) fn settle(&mut self, now: u64) {
        self.tap
            .publish(UnixNanos::new(now) + Duration::from_secs(120));
    }

    /// Reports a breaker: its settings, calls of the last second, and its transition to open.
    pub(super) async fn trip(&self, now: u64) {
        let (logs, _) = json::logs_to_protobuf(breaker_logs(now).to_string().as_bytes()).unwrap();
        let (metrics, _) =
            json::metrics_to_protobuf(breaker_metrics(now).to_string().as_bytes()).unwrap();
        let metrics = decode_metrics(&metrics, &Mapping::shipped()).unwrap();
        self.circuits
            .ingest_metrics(metrics, UnixNanos::new(now))
            .await
            .unwrap();
        let now = UnixNanos::new(now);
        let read = read_logs(&logs, &Limits::default(), now).unwrap();
        self.circuits
            .ingest_events(read_events(&read.events), now)
            .await
            .unwrap();
    }

    pub(super) async fn get(&self, uri: &str) -> (StatusCode, String, String) {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let status = response.status();
        let content_type = response.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            content_type,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    pub(super) async fn json(&self, uri: &str) -> Value {
        let (status, content_type, body) = self.get(uri).await;
        assert_eq!(
            (status, content_type.as_str()),
            (StatusCode::OK, "application/json"),
            "{body}"
        );
        serde_json::from_str(&body).unwrap()
    }

    async fn problem(&self, uri: &str) -> Value {
        let (status, content_type, body) = self.get(uri).await;
        assert_eq!(content_type, "application/problem+json", "{uri}");
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["status"], status.as_u16());
        problem
    }
}

fn span(
    id: u64,
    parent: u64,
    name: &str,
    kind: u8,
    begin: u64,
    millis: u64,
    attributes: &[(&str, &str)],
) -> Value {
    let attributes: Vec<_> = attributes
        .iter()
        .map(|(key, value)| serde_json::json!({"key": key, "value": {"stringValue": value}}))
        .collect();
    let parent = if parent == 0 {
        String::new()
    } else {
        format!("{parent:016x}")
    };
    serde_json::json!({
        "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "spanId": format!("{id:016x}"),
        "parentSpanId": parent,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": begin.to_string(),
        "endTimeUnixNano": (begin + millis * 1_000_000).to_string(),
        "attributes": attributes,
        "status": if attributes.is_empty() { serde_json::json!({}) } else { serde_json::json!({"code": 2}) },
    })
}

/// A gateway whose breaker protects the product page; the product's database fails.
pub(super) fn shop(now: u64) -> Value {
    let resource = |service: &str, spans: Vec<Value>| {
        serde_json::json!({
            "resource": {"attributes": [
                {"key": "service.name", "value": {"stringValue": service}},
                {"key": "service.instance.id", "value": {"stringValue": format!("{service}-1")}},
            ]},
            "scopeSpans": [{"scope": {"name": "shop"}, "spans": spans}],
        })
    };
    let breaker = [
        ("circuit_breaker.name", "product"),
        ("circuit_breaker.state", "closed"),
        ("circuit_breaker.outcome", "failure"),
    ];
    serde_json::json!({"resourceSpans": [
        resource("gateway", vec![
            span(1, 0, "GET /product/{sku}", 2, now, 42, &[]),
            span(2, 1, "product", 1, now + 1_000_000, 40, &breaker),
            span(3, 2, "GET", 3, now + 2_000_000, 38, &[("url.full", "http://127.0.0.1:8081/product/7")]),
        ]),
        resource("product", vec![
            span(4, 3, "GET /product/{sku}", 2, now + 4_000_000, 30, &[("http.route", "/product/{sku}")]),
            span(5, 4, "SELECT", 3, now + 5_000_000, 20, &[("db.system", "postgresql"), ("db.name", "shop")]),
        ]),
    ]})
}

fn attributes(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| serde_json::json!({"key": key, "value": {"stringValue": value}}))
        .collect()
}

fn gateway() -> Value {
    serde_json::json!({"attributes": attributes(&[("service.name", "gateway"), ("service.instance.id", "gateway-1")])})
}

fn breaker_logs(now: u64) -> Value {
    let settings = serde_json::to_string(&Settings::default()).unwrap();
    let transition = attributes(&[
        ("circuit_breaker.name", "product"),
        ("circuit_breaker.group", "shop"),
        ("circuit_breaker.from", "closed"),
        ("circuit_breaker.to", "open"),
        (
            "circuit_breaker.reason",
            "60 % of 20 calls failed in 10 s (limit 50 %)",
        ),
    ]);
    let settings = attributes(&[
        ("circuit_breaker.name", "product"),
        ("circuit_breaker.group", "shop"),
        ("circuit_breaker.settings", &settings),
    ]);
    serde_json::json!({"resourceLogs": [{"resource": gateway(), "scopeLogs": [{"logRecords": [
        {"timeUnixNano": now.to_string(), "eventName": semconv::EVENT_SETTINGS, "attributes": settings},
        {"timeUnixNano": now.to_string(), "eventName": semconv::EVENT_TRANSITION, "attributes": transition,
         "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "0000000000000002"},
    ]}]}]})
}

fn breaker_metrics(now: u64) -> Value {
    let start = (now - 1_000_000_000).to_string();
    let point = |outcome: &str, count: u64| {
        serde_json::json!({
            "attributes": attributes(&[("circuit_breaker.name", "product"), ("circuit_breaker.group", "shop"), ("circuit_breaker.outcome", outcome)]),
            "startTimeUnixNano": start, "timeUnixNano": now.to_string(),
            "count": count.to_string(), "sum": 0.04 * count as f64, "scale": 3, "zeroCount": "0",
            "positive": {"offset": -38, "bucketCounts": [count.to_string()]},
            "negative": {},
        })
    };
    serde_json::json!({"resourceMetrics": [{"resource": gateway(), "scopeMetrics": [{"metrics": [{
        "name": semconv::CALL_DURATION, "unit": "s",
        "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [point("success", 8), point("failure", 12)]},
    }]}]}]})
}

#[tokio::test]
async fn a_circuit_is_shown_with_what_opened_it() {
    let now = UnixNanos::now().get();
    let fixture = Fixture::with_shop(now);
    fixture.trip(now).await;
    let wall = fixture.json("/api/circuits").await;
    assert_eq!(wall["live"], true);
    let view = fixture.json("/api/circuits/gateway/product").await;
    assert_eq!(wall["circuits"][0]["name"], view["name"]);
    for (field, value) in [
        ("service", "gateway"),
        ("state", "open"),
        ("target", "product"),
        ("last_opened_by", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("reason", "60 % of 20 calls failed in 10 s (limit 50 %)"),
    ] {
        assert_eq!(view[field], value, "{field}");
    }
    assert_eq!(view["instances"][0]["id"], "gateway-1");
    let before = fixture.json("/api/circuits?at=2020-01-01T00:00:00Z").await;
    assert_eq!(
        (&before["live"], &before["circuits"]),
        (&false.into(), &serde_json::json!([]))
    );
}

#[tokio::test]
async fn a_circuit_has_transitions_and_a_history() {
    let now = UnixNanos::now().get();
    let fixture = Fixture::new();
    fixture.trip(now).await;
    let transitions = fixture
        .json("/api/circuits/gateway/product/transitions?limit=5")
        .await;
    let transition = &transitions["transitions"][0];
    assert_eq!(
        (&transition["from"], &transition["to"]),
        (&"closed".into(), &"open".into())
    );
    assert_eq!(transition["span_id"], "0000000000000002");
    let (start, end) = (now - 60_000_000_000, now + 60_000_000_000);
    let history = fixture
        .json(&format!(
            "/api/circuits/gateway/product/history?start={start}&end={end}&buckets=12"
        ))
        .await;
    assert_eq!(history["buckets"].as_array().unwrap().len(), 12);
    assert!(!history["states"].as_array().unwrap().is_empty());
}

/// Scenario: a collector with a retention of 30 days has spans and a circuit that are 20 days old.
/// Guarantees: lists, searches and histories include them; the default range is the retention.
#[tokio::test]
async fn a_longer_retention_is_answered_as_well_as_kept() {
    let now = UnixNanos::now().get();
    let then = now - 20 * nanos(DAY);
    let mut fixture = Fixture::with_retention(Duration::from_secs(30 * 24 * 3600));
    fixture.receive(&shop(then), then);
    fixture.trip(then).await;
    let first = |answer: Value, list: &str| answer[list][0].clone();
    let circuit = "/api/circuits/gateway/product";
    let transitions = fixture.json(&format!("{circuit}/transitions")).await;
    assert_eq!(first(transitions, "transitions")["to"], "open");
    let history = fixture.json(&format!("{circuit}/history")).await;
    assert!(history["states"].as_array().unwrap().len() > 1);
    let wall = fixture
        .json(&format!("/api/circuits?at={}", then + 1))
        .await;
    assert_eq!(first(wall, "circuits")["name"], "product");
    let operations = fixture.json("/api/services/gateway/operations").await;
    assert_eq!(operations["operations"].as_array().unwrap().len(), 3);
    let range = format!("start={}&end={now}", now - 30 * nanos(DAY));
    let traces = fixture.json(&format!("/api/traces?{range}")).await;
    assert_eq!(first(traces, "traces")["root_service"], "gateway");
    let calls = fixture.json(&format!("/api/dependencies?{range}")).await;
    assert_eq!(first(calls, "dependencies")["child"], "product");
    let called = fixture
        .json("/zipkin/api/v2/remoteServices?serviceName=gateway")
        .await;
    assert_eq!(called, serde_json::json!(["product"]));
}

#[tokio::test]
async fn a_transition_is_streamed_at_once() {
    let fixture = Fixture::new();
    let request = Request::get("/api/stream?topics=transition")
        .body(Body::empty())
        .unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    let mut frames = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("fusebox") {
        text.push_str(std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap());
    }
    fixture.trip(UnixNanos::now().get()).await;
    while !text.contains("event: transition") {
        text.push_str(std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("\"to\":\"open\""), "{text}");
    assert!(!text.contains("event: stats"), "{text}");
}

/// Replaces values of the clock by fixed ones.
fn without_clock(mut value: Value) -> String {
    fn visit(value: &mut Value) {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    let is_clock = key.ends_with("seen_unix_nanos")
                        || key == "at_unix_nanos"
                        || key == "minutes"
                        || key == "calls_per_second";
                    match is_clock {
                        true => *value = Value::from("[clock]"),
                        false => visit(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(visit),
            _ => {}
        }
    }
    visit(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

#[tokio::test]
async fn a_search_finds_summaries() {
    let fixture = Fixture::with_shop(NOW);
    let page = fixture
        .json(&format!(
            "/api/traces?service=gateway&circuit=product&outcome=failure&{RANGE}"
        ))
        .await;
    insta::assert_snapshot!("search", without_clock(page));
    for nothing in [
        "service=mail",
        "min_duration=1s",
        "operation=x",
        "attribute=http.route%3D/other",
        "attribute=event:http.route",
        "kind=producer",
        "status=ok",
        "outcome=timeout",
        "error=false",
    ] {
        let page = fixture
            .json(&format!("/api/traces?{nothing}&{RANGE}"))
            .await;
        assert_eq!(page["traces"], serde_json::json!([]), "{nothing}");
    }
    for one in [
        "",
        "service=product",
        "max_duration=1s",
        "attribute=http.route%3D/product/%7Bsku%7D",
        "attribute=http.route&attribute=http.route!%3D/&attribute=http.route%3D~%5E/product",
        "attribute=scope:otel.scope.name%3Dshop",
        "kind=client&status=error",
        "error=true",
        "cursor=",
        "limit=1",
    ] {
        let page = fixture.json(&format!("/api/traces?{one}&{RANGE}")).await;
        assert_eq!(page["traces"].as_array().unwrap().len(), 1, "{one}");
    }
}

/// *Scenario*: thirty traces, each a millisecond longer and with one failed span fewer than the previous one.
/// *Guarantees*: the longest and the worst are found among all matches, and the answer says how many were
/// compared.
#[tokio::test]
async fn traces_are_compared_by_duration_and_by_errors() {
    let now = UnixNanos::now().get();
    let span = |trace: u64, span: u64| {
        let start = now - trace * 1_000_000_000;
        serde_json::json!({
            "traceId": format!("{trace:032x}"), "spanId": format!("{span:016x}"), "name": "step", "kind": 1,
            "startTimeUnixNano": start.to_string(),
            "endTimeUnixNano": (start + trace * 1_000_000).to_string(),
            "status": {"code": if span > trace { 2 } else { 0 }},
        })
    };
    let spans: Vec<Value> = (1..=30)
        .flat_map(|trace| (1..=30).map(move |number| span(trace, number)))
        .collect();
    let resource = serde_json::json!({"attributes": attributes(&[("service.name", "batch")])});
    let mut fixture = Fixture::new();
    fixture.receive(
        &serde_json::json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}),
        now,
    );
    for (order, field, first, second) in [
        ("longest", "duration_nanos", 30_000_000, 29_000_000),
        ("errors", "error_count", 29, 28),
    ] {
        let page = fixture
            .json(&format!("/api/traces?order={order}&limit=2"))
            .await;
        let traces = page["traces"].as_array().unwrap();
        let fields: Vec<_> = traces.iter().map(|trace| trace[field].clone()).collect();
        assert_eq!(fields, [first, second], "{order}");
        assert_eq!(page["compared"], 30);
        assert_eq!(page["next_cursor"], Value::Null);
    }
    let page = fixture.json("/api/traces?order=newest&limit=2").await;
    assert_eq!(page["traces"][0]["duration_nanos"], 1_000_000);
    assert_eq!(page.get("compared"), None);
}

/// *Scenario*: a span has just failed in a trace whose first step ended two hours ago.
/// *Guarantees*: a search for failures in the last hour finds the trace, with its true start, in our API and
/// in Jaeger's; one in the hour of the first step does not. Zipkin finds traces by their start.
#[tokio::test]
async fn a_failure_of_now_is_found_in_an_old_trace() {
    const HOUR: u64 = 3_600_000_000_000;
    let now = UnixNanos::now().get();
    let begin = now - 2 * HOUR;
    let step = |id: &str, start: u64, code: u8| {
        serde_json::json!({
            "traceId": "0af7651916cd43dd8448eb211c803102", "spanId": id, "name": "step", "kind": 1,
            "startTimeUnixNano": start.to_string(), "endTimeUnixNano": (start + 1_000).to_string(),
            "status": {"code": code},
        })
    };
    let resource = serde_json::json!({"attributes": attributes(&[("service.name", "batch")])});
    let spans = [
        step("00000000000000a1", begin, 0),
        step("00000000000000a2", now, 2),
    ];
    let mut fixture = Fixture::new();
    fixture.receive(
        &serde_json::json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}),
        now,
    );
    for last_hour in ["", "error=true", "status=error&service=batch"] {
        let page = fixture
            .json(&format!("/api/traces?{last_hour}&end={}", now + 1))
            .await;
        assert_eq!(page["traces"][0]["start_unix_nanos"], begin, "{last_hour}");
        assert_eq!(page["traces"][0]["span_count"], 2);
        assert_eq!(page["next_cursor"], Value::Null);
    }
    let earlier = format!("start={}&end={}", begin - HOUR, begin + HOUR);
    let page = fixture
        .json(&format!("/api/traces?status=error&{earlier}"))
        .await;
    assert_eq!(page["traces"], serde_json::json!([]));
    let micros = |nanos: u64| nanos / 1_000;
    for (start, end, found) in [(now - HOUR, now, 1), (begin - HOUR, begin + HOUR, 0)] {
        let range = format!("start={}&end={}", micros(start), micros(end));
        let uri = format!("/jaeger/api/traces?service=batch&tag=error:true&{range}");
        let answer = fixture.json(&uri).await;
        assert_eq!(answer["data"].as_array().unwrap().len(), found, "{uri}");
    }
    for (lookback, found) in [(3_600_000, 0), (3 * 3_600_000, 1)] {
        let uri = format!("/api/v2/traces?annotationQuery=error&lookback={lookback}");
        let traces = fixture.json(&uri).await;
        assert_eq!(traces.as_array().unwrap().len(), found, "{uri}");
    }
}

#[tokio::test]
async fn a_trace_is_found_by_long_and_short_ids_in_either_case() {
    let fixture = Fixture::with_shop(NOW);
    let trace = fixture
        .json("/api/traces/4bf92f3577b34da6a3ce929d0e0e4736")
        .await;
    insta::assert_snapshot!("trace", without_clock(trace.clone()));
    for id in ["4BF92F3577B34DA6A3CE929D0E0E4736", "a3ce929d0e0e4736"] {
        assert_eq!(fixture.json(&format!("/api/traces/{id}")).await, trace);
    }
    let unknown = fixture
        .problem("/api/traces/4bf92f3577b34da6a3ce929d0e0e4737")
        .await;
    assert_eq!(unknown["status"], 404);
    let wrong = fixture.problem("/api/traces/xyz").await;
    assert_eq!(
        (&wrong["status"], &wrong["parameter"]),
        (&400.into(), &"trace_id".into())
    );
}

#[tokio::test]
async fn services_operations_and_dependencies_are_listed() {
    let now = UnixNanos::now().get();
    let fixture = Fixture::with_shop(now);
    insta::assert_snapshot!(
        "services",
        without_clock(fixture.json("/api/services").await)
    );
    let operations = fixture.json("/api/services/gateway/operations").await;
    insta::assert_snapshot!("operations", without_clock(operations));
    assert_eq!(
        fixture.problem("/api/services/absent/operations").await["status"],
        404
    );
    let dependencies = fixture.json("/api/dependencies").await;
    insta::assert_snapshot!(
        "dependencies",
        without_clock(dependencies["dependencies"].clone())
    );
    let before = fixture
        .json("/api/dependencies?end=2020-01-01T00:00:00Z")
        .await;
    assert_eq!(before["dependencies"], serde_json::json!([]));
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let fixture = Fixture::new();
    let circuit = "/api/circuits/gateway/product";
    for (uri, parameter) in [
        ("/api/circuits?at=yesterday".to_owned(), "at"),
        ("/api/circuits?when=1".to_owned(), "when"),
        (format!("{circuit}?at=-1"), "at"),
        (format!("{circuit}/transitions?start=x"), "start"),
        (format!("{circuit}/transitions?end=x"), "end"),
        (format!("{circuit}/transitions?limit=0"), "limit"),
        (format!("{circuit}/history?start=5&end=5"), "start"),
        (format!("{circuit}/history?buckets=2001"), "buckets"),
        ("/api/traces?min_duration=150".to_owned(), "min_duration"),
        ("/api/traces?max_duration=fast".to_owned(), "max_duration"),
        (
            "/api/traces?min_duration=2s&max_duration=1s".to_owned(),
            "min_duration",
        ),
        ("/api/traces?error=yes".to_owned(), "error"),
        ("/api/traces?attribute=event:".to_owned(), "attribute"),
        ("/api/traces?attribute=a%3Ex".to_owned(), "attribute"),
        ("/api/traces?attribute=a=~(".to_owned(), "attribute"),
        ("/api/traces?kind=none".to_owned(), "kind"),
        ("/api/traces?status=fine".to_owned(), "status"),
        ("/api/traces?attribute=%3Dx".to_owned(), "attribute"),
        (
            format!("/api/traces?{}", "attribute=a%3Db&".repeat(17)),
            "attribute",
        ),
        (format!("/api/traces?{}", "x=y&".repeat(200)), "query"),
        ("/api/traces?outcome=bad".to_owned(), "outcome"),
        ("/api/traces?start=2026-13-01T00:00:00Z".to_owned(), "start"),
        ("/api/traces?end=1e9".to_owned(), "end"),
        ("/api/traces?limit=1001".to_owned(), "limit"),
        ("/api/traces?limit=ten".to_owned(), "limit"),
        ("/api/traces?cursor=abc".to_owned(), "cursor"),
        ("/api/traces?service=a&service=b".to_owned(), "service"),
        (
            format!("/api/traces?operation={}", "x".repeat(5_000)),
            "operation",
        ),
        (
            "/api/traces/0af7651916cd43dd8448eb211c80319c?raw=1".to_owned(),
            "raw",
        ),
        ("/api/services?limit=0".to_owned(), "limit"),
        ("/api/services?offset=x".to_owned(), "offset"),
        ("/api/services?page=1".to_owned(), "page"),
        ("/api/services/a/operations?x=1".to_owned(), "x"),
        ("/api/dependencies?start=now".to_owned(), "start"),
        ("/api/stream?topics=circuits,weather".to_owned(), "topics"),
        ("/metrics?format=json".to_owned(), "format"),
    ] {
        let problem = fixture.problem(&uri).await;
        assert_eq!(problem["status"], 400, "{uri}");
        assert_eq!(problem["parameter"], parameter, "{uri}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("{parameter}: ")), "{detail}");
        assert!(detail.len() < 400, "{detail}");
    }
    let problem = fixture.problem("/api/traces?min_duration=150").await;
    insta::assert_snapshot!("wrong_parameter", without_clock(problem));
}

#[tokio::test]
async fn unknown_circuits_routes_and_methods_are_problems() {
    let fixture = Fixture::new();
    for uri in [
        "/api",
        "/api/nothing",
        "/api/circuits/a/b",
        "/api/circuits/a/b/transitions",
        "/api/circuits/a/b/history",
    ] {
        assert_eq!(fixture.problem(uri).await["status"], 404, "{uri}");
    }
    let request = Request::post("/api/traces").body(Body::empty()).unwrap();
    let response = fixture.router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
}

/// *Guarantees*: every route that takes the id of a trace finds it in each form in which logs and headers print ids.
#[tokio::test]
async fn ids_as_logs_print_them_are_found_on_every_route() {
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let fixture = Fixture::with_shop(UnixNanos::now().get());
    for route in [
        "/api/traces/{id}",
        "/api/logs?trace={id}",
        "/api/v2/trace/{id}",
        "/jaeger/api/traces/{id}",
        "/jaeger/api/traces?traceID={id}",
        "/jaeger/api/v3/traces/{id}",
        "/tempo/api/traces/{id}",
        "/tempo/api/v2/traces/{id}",
    ] {
        for id in [
            ID,
            "a3ce929d0e0e4736",
            "0x4bf92f3577b34da6a3ce929d0e0e4736",
            "4BF92F35-77B3-4DA6-A3CE-929D0E0E4736",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            let uri = route.replace("{id}", id);
            let (status, _, body) = fixture.get(&uri).await;
            assert_eq!(status, StatusCode::OK, "{uri}: {body}");
            assert!(
                body.contains(ID) || uri.starts_with("/api/logs"),
                "{uri}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn an_empty_collector_answers_with_empty_lists() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.json("/api/circuits").await["circuits"],
        serde_json::json!([])
    );
    assert_eq!(
        fixture.json("/api/traces").await["traces"],
        serde_json::json!([])
    );
    assert_eq!(
        fixture.json("/api/services").await["services"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn health_says_what_is_wrong() {
    let fixture = Fixture::new();
    assert_eq!(fixture.json("/healthz").await["status"], "ok");
    let source = std::io::ErrorKind::StorageFull.into();
    let full = StoreError::io("append to", std::path::Path::new("/data/spans"), source);
    fixture
        .state
        .health
        .commit_failed(crate::pipeline::Log::Spans, &full.into());
    let (status, _, body) = fixture.get("/healthz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("the disk is full") && !body.contains("/data"));
}

#[tokio::test]
async fn metrics_speak_the_names_of_service_graphs() {
    let fixture = Fixture::with_shop(NOW);
    fixture
        .state
        .counters
        .spans_refused
        .add("invalid_trace_id", 3);
    let (status, content_type, body) = fixture.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let stable: Vec<_> = body
        .lines()
        .filter(|line| !line.contains("store_bytes ") && !line.contains("bytes_written_total "))
        .collect();
    insta::assert_snapshot!("metrics", stable.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn the_stream_greets_beats_and_carries_its_topics() {
    let fixture = Fixture::new();
    let request = Request::get("/api/stream?topics=circuits,stats")
        .body(Body::empty())
        .unwrap();
    let response = fixture.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut frames = response.into_body().into_data_stream();
    let mut text = String::new();
    while !text.contains("event: stats") {
        let frame = frames.next().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&frame).unwrap());
    }
    assert!(text.contains("retry: 2000"), "{text}");
    assert!(
        text.contains("event: circuits\ndata: {\"at_unix_nanos\":"),
        "{text}"
    );
    assert!(text.contains("\"complete\":true"), "{text}");
    fixture.state.query.close_streams();
    while let Some(frame) = frames.next().await {
        frame.unwrap();
    }
    assert_eq!(fixture.problem("/api/stream").await["status"], 503);
}
