//! Spans of Zipkin in every encoding, together with OTLP's: one tree in the API.

use super::*;
use serde_json::{Value, json};

fn now_us() -> u64 {
    UnixNanos::now().get() / 1_000
}

async fn post(addr: SocketAddr, path: &str, content_type: &str, body: Vec<u8>) -> StatusCode {
    let request = Request::post(path).header("content-type", content_type);
    send(addr, request, body).await.0
}

/// Returns name, span id, parent and kind of every span, sorted by name.
async fn spans(running: &Running, trace: &str) -> Vec<(String, String, String, u64)> {
    let trace = running.ask(&format!("/api/traces/{trace}")).await;
    let mut spans = Vec::new();
    for resource in trace["resourceSpans"].as_array().unwrap() {
        for scope in resource["scopeSpans"].as_array().unwrap() {
            for span in scope["spans"].as_array().unwrap() {
                let text = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
                let kind = span["kind"].as_u64().unwrap_or_default();
                spans.push((text("name"), text("spanId"), text("parentSpanId"), kind));
            }
        }
    }
    spans.sort();
    spans
}

/// *Scenario*: a call passes services that report in JSON v2, protobuf v2, JSON v1, thrift and OTLP; client
/// and server half of one call share an id, and Zipkin's services use 64-bit trace ids.
/// *Guarantees*: all of it is one trace with the right parents, on both ports.
#[tokio::test]
async fn every_encoding_and_otlp_make_one_tree() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let now = now_us();
    let client = json!([{"traceId": "5af7183fb1d4cf5f", "id": "a1", "name": "a", "kind": "CLIENT",
        "timestamp": now, "duration": 900, "localEndpoint": {"serviceName": "web"}}]);
    let body = client.to_string().into_bytes();
    let json = "application/json";
    assert_eq!(post(running.web, "/api/v2/spans", json, body).await, 202);
    // The server's half of the same span, in `ListOfSpans`.
    let ids = [
        &[0x0a, 8][..],
        &[0x5a, 0xf7, 0x18, 0x3f, 0xb1, 0xd4, 0xcf, 0x5f],
        &[0x1a, 8, 0, 0, 0, 0, 0, 0, 0, 0xa1],
    ];
    let rest = [
        &b"\x20\x02\x2a\x01b\x31"[..],
        &(now + 10).to_le_bytes(),
        b"\x38\x64\x42\x07\x0a\x05stock\x68\x01",
    ];
    let span = [ids.concat(), rest.concat()].concat();
    let message = [&[0x0a, span.len() as u8][..], &span].concat();
    let protobuf = "application/x-protobuf";
    assert_eq!(
        post(running.otlp_http, "/api/v2/spans", protobuf, message).await,
        202
    );
    let endpoint = json!({"serviceName": "stock"});
    let v1 = json!([{"traceId": "5af7183fb1d4cf5f", "id": "c1", "parentId": "a1", "name": "c", "annotations": [
        {"timestamp": now + 20, "value": "cs", "endpoint": endpoint}, {"timestamp": now + 80, "value": "cr", "endpoint": endpoint}]}]);
    let body = v1.to_string().into_bytes();
    assert_eq!(post(running.web, "/api/v1/spans", json, body).await, 202);
    let i64 = |field: u8, value: u64| [&[10, 0, field][..], &value.to_be_bytes()].concat();
    let thrift = [
        i64(1, 0x5af7_183f_b1d4_cf5f),
        i64(4, 0xd1),
        i64(5, 0xc1),
        b"\x0b\0\x03\0\0\0\x01d".to_vec(),
        i64(10, now + 30),
        i64(11, 5),
        vec![0],
    ];
    let thrift = thrift.concat();
    let list = [&[12, 0, 0, 0, 1][..], &thrift].concat();
    let x_thrift = "application/x-thrift";
    assert_eq!(
        post(running.otlp_http, "/api/v1/spans", x_thrift, list).await,
        202
    );
    let otlp = json!({"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00000000000000005af7183fb1d4cf5f",
        "spanId": "00000000000000e1", "parentSpanId": "00000000000000d1", "name": "e", "kind": 2,
        "startTimeUnixNano": (now + 32) * 1_000, "endTimeUnixNano": (now + 33) * 1_000}]}]}]});
    assert_eq!(running.post("/v1/traces", &otlp).await.0, 200);

    let id = |digits: &str| format!("00000000000000{digits}");
    let expected = [
        ("a", id("a1"), String::new(), 3),
        ("b", id("a1"), String::new(), 2),
        ("c", id("c1"), id("a1"), 3),
        ("d", id("d1"), id("c1"), 0),
        ("e", id("e1"), id("d1"), 2),
    ]
    .map(|(name, id, parent, kind)| (name.to_owned(), id, parent, kind));
    assert_eq!(spans(&running, "5af7183fb1d4cf5f").await, expected);
    let zipkin = running.ask("/api/v2/trace/5af7183fb1d4cf5f").await;
    let shared = |span: &&Value| span["shared"] == json!(true);
    let shared: Vec<_> = zipkin.as_array().unwrap().iter().filter(shared).collect();
    assert_eq!(shared.len(), 1);
    assert_eq!(shared[0]["localEndpoint"]["serviceName"], "stock");
    running.stop().await;
}

