//! Jaeger clients against the real binary: the requests of Grafana's Jaeger data source, in its order.

use std::time::{SystemTime, UNIX_EPOCH};

use integration_tests::{Binary, TraceBuilder, attribute, eventually, get_json};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Sends a call from `gateway` to `stock`, which fails; returns the trace's id.
async fn send_purchase(otlp_http: &str) -> String {
    let mut gateway = TraceBuilder::new("gateway");
    let root = gateway.span(None, "POST /buy", vec![attribute("http.route", "/buy")]);
    gateway.last().kind = SpanKind::Server.into();
    let call = gateway.span(Some(root), "POST", Vec::new());
    gateway.last().kind = SpanKind::Client.into();
    let mut stock = gateway.of_service("stock");
    stock.span(Some(call), "POST /take", Vec::new());
    stock.last().kind = SpanKind::Server.into();
    stock.fail("deadlock");
    gateway.send(otlp_http).await;
    stock.send(otlp_http).await;
    gateway.id()
}

async fn data(web: &str, query: &str) -> Value {
    let answer = get_json(&format!("{web}/jaeger/api{query}")).await;
    let mut answer = answer.unwrap_or_else(|| panic!("{query} is answered"));
    assert_eq!(answer["errors"], Value::Null, "{query}");
    answer["data"].take()
}

/// Guarantees: the drop-downs, a search, the trace, and the dependency graph of Grafana's data source show spans received
/// over OTLP.
#[tokio::test]
async fn grafana_finds_by_jaegers_api_what_came_by_otlp() {
    let folder = TempDir::new().expect("a temporary directory");
    let fusebox = Binary::serve(folder.path()).await;
    let web = fusebox.web.as_str();
    let id = send_purchase(&fusebox.otlp_http).await;
    assert_eq!(data(web, "/services").await, json!(["gateway", "stock"]));
    let operations = data(web, "/services/gateway/operations").await;
    assert_eq!(operations, json!(["POST", "POST /buy"]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("the clock is right").as_micros();
    let hour = 3_600_000_000;
    let range = format!("start={}&end={now}&limit=20", now - hour);
    for (conditions, found) in [
        ("service=gateway&operation=POST+%2Fbuy", 1),
        ("service=stock&tags=%7B%22error%22%3A%22true%22%7D", 1),
        ("service=gateway&tags=%7B%22error%22%3A%22true%22%7D", 0),
        (
            "service=gateway&tags=%7B%22http.route%22%3A%22%2Fbuy%22%7D",
            1,
        ),
        ("service=gateway&minDuration=5s", 0),
    ] {
        let traces = data(web, &format!("/traces?{conditions}&{range}")).await;
        assert_eq!(traces.as_array().map(Vec::len), Some(found), "{conditions}");
    }
    is_whole(&data(web, &format!("/traces/{id}")).await[0], &id);
    let millis = format!("start={}&end={}", (now - hour) / 1_000, now / 1_000);
    is_whole(&data(web, &format!("/traces/{id}?{millis}")).await[0], &id);
    let unknown = reqwest::get(format!("{web}/jaeger/api/traces/abc")).await;
    assert_eq!(unknown.expect("an answer").status(), 404);
    let graph = format!(
        "/dependencies?endTs={}&lookback=3600000",
        now / 1_000 + 60_000
    );
    let links = eventually("the call in the graph", || async {
        let links = data(web, &graph).await;
        (links != json!([])).then_some(links)
    })
    .await;
    assert_eq!(
        links,
        json!([{"parent": "gateway", "child": "stock", "callCount": 1}])
    );
    fusebox.terminate().await;
}

fn is_whole(trace: &Value, id: &str) {
    assert_eq!(trace["traceID"], id);
    let spans = trace["spans"].as_array().expect("spans");
    let names: Vec<_> = spans.iter().map(|span| &span["operationName"]).collect();
    assert_eq!(names, ["POST /buy", "POST", "POST /take"]);
    assert_eq!(spans[2]["references"][0]["spanID"], spans[1]["spanID"]);
    assert_eq!(spans[2]["references"][0]["refType"], "CHILD_OF");
    let process = spans[2]["processID"].as_str().expect("a process");
    assert_eq!(trace["processes"][process]["serviceName"], "stock");
    let tags = spans[2]["tags"].as_array().expect("tags");
    assert!(tags.contains(&json!({"key": "error", "type": "bool", "value": true})));
}
