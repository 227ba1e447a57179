//! Zipkin clients against the real binary: the requests of Grafana's Zipkin data source and of Zipkin Lens, in their
//! order.

use std::time::{SystemTime, UNIX_EPOCH};

use integration_tests::{Binary, TraceBuilder, attribute, eventually, get_json};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Sends a call from `Gateway` to `stock`, whose database fails; returns the trace's id.
async fn send_purchase(otlp_http: &str) -> String {
    let mut gateway = TraceBuilder::new("Gateway");
    let root = gateway.span(None, "POST /Buy", vec![attribute("http.route", "/Buy")]);
    gateway.last().kind = SpanKind::Server.into();
    let call = gateway.span(Some(root), "POST", vec![attribute("server.address", "s1")]);
    gateway.last().kind = SpanKind::Client.into();
    let mut stock = gateway.of_service("stock");
    let served = stock.span(Some(call), "POST /take", Vec::new());
    stock.last().kind = SpanKind::Server.into();
    stock.span(Some(served), "UPDATE", vec![attribute("db.name", "stock")]);
    stock.last().kind = SpanKind::Client.into();
    stock.fail("deadlock");
    gateway.send(otlp_http).await;
    stock.send(otlp_http).await;
    gateway.id()
}

async fn ask(web: &str, query: &str) -> Value {
    let answer = get_json(&format!("{web}{query}")).await;
    answer.unwrap_or_else(|| panic!("{query} is answered"))
}

/// Returns a trace's spans by name.
fn names(trace: &Value) -> Vec<&str> {
    let spans = trace.as_array().expect("a list of spans").iter();
    spans.filter_map(|span| span["name"].as_str()).collect()
}

#[tokio::test]
async fn grafana_and_lens_find_a_trace_that_came_by_otlp() {
    let data = TempDir::new().expect("a temporary directory");
    let fusebox = Binary::serve(data.path()).await;
    let id = send_purchase(&fusebox.otlp_http).await;
    grafana_finds(&fusebox.web, &id).await;
    lens_finds(&fusebox.web, &id).await;
    fusebox.terminate().await;
}

/// The data source fills two drop-downs, searches without a range, and gets a trace by id.
async fn grafana_finds(web: &str, id: &str) {
    let services = ask(web, "/api/v2/services").await;
    assert_eq!(services, json!(["gateway", "stock"]));
    let spans = ask(web, "/api/v2/spans?serviceName=gateway").await;
    assert_eq!(spans, json!(["post", "post /buy"]));
    let query = "/api/v2/traces?serviceName=gateway&spanName=post+%2Fbuy";
    let traces = ask(web, query).await;
    assert_eq!(traces.as_array().map(Vec::len), Some(1));
    let trace = ask(web, &format!("/api/v2/trace/{id}")).await;
    assert_eq!(traces[0], trace);
    let all = ["post /buy", "post", "post /take", "update"];
    assert_eq!(names(&trace), all);
    assert_eq!(trace[1]["remoteEndpoint"]["serviceName"], "s1");
    assert_eq!(trace[3]["tags"]["error"], "deadlock");
    assert_eq!(trace[3]["duration"], 5_000);
    assert_eq!(trace[3]["parentId"], trace[2]["id"]);
    let unknown = reqwest::get(format!("{web}/api/v2/trace/abc")).await;
    assert_eq!(unknown.expect("an answer").status(), 404);
}

/// Lens fills its search form, searches, opens a trace, and draws the dependencies.
async fn lens_finds(web: &str, id: &str) {
    let web = format!("{web}/zipkin");
    let config = ask(&web, "/config.json").await;
    let (limit, lookback) = (&config["queryLimit"], &config["defaultLookback"]);
    ask(&web, "/api/v2/services").await;
    assert_eq!(ask(&web, "/api/v2/autocompleteKeys").await, json!([]));
    ask(&web, "/api/v2/spans?serviceName=gateway").await;
    let remote = "/api/v2/remoteServices?serviceName=gateway";
    let remote = eventually("the called service", || async {
        let names = get_json(&format!("{web}{remote}")).await?;
        (names != json!([])).then_some(names)
    })
    .await;
    assert_eq!(remote, json!(["stock"]));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("the clock is right").as_millis();
    let range = format!("endTs={now}&lookback={lookback}&limit={limit}");
    for (conditions, found) in [
        ("serviceName=gateway&remoteServiceName=stock", 1),
        ("serviceName=stock&annotationQuery=error", 1),
        ("serviceName=gateway&annotationQuery=error", 0),
        ("serviceName=gateway&minDuration=5000", 1),
        ("serviceName=gateway&minDuration=6000", 0),
    ] {
        let traces = ask(&web, &format!("/api/v2/traces?{conditions}&{range}")).await;
        let count = traces.as_array().map(Vec::len);
        assert_eq!(count, Some(found), "{conditions}");
    }
    let trace = ask(&web, &format!("/api/v2/trace/{id}")).await;
    assert_eq!(trace.as_array().map(Vec::len), Some(4));
    let links = ask(&web, &format!("/api/v2/dependencies?{range}")).await;
    let call = json!({"parent": "gateway", "child": "stock", "callCount": 1});
    assert_eq!(
        links.as_array().and_then(|links| links.first()),
        Some(&call)
    );
}
