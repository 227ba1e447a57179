//! A real Prometheus scrapes the collector.

use std::path::Path;
use std::process::Stdio;

use fusebox::circuit_breaker::EffectiveState;
use fusebox_collector::model::UnixNanos;
use integration_tests::{FakeBreaker, Stack, TraceBuilder, child, eventually, get_json, needed};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// A Prometheus with one target; it is killed when dropped.
struct Prometheus {
    url: String,
    _child: Child,
    _data: TempDir,
}

impl Prometheus {
    /// Starts it on a free port.
    async fn scraping(web: &str) -> Self {
        let data = TempDir::new().expect("a temporary directory");
        let target = web.trim_start_matches("http://");
        // `instance` is the instance of the service, which the target's address must not replace.
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: fusebox\n    honor_labels: true\n    \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("a file");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        drop(socket);
        let mut command = child::server(needed("FUSEBOX_TEST_PROMETHEUS"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                data.path().join("tsdb").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .args(["--enable-feature=exemplar-storage", "--log.level=warn"]);
        Self {
            url: format!("http://{address}"),
            _child: command.spawn().expect("Prometheus starts"),
            _data: data,
        }
    }

    /// Returns the data of an answer; `None` if there is none yet.
    async fn ask(&self, path: &str, query: &str) -> Option<Value> {
        let mut url = url::Url::parse(&format!("{}/api/v1/{path}", self.url)).expect("a URL");
        let now = UnixNanos::now().get() / 1_000_000_000;
        let mut pairs = url.query_pairs_mut();
        pairs.append_pair("query", query);
        if path == "query_exemplars" {
            pairs.append_pair("start", &(now - 600).to_string());
            pairs.append_pair("end", &(now + 60).to_string());
        }
        drop(pairs);
        let answer = get_json(url.as_str()).await?;
        let data = answer["data"].clone();
        let found = data.as_array().or(data["result"].as_array())?;
        (!found.is_empty()).then_some(data)
    }

    /// Waits until a query has a result; returns its first value.
    async fn value(&self, query: &str) -> String {
        let data = eventually(query, || self.ask("query", query)).await;
        let value = &data["result"][0]["value"][1];
        value.as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a call from one service to another, each its half.
async fn call(otlp_http: &str) -> String {
    let mut front = TraceBuilder::new("front");
    let client = front.span(None, "GET stock", Vec::new());
    front.last().kind = SpanKind::Client as i32;
    let mut stock = front.of_service("stock");
    stock.span(Some(client), "GET /stock", Vec::new());
    stock.last().kind = SpanKind::Server as i32;
    front.send(otlp_http).await;
    stock.send(otlp_http).await;
    front.id()
}

/// Returns what `promtool check metrics` says of a text, empty if nothing.
async fn check(prometheus: &Path, text: &str) -> String {
    let mut child = Command::new(prometheus.with_file_name("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("standard input is piped");
    stdin.write_all(text.as_bytes()).await.expect("it is read");
    drop(stdin);
    let output = child.wait_with_output().await.expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8(said).expect("text")
}

/// *Scenario*: a call between two services, and an open breaker; Prometheus scrapes every second.
/// *Guarantees*: it finds them under the names that Grafana's service map, its RED tables and resilience4j's dashboards query,
/// and the trace of the call as an exemplar, for which it asks in OpenMetrics. Its own checker has nothing to say of the text.
#[tokio::test]
#[ignore = "needs FUSEBOX_TEST_PROMETHEUS"]
async fn prometheus_scrapes_services_and_circuits() {
    let stack = Stack::start().await;
    let trace = call(&stack.otlp_http).await;
    let mut breaker = FakeBreaker::new("front", "stock", "front-1");
    breaker.report(&stack.otlp_http, 5).await;
    breaker
        .turn(&stack.otlp_http, EffectiveState::Open, &trace)
        .await;
    let prometheus = Prometheus::scraping(&stack.web).await;
    for (query, expected) in [
        ("up", "1"),
        (
            r#"traces_service_graph_request_total{client="front",server="stock"}"#,
            "1",
        ),
        (
            r#"traces_service_graph_request_server_seconds_count{client="front",server="stock"}"#,
            "1",
        ),
        (
            r#"traces_spanmetrics_calls_total{service="stock",span_name="GET /stock",span_kind="SPAN_KIND_SERVER"}"#,
            "1",
        ),
        (
            r#"histogram_quantile(1, traces_spanmetrics_latency_bucket{service="stock"}) > bool 0"#,
            "1",
        ),
        (
            r#"resilience4j_circuitbreaker_state{application="front",name="stock",instance="front-1",state="open"}"#,
            "1",
        ),
        (
            r#"resilience4j_circuitbreaker_calls_seconds_count{name="stock",kind="successful"}"#,
            "5",
        ),
        ("fusebox_collector_spans_written_total", "2"),
    ] {
        assert_eq!(prometheus.value(query).await, expected, "{query}");
    }
    let bucket = "traces_spanmetrics_latency_bucket";
    let asked = || prometheus.ask("query_exemplars", bucket);
    let exemplars = eventually("exemplars", asked).await;
    assert!(exemplars.to_string().contains(&trace), "{exemplars}");

    let text = reqwest::get(format!("{}/metrics", stack.web)).await;
    let text = text.expect("an answer").text().await.expect("text");
    let prometheus = needed("FUSEBOX_TEST_PROMETHEUS");
    assert_eq!(check(Path::new(&prometheus), &text).await, "");
}
