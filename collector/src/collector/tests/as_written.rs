//! Messages as senders really write them, beside what the specifications ask for: what the API gives back of them.

use super::*;
use serde_json::{Value, json};

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn span(id: &str, fields: Value) -> Value {
    let now = UnixNanos::now().get();
    let mut span = json!({"traceId": TRACE, "spanId": id, "name": "GET /cart", "kind": 2,
        "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 5_000).to_string()});
    for (name, value) in fields.as_object().unwrap() {
        span[name] = value.clone();
    }
    span
}

fn request(spans: &[Value]) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeSpans": [{"scope": {"name": "lib"}, "spans": spans}]}]})
}

async fn stored(running: &Running) -> Vec<Value> {
    let trace = running.ask(&format!("/api/traces/{TRACE}")).await;
    let resources = trace["resourceSpans"].as_array().unwrap().iter();
    let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
    let spans = scopes.flat_map(|scope| scope["spans"].as_array().unwrap());
    spans.cloned().collect()
}

async fn start(dir: &tempfile::TempDir) -> Running {
    Running::start(CollectorConfig::for_test(dir.path())).await
}

async fn post_text(running: &Running, body: impl Into<Bytes>) -> (StatusCode, Value) {
    let request = Request::post("/v1/traces").header("content-type", "application/json");
    let (status, body) = send(running.otlp_http, request, body).await;
    (status, serde_json::from_slice(&body).unwrap())
}

fn warning(answer: &Value) -> &str {
    let partial = &answer["partialSuccess"];
    assert!(partial["rejectedSpans"].is_null(), "{answer}");
    partial["errorMessage"].as_str().unwrap_or_default()
}

/// *Scenario*: names, keys and values are cut in the middle of an emoji, next to an intact span.
/// *Guarantees*: both spans are stored, with U+FFFD for the halves; the sender gets a message, and `/metrics`
/// counts them.
#[tokio::test]
async fn half_an_emoji_costs_nothing_in_json() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let cut = span(
        "eee19b7ec3c1b174",
        json!({
            "name": "caf~", "traceState": "a=~", "status": {"code": 2, "message": "no ~"},
            "attributes": [{"key": "k~", "value": {"stringValue": "v~"}}],
            "events": [{"timeUnixNano": "1", "name": "e~"}],
        }),
    );
    let whole = span("eee19b7ec3c1b175", json!({"name": "whole 😀"}));
    let body = request(&[cut, whole]).to_string().replace('~', "\\ud83d");
    let (status, answer) = post_text(&running, body).await;
    assert_eq!(status, 200);
    assert!(
        warning(&answer).contains("6 strings held ill-formed text"),
        "{answer}"
    );
    let spans = stored(&running).await;
    assert_eq!(spans.len(), 2);
    let cut = spans.iter().find(|span| span["name"] == "caf\u{fffd}");
    let cut = cut.unwrap();
    assert_eq!(cut["traceState"], "a=\u{fffd}");
    assert_eq!(cut["status"]["message"], "no \u{fffd}");
    assert_eq!(cut["attributes"][0]["key"], "k\u{fffd}");
    assert_eq!(cut["attributes"][0]["value"]["stringValue"], "v\u{fffd}");
    assert_eq!(cut["events"][0]["name"], "e\u{fffd}");
    assert_eq!(running.counters.texts_replaced.get(), 6);
    running.stop().await;
}

/// *Scenario*: resource, scope and all parts of a span contain Latin-1 bytes, in protobuf and in JSON.
/// *Guarantees*: no span is lost, and each such byte is read as U+FFFD.
#[tokio::test]
async fn bytes_that_are_not_utf_8_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let fields = json!({"traceState": "x~", "status": {"message": "~"},
        "attributes": [{"key": "~", "value": {"arrayValue": {"values": [{"stringValue": "~"}]}}}],
        "links": [{"traceId": TRACE, "spanId": "eee19b7ec3c1b175", "traceState": "~"}]});
    let text = request(&[span("eee19b7ec3c1b174", fields)]).to_string();
    let text = text.replace("lib", "li~").replace("shop", "sh~p");
    // A mark that no number of the message looks like.
    let text = text.replace('~', "@~@");
    let latin1 = |bytes: &[u8]| -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        while let Some(at) = bytes.windows(3).position(|part| part == b"@~@") {
            bytes[at + 1] = 0xe9;
        }
        bytes
    };
    let (protobuf, _) = crate::codec::otlp::json::traces_to_protobuf(text.as_bytes()).unwrap();
    let (status, _) = send(running.otlp_http, traces(), latin1(&protobuf)).await;
    assert_eq!(status, 200);
    assert_eq!(running.counters.texts_replaced.get(), 7);
    let (status, answer) = post_text(&running, latin1(text.as_bytes())).await;
    assert_eq!(status, 200);
    assert!(warning(&answer).starts_with("7 strings"), "{answer}");
    let trace = running
        .ask(&format!("/api/traces/{TRACE}"))
        .await
        .to_string();
    assert!(trace.contains("sh@\u{fffd}@p") && trace.contains("li@\u{fffd}@"));
    assert!(!trace.contains('~') && !trace.contains('é'), "{trace}");
    let spans = stored(&running).await;
    assert_eq!(spans.len(), 1, "sent twice: {spans:?}");
    running.stop().await;
}