/// *Guarantees*: an unsupported content type is answered with 415, a body of another type with 400, both with
/// a sentence in plain text.
#[tokio::test]
async fn a_wrong_content_type_is_answered_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    for (path, content_type, expected, says) in [
        (
            "/api/v2/spans",
            "application/x-thrift",
            415,
            "application/x-protobuf",
        ),
        (
            "/api/v1/spans",
            "application/x-protobuf",
            415,
            "application/x-thrift",
        ),
        ("/api/v2/spans", "text/html", 415, "application/json"),
        (
            "/api/v2/spans",
            "application/x-protobuf",
            400,
            "malformed protobuf",
        ),
        (
            "/api/v1/spans",
            "application/x-thrift",
            400,
            "malformed thrift",
        ),
        ("/api/v1/spans", "application/json", 400, "malformed JSON"),
    ] {
        for addr in [running.web, running.otlp_http] {
            let request = Request::post(path).header("content-type", content_type);
            let (status, body) = send(addr, request, "<spans>").await;
            let text = std::str::from_utf8(&body).unwrap();
            assert_eq!(status, expected, "{path} {content_type}");
            assert!(text.contains(says) && text.lines().count() == 1, "{text}");
        }
    }
    running.stop().await;
}

fn of_name<'a>(spans: &'a Value, name: &str) -> &'a Value {
    let mut spans = spans.as_array().unwrap().iter();
    spans.find(|span| span["name"] == name).unwrap()
}

/// *Scenario*: a reporter sends a span without a timestamp, as Zipkin's reporters may.
/// *Guarantees*: it is stored as ending with its arrival, with a mark; Zipkin's clients get it without a
/// timestamp, and with its duration if it has one.
#[tokio::test]
async fn a_span_without_a_timestamp_ends_with_its_arrival() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let before = UnixNanos::now();
    let id = "4bf92f3577b34da6a3ce929d0e0e4799";
    let span = json!([{"traceId": id, "id": "00000000000000a1", "name": "get",
        "localEndpoint": {"serviceName": "shop"}, "tags": {"k": "v"}},
        {"traceId": id, "id": "00000000000000a2", "name": "put", "duration": 2_500,
        "localEndpoint": {"serviceName": "shop"}}]);
    let body = span.to_string().into_bytes();
    let status = post(running.web, "/api/v2/spans", "application/json", body).await;
    assert_eq!(status, 202);
    let own = running.ask(&format!("/api/traces/{id}")).await;
    let kept = of_name(&own["resourceSpans"][0]["scopeSpans"][0]["spans"], "get");
    let start: u64 = kept["startTimeUnixNano"].as_str().unwrap().parse().unwrap();
    assert!((before..=UnixNanos::now()).contains(&UnixNanos::new(start)));
    let mark = json!({"key": "fusebox.arrived", "value": {"boolValue": true}});
    assert!(kept["attributes"].as_array().unwrap().contains(&mark));
    let theirs = running.ask(&format!("/api/v2/trace/{id}")).await;
    assert_eq!(of_name(&theirs, "get")["tags"]["k"], "v");
    let long = of_name(&theirs, "put");
    assert_eq!(
        (&long["timestamp"], &long["duration"]),
        (&Value::Null, &json!(2_500))
    );
    running.stop().await;
}
