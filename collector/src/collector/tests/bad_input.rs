//! What spans get that no sender should send: a stated rule, a word in the answer, a line on `/metrics`.

use super::*;
use crate::codec::otlp::Limits;
use serde_json::json;

fn span(id: u8) -> Span {
    let now = UnixNanos::now().get();
    Span {
        trace_id: vec![5; 16],
        span_id: vec![id; 8],
        name: "GET /".to_owned(),
        kind: 2,
        start_time_unix_nano: now - 1_000,
        end_time_unix_nano: now,
        ..Span::default()
    }
}

fn request(spans: Vec<Span>) -> Vec<u8> {
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            scope_spans: vec![ScopeSpans {
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    request.encode_to_vec()
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

async fn metric(running: &Running, line: &str) -> u64 {
    let (_, text) = send(running.web, Request::get("/metrics"), "").await;
    let text = std::str::from_utf8(&text).unwrap();
    let found = text.lines().find_map(|other| other.strip_prefix(line));
    let value = found.unwrap_or_else(|| panic!("{line} in {text}"));
    value.trim().parse().unwrap()
}

/// Four valid spans, one of them backwards in time, one with an unsupported value and one with ill-formed
/// text; and six invalid ones.
fn good_and_bad_spans() -> Vec<u8> {
    let far = UnixNanos::now().get() + 400 * 24 * 3_600_000_000_000;
    let mut backwards = span(2);
    backwards.end_time_unix_nano = backwards.start_time_unix_nano - 500;
    let mut strange = span(3);
    strange.attributes = vec![attribute("ratio", any_value::Value::DoubleValue(f64::NAN))];
    let spans = vec![
        span(1),
        backwards,
        strange,
        Span {
            trace_id: vec![0; 16],
            ..span(4)
        },
        Span {
            trace_id: vec![5; 8],
            ..span(5)
        },
        Span {
            span_id: vec![0; 8],
            ..span(6)
        },
        Span {
            span_id: vec![7; 3],
            ..span(7)
        },
        Span {
            start_time_unix_nano: far,
            ..span(8)
        },
        Span {
            start_time_unix_nano: 0,
            ..span(9)
        },
        Span {
            name: "GET /\u{1}marker".to_owned(),
            ..span(10)
        },
    ];
    let mut body = request(spans);
    let broken = body
        .windows(7)
        .position(|part| part == b"\x01marker")
        .unwrap();
    body[broken] = 0xff;
    body
}

/// *Scenario*: a request has good spans, and some with zero or short ids, absurd times, or ill-formed text.
/// *Guarantees*: the good ones are stored, each bad one is rejected with its reason, the sender gets a
/// message, `/metrics` counts them.
#[tokio::test]
async fn bad_spans_are_refused_one_by_one_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let body = good_and_bad_spans();
    let (status, answer) = send(running.otlp_http, traces(), body).await;
    assert_eq!(status, 200);
    let answer =
        opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse::decode(
            answer,
        )
        .unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 6);
    let words = ["invalid_trace_id", "invalid_span_id", "time_out_of_range"];
    for (word, count) in words.into_iter().zip([2, 2, 2]) {
        assert!(
            partial.error_message.contains(word),
            "{}",
            partial.error_message
        );
        let line = format!("fusebox_collector_spans_refused_total{{reason=\"{word}\"}}");
        assert_eq!(metric(&running, &line).await, count, "{word}");
    }
    let trace = running
        .ask(&format!("/api/traces/{}", "05".repeat(16)))
        .await;
    let text = trace.to_string();
    assert!(text.contains(r#""doubleValue":"NaN""#), "{text}");
    assert!(text.contains("GET /\u{fffd}marker"), "{text}");
    let replaced = metric(&running, "fusebox_collector_texts_replaced_total").await;
    assert_eq!(replaced, 1);
    assert_eq!(running.counters.spans_written.get(), 4);
    running.stop().await;
}

/// *Scenario*: a span with an attribute of 10 MB, one with a million attributes, then a good one.
/// *Guarantees*: all are stored within the limits, truncations are counted, and the next request is served.
#[tokio::test]
async fn what_is_too_large_is_cut_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let mut long = span(1);
    let text = "x".repeat(10 << 20);
    long.attributes = vec![attribute("sql", any_value::Value::StringValue(text))];
    let mut many = span(2);
    many.attributes = vec![attribute("k", any_value::Value::IntValue(1)); 1_000_000];
    for (body, cut) in [(request(vec![long]), 1), (request(vec![many]), 999_872)] {
        let before = running.counters.items_truncated.get();
        let (status, answer) = send(running.otlp_http, traces(), body).await;
        assert_eq!(status, 200);
        assert!(!answer.is_empty(), "the sender is warned");
        assert_eq!(running.counters.items_truncated.get() - before, cut);
    }
    let (status, _) = send(running.otlp_http, traces(), request(vec![span(3)])).await;
    assert_eq!(status, 200);
    let trace = running
        .ask(&format!("/api/traces/{}", "05".repeat(16)))
        .await;
    assert!(trace.to_string().len() < 50_000);
    assert!(metric(&running, "fusebox_collector_items_truncated_total").await >= 999_873);
    running.stop().await;
}

/// *Scenario*: a span has two attributes where the settings allow one.
/// *Guarantees*: the walk applies the limits of the settings.
#[tokio::test]
async fn limits_come_from_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        attributes: 1,
        ..Limits::default()
    };
    let config = CollectorConfig {
        limits,
        ..CollectorConfig::for_test(dir.path())
    };
    let running = Running::start(config).await;
    let mut span = span(1);
    span.attributes = vec![attribute("k", any_value::Value::IntValue(1)); 2];
    let (status, _) = send(running.otlp_http, traces(), request(vec![span])).await;
    assert_eq!(status, 200);
    assert_eq!(running.counters.items_truncated.get(), 1);
    running.stop().await;
}