/// *Scenario*: the record of an opened breaker has half an emoji in JSON, and Latin-1 in protobuf.
/// *Guarantees*: metrics and logs are read nevertheless, and the sender gets a message.
#[tokio::test]
async fn ill_formed_text_costs_no_metrics_and_logs() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let point = json!({"timeUnixNano": UnixNanos::now().get().to_string(), "asInt": "1", "attributes": [
        {"key": "name", "value": {"stringValue": "stock"}}, {"key": "state", "value": {"stringValue": "open"}},
        {"key": "note", "value": {"stringValue": "~"}}]});
    let metric =
        json!({"name": "resilience4j.circuitbreaker.state", "gauge": {"dataPoints": [point]}});
    let message = json!({"resourceMetrics": [{"resource": {"attributes": [
        {"key": "service.name", "value": {"stringValue": "shop"}}]},
        "scopeMetrics": [{"metrics": [metric]}]}]});
    let text = message.to_string();
    let json = Request::post("/v1/metrics").header("content-type", "application/json");
    let (status, answer) = send(running.otlp_http, json, text.replace('~', "\\ud83d")).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert!(warning(&answer).starts_with("1 strings held"), "{answer}");
    let (mut bytes, _) = crate::codec::otlp::json::metrics_to_protobuf(text.as_bytes()).unwrap();
    let at = bytes.iter().position(|byte| *byte == b'~').unwrap();
    bytes[at] = 0xe9;
    let protobuf = Request::post("/v1/metrics").header("content-type", "application/x-protobuf");
    assert_eq!(send(running.otlp_http, protobuf, bytes).await.0, 200);
    assert_eq!(running.counters.texts_replaced.get(), 2);
    let circuits = running.ask("/api/circuits").await;
    assert_eq!(circuits["circuits"][0]["name"], "stock", "{circuits}");
    running.stop().await;
}

/// *Scenario*: one body contains the lines of a file of spans, spelled as in protobuf's own JSON.
/// *Guarantees*: every document is read.
#[tokio::test]
async fn json_lines_in_the_spelling_of_protobuf_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let now = UnixNanos::now().get();
    let line = |id: &str| {
        json!({"resource_spans": [{"scope_spans": [{"spans": [{
            "trace_id": "W47/95gDgQPSabYzgT/GDA==", "span_id": id, "name": "step", "kind": "SPAN_KIND_SERVER",
            "start_time_unix_nano": now, "end_time_unix_nano": now, "status": {"code": "STATUS_CODE_ERROR"}}]}]}]})
    };
    let body = format!("{}\n{}\n", line("7uGbfsPBsXQ="), line("7uGbfsPBsXU="));
    let (status, answer) = post_text(&running, body).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({})));
    let spans = stored(&running).await;
    assert_eq!(spans.len(), 2);
    assert_eq!(spans[0]["spanId"], "eee19b7ec3c1b174");
    assert_eq!(spans[1]["status"]["code"], 2);
    assert_eq!(spans[1]["kind"], 2);
    running.stop().await;
}

/// *Scenario*: a span has numbers that do not fit their fields, and values of wrong types.
/// *Guarantees*: only these values are dropped; a whole number beyond 64 bits becomes a double.
#[tokio::test]
async fn a_value_that_cannot_be_taken_costs_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let fields = json!({"kind": {"not": "a kind"}, "flags": "many", "attributes": [
        {"key": "wei", "value": {"intValue": 1e21}},
        {"key": "huge", "value": {"doubleValue": "HUGE"}},
        {"key": "port", "value": {"stringValue": 8080}},
        {"key": "none", "value": null}, null]});
    let body = request(&[
        span("eee19b7ec3c1b174", fields),
        span("eee19b7ec3c1b175", json!({})),
    ]);
    let body = body.to_string().replace("\"HUGE\"", "1e999");
    let (status, answer) = post_text(&running, body).await;
    assert_eq!(status, 200);
    assert!(
        warning(&answer).starts_with("3 values left out"),
        "{answer}"
    );
    assert_eq!(running.counters.values_left_out.get(), 3);
    let spans = stored(&running).await;
    assert_eq!(spans.len(), 2);
    let attributes = &spans[0]["attributes"];
    assert_eq!(attributes[0]["value"]["doubleValue"], 1e21);
    assert_eq!(attributes[2]["value"]["stringValue"], "8080");
    running.stop().await;
}

