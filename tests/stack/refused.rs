//! Calls without an answer, of clients that name only an address: every page and dialect shows them as calls of the
//! service that was there.

use integration_tests::{Binary, Browser, TraceBuilder, attribute, eventually, get_json};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tempfile::TempDir;

/// Sends a call of the gateway to an address; `stock` answers it, or it is refused. Returns the trace's id.
async fn call(otlp_http: &str, address: &str, is_answered: bool) -> String {
    let (host, port) = address.rsplit_once(':').expect("host and port");
    let mut gateway = TraceBuilder::new("gateway");
    let root = gateway.span(None, "GET /cart", Vec::new());
    gateway.last().kind = SpanKind::Server.into();
    let to = vec![
        attribute("server.address", host),
        attribute("server.port", port),
    ];
    let call = gateway.span(Some(root), "GET", to);
    gateway.last().kind = SpanKind::Client.into();
    if is_answered {
        let mut stock = gateway.of_service("stock");
        stock.span(Some(call), "GET /stock", Vec::new());
        stock.last().kind = SpanKind::Server.into();
        stock.send(otlp_http).await;
    } else {
        gateway.fail("connection refused");
    }
    gateway.send(otlp_http).await;
    gateway.id()
}

/// Waits until a list of calls has exactly this one, of both traces.
async fn has_calls(url: &str, of: impl Fn(&Value) -> Value, wanted: Value) {
    eventually(url, || async {
        let links = of(&get_json(url).await?);
        (links == wanted).then_some(())
    })
    .await;
}

/// *Scenario*: a service answered at an address; then its process is gone, and a client that names only the address is
/// refused there. The collector restarts.
/// *Guarantees*: map, service, call tree, Zipkin's and Jaeger's dependencies and Zipkin's search name the service, not the
/// address, also after the restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_call_is_shown_under_its_service() {
    let data = TempDir::new().expect("a temporary directory");
    let fusebox = Binary::serve(data.path()).await;
    call(&fusebox.otlp_http, "127.0.0.1:18082", true).await;
    let refused = call(&fusebox.otlp_http, "127.0.0.1:18082", false).await;
    shows(&fusebox, &refused, 2).await;
    fusebox.terminate().await;

    let fusebox = Binary::serve(data.path()).await;
    let refused = call(&fusebox.otlp_http, "127.0.0.1:18082", false).await;
    shows(&fusebox, &refused, 3).await;
    fusebox.terminate().await;
}

async fn shows(fusebox: &Binary, refused: &str, calls: u64) {
    let web = &fusebox.web;
    let of_zipkin = |links: &Value| links.clone();
    let errors = calls - 1;
    let link = serde_json::json!([{"parent": "gateway", "child": "stock", "callCount": calls, "errorCount": errors}]);
    let now = fusebox_collector::model::UnixNanos::now().millis() + 120_000;
    let url = format!("{web}/zipkin/api/v2/dependencies?endTs={now}&lookback=3600000");
    has_calls(&url, of_zipkin, link).await;
    let of_jaeger = |answer: &Value| answer["data"].clone();
    let link = serde_json::json!([{"parent": "gateway", "child": "stock", "callCount": calls}]);
    let url = format!("{web}/jaeger/api/dependencies?endTs={now}&lookback=3600000");
    has_calls(&url, of_jaeger, link).await;
    let url = format!(
        "{web}/zipkin/api/v2/traces?serviceName=gateway&remoteServiceName=stock&endTs={now}&lookback=3600000&limit=10"
    );
    let found = get_json(&url).await.expect("an answer");
    assert_eq!(
        found.as_array().map(Vec::len),
        Some(calls as usize),
        "{found}"
    );

    let browser = Browser::start(1440, 900).await;
    for (path, name) in [
        ("/map", "stock"),
        ("/services/gateway", "stock"),
        (&format!("/traces/{refused}"), "→ stock"),
    ] {
        browser.open(&format!("{web}{path}")).await;
        let words = browser
            .client
            .execute("return document.body.textContent", Vec::new())
            .await;
        let words = words
            .expect("a page")
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(words.contains(name), "{path}: {words}");
        assert!(
            path.starts_with("/traces") || !words.contains("18082"),
            "{path}: {words}"
        );
        browser
            .screenshot(&format!("refused{}", path.replace('/', "-")))
            .await;
    }
    browser.close().await;
}