/// *Guarantees*: malformed metrics and logs are answered with 400 too, and extreme numbers in them break
/// nothing.
#[tokio::test]
async fn bad_metrics_and_logs_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    for path in ["/v1/metrics", "/v1/logs"] {
        let torn = Request::post(path).header("content-type", "application/x-protobuf");
        assert_eq!(send(running.otlp_http, torn, &b"\x0a\xff"[..]).await.0, 400);
        let (status, answer) = running.post(path, &json!([1, 2])).await;
        assert_eq!(status, 400);
        assert_eq!(answer["code"], 3);
        assert!(
            answer["message"].as_str().unwrap().contains("JSON"),
            "{answer}"
        );
    }
    let point = json!({"timeUnixNano": "1", "asDouble": "NaN", "attributes": [
        {"key": "name", "value": {"stringValue": "stock"}}, {"key": "state", "value": {"stringValue": "open"}}]});
    let metric =
        json!({"name": "resilience4j.circuitbreaker.state", "gauge": {"dataPoints": [point]}});
    let message = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
    assert_eq!(running.post("/v1/metrics", &message).await.0, 200);
    assert_eq!(running.counters.incidents.all()["bad_circuit_point"], 1);
    assert_eq!(running.ask("/api/circuits").await["circuits"], json!([]));
    running.stop().await;
}

/// *Scenario*: every span of a service is rejected because of its time.
/// *Guarantees*: the service is not listed.
#[tokio::test]
async fn a_service_of_which_nothing_is_stored_is_in_no_list() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let name = json!([{"key": "service.name", "value": {"stringValue": "phantom"}}]);
    let refused = json!({"traceId": "05".repeat(16), "spanId": "05".repeat(8), "name": "no time"});
    let message = json!({"resourceSpans": [{"resource": {"attributes": name},
        "scopeSpans": [{"spans": [refused]}]}]});
    assert_eq!(running.post("/v1/traces", &message).await.0, 200);
    let (status, _) = send(running.otlp_http, traces(), request(vec![span(1)])).await;
    assert_eq!(status, 200);
    let services = running.ask("/api/services").await.to_string();
    assert!(services.contains("unknown_service"), "{services}");
    assert!(!services.contains("phantom"), "{services}");
    let zipkin = running.ask("/api/v2/services").await;
    assert_eq!(zipkin, json!([]), "nor is one without a name, there");
    running.stop().await;
}

/// *Scenario*: the names of a service and of an operation begin and end with blanks.
/// *Guarantees*: only a search with the same blanks finds them.
#[tokio::test]
async fn names_with_blanks_at_their_ends_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let now = UnixNanos::now().get().to_string();
    let name = json!([{"key": "service.name", "value": {"stringValue": "api "}}]);
    let span = json!({"traceId": "05".repeat(16), "spanId": "05".repeat(8), "name": " GET ",
        "startTimeUnixNano": now, "endTimeUnixNano": now});
    let message = json!({"resourceSpans": [{"resource": {"attributes": name},
        "scopeSpans": [{"spans": [span]}]}]});
    assert_eq!(running.post("/v1/traces", &message).await.0, 200);
    for (query, found) in [
        ("service=api%20&operation=%20GET%20", 1),
        ("service=api+", 1),
        ("attribute=service.name%3Dapi%20", 1),
        ("service=api", 0),
        ("operation=GET", 0),
    ] {
        let rows = running.ask(&format!("/api/traces?{query}")).await;
        assert_eq!(rows["traces"].as_array().unwrap().len(), found, "{query}");
    }
    let zipkin = running.ask("/api/v2/traces?serviceName=api%20").await;
    assert_eq!(zipkin.as_array().unwrap().len(), 1);
    let jaeger = running
        .ask("/jaeger/api/traces?service=api%20&lookback=1h")
        .await;
    assert_eq!(jaeger["data"].as_array().unwrap().len(), 1);
    running.stop().await;
}
