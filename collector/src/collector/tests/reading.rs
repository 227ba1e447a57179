//! What was sent the way SDKs really do, read back over the API.

use serde_json::{Value, json};

use super::*;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn one_span(trace: &str, id: u64, parent: &str, service: &str) -> Value {
    let now = UnixNanos::now().get();
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            {"key": "service.name", "value": {"stringValue": service}},
            {"key": "deployment.environment.name", "value": {"stringValue": "staging 2"}},
        ]},
        "scopeSpans": [{"spans": [{
            "traceId": trace, "spanId": format!("{id:016x}"), "parentSpanId": parent, "name": "GET /",
            "kind": 2, "flags": 256, "startTimeUnixNano": (now - 1_000_000).to_string(),
            "endTimeUnixNano": now.to_string(),
        }]}],
    }]})
}

/// *Scenario*: a child arrives before its parent, in another request, neither has the sampled bit, and both
/// arrive twice.
/// *Guarantees*: one trace with each span once, the child under its parent; it is also found by the low half
/// of its id, and by an attribute of the resource.
#[tokio::test]
async fn pieces_in_any_order_and_twice_are_one_trace() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let child = one_span(TRACE, 2, "0000000000000001", "stock");
    let parent = one_span(TRACE, 1, "", "shop");
    for message in [&child, &parent, &child, &parent] {
        assert_eq!(running.post("/v1/traces", message).await.0, 200);
    }
    let by_attribute = "/api/traces?attribute=deployment.environment.name%3Dstaging%202";
    let found = running.ask(by_attribute).await;
    assert_eq!(found["traces"].as_array().unwrap().len(), 1);
    assert_eq!(
        running
            .ask("/api/traces?attribute=deployment.environment.name%3Dprod")
            .await["traces"],
        json!([])
    );
    let whole = running.ask(&format!("/api/traces/{TRACE}")).await;
    assert_eq!(
        running.ask(&format!("/api/traces/{}", &TRACE[16..])).await,
        whole
    );
    assert_eq!(whole.to_string().matches("\"spanId\"").count(), 2);
    assert_eq!(running.counters.spans_written.get(), 4);
    running.stop().await;
}

/// *Scenario*: a client pages through a search while newer traces keep arriving.
/// *Guarantees*: every trace that existed at the first page is returned exactly once, newest first.
#[tokio::test]
async fn pages_are_stable_while_traces_come_in() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let mut sent = Vec::new();
    let trace = |number: usize| format!("{:032x}", number + 1);
    for number in 0..30 {
        let message = one_span(&trace(number), 1, "", "shop");
        assert_eq!(running.post("/v1/traces", &message).await.0, 200);
        sent.insert(0, trace(number));
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for newer in 30.. {
        let page = running
            .ask(&format!("/api/traces?limit=7&cursor={cursor}"))
            .await;
        let ids = page["traces"].as_array().unwrap().iter();
        seen.extend(ids.map(|row| row["trace_id"].as_str().unwrap().to_owned()));
        let message = one_span(&trace(newer), 1, "", "shop");
        assert_eq!(running.post("/v1/traces", &message).await.0, 200);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, sent);
    running.stop().await;
}

/// *Scenario*: a client opens the stream and never reads, while thousands of transitions arrive.
/// *Guarantees*: senders and other readers are served meanwhile, and the collector stops cleanly.
#[tokio::test]
async fn a_client_that_never_reads_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(CollectorConfig::for_test(dir.path())).await;
    let mut deaf = TcpStream::connect(running.web).await.unwrap();
    let ask = b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut deaf, ask)
        .await
        .unwrap();
    for round in 0..20 {
        let records: Value = (0..100)
            .map(|number| {
                let turn = [("closed", "open"), ("open", "closed")][number % 2];
                let attributes: Value = [
                    ("circuit_breaker.name", "stock"),
                    ("circuit_breaker.from", turn.0),
                    ("circuit_breaker.to", turn.1),
                    ("circuit_breaker.reason", "flapping"),
                ]
                .iter()
                .map(|(key, value)| json!({"key": key, "value": {"stringValue": value}}))
                .collect();
                let now = UnixNanos::now().get().to_string();
                json!({"timeUnixNano": now, "eventName": fusebox::semconv::EVENT_TRANSITION, "attributes": attributes})
            })
            .collect();
        let message = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]});
        assert_eq!(running.post("/v1/logs", &message).await.0, 200, "{round}");
    }
    assert_eq!(
        running.ask("/api/circuits").await["circuits"][0]["name"],
        "stock"
    );
    drop(deaf);
    running.stop().await;
}