/// *Guarantees*: the answer to a body without any known key is a warning that lists its keys.
#[tokio::test]
async fn a_body_without_spans_is_warned_about() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    for (path, body, says) in [
        (
            "/v1/traces",
            json!({"spans": [], "service": "shop"}),
            "no resourceSpans found; keys seen: service, spans",
        ),
        (
            "/v1/logs",
            json!({"resourceSpans": []}),
            "no resourceLogs found; keys seen: resourceSpans",
        ),
        (
            "/v1/metrics",
            json!({"resourceMetrics": [{"scopemetrics": [{}]}]}),
            "nothing found in resourceMetrics; keys that are not read: scopemetrics",
        ),
    ] {
        let (status, answer) = running.post(path, &body).await;
        assert_eq!(status, 200);
        assert_eq!(warning(&answer), says);
    }
    assert_eq!(running.counters.messages_empty.get(), 3);
    for addr in [running.otlp_http, running.web] {
        for path in ["//v1/traces", "/v1/traces/"] {
            let request = Request::post(path).header("content-type", "application/json");
            assert_eq!(send(addr, request, "{}").await.0, 200, "{path}");
        }
    }
    running.stop().await;
}

/// A request with every field of OTLP.
fn full_request() -> Value {
    let attribute = |key: &str, text: &str| json!([{"key": key, "value": {"stringValue": text}}]);
    let mut span = span(
        "eee19b7ec3c1b174",
        json!({
            "parentSpanId": "eee19b7ec3c1b173", "traceState": "vendor=1", "flags": 769,
            "status": {"code": 2, "message": "declined"}, "attributes": attribute("k", "v"),
            "droppedAttributesCount": 1, "droppedEventsCount": 2, "droppedLinksCount": 3,
        }),
    );
    span["events"] = json!([{"timeUnixNano": "5", "name": "e", "attributes": attribute("on", "event"),
        "droppedAttributesCount": 4}]);
    span["links"] = json!([{"traceId": "11111111111111111111111111111111", "spanId": "2222222222222222",
        "traceState": "v=1", "attributes": attribute("why", "batch"), "droppedAttributesCount": 5, "flags": 257}]);
    json!({"resourceSpans": [{
        "resource": {
            "attributes": attribute("service.name", "shop"), "droppedAttributesCount": 6,
            "entityRefs": [{"schemaUrl": "https://entity", "type": "service", "idKeys": ["service.name"],
                "descriptionKeys": ["host.name"]}],
        },
        "scopeSpans": [{
            "scope": {"name": "lib", "version": "1", "attributes": attribute("tenant", "blue"),
                "droppedAttributesCount": 7},
            "spans": [span],
            "schemaUrl": "https://scope",
        }],
        "schemaUrl": "https://resource",
    }]})
}

/// *Guarantees*: every field of an OTLP span is returned as it was sent, also after a restart, and attributes
/// of its scope can be searched.
#[tokio::test]
async fn every_field_of_otlp_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let request = full_request();
    assert_eq!(
        running.post("/v1/traces", &request).await,
        (StatusCode::OK, json!({}))
    );
    for attribute in [
        "scope:tenant=blue",
        "scope:otel.scope.name=lib",
        "tenant=green",
    ] {
        let found = running
            .ask(&format!("/api/traces?attribute={attribute}"))
            .await;
        let rows = found["traces"].as_array().unwrap().len();
        assert_eq!(
            rows,
            usize::from(attribute != "tenant=green"),
            "{attribute}"
        );
    }
    let path = format!("/api/traces/{TRACE}");
    let trace = running.ask(&path).await;
    assert_eq!(trace["resourceSpans"], request["resourceSpans"]);
    let zipkin = running.ask(&format!("/api/v2/trace/{TRACE}")).await;
    let tags = &zipkin[0]["tags"];
    assert_eq!(tags["tenant"], "blue");
    let link = "11111111111111111111111111111111|2222222222222222|v=1|{\"why\":\"batch\"}|5";
    assert_eq!(tags["otlp.link.0"], link);
    running.stop().await;
    let again = start(&dir).await;
    assert_eq!(
        again.ask(&path).await["resourceSpans"],
        request["resourceSpans"]
    );
    again.stop().await;
}

/// *Scenario*: a span has more events than are kept, and its sender had already dropped some.
/// *Guarantees*: the two counts are returned separately.
#[tokio::test]
async fn what_a_limit_drops_is_not_blamed_on_the_sender() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir).await;
    let events = vec![json!({"timeUnixNano": "5", "name": "e"}); 130];
    let fields = json!({"events": events, "droppedEventsCount": 10});
    let body = request(&[span("eee19b7ec3c1b174", fields)]);
    assert_eq!(running.post("/v1/traces", &body).await.0, 200);
    let span = &stored(&running).await[0];
    assert_eq!(span["droppedEventsCount"], 12);
    assert_eq!(span["droppedByCollector"], json!({"events": 2}));
    running.stop().await;
}
