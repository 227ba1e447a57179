//! What the real binary costs in memory when it is asked for more than it should give at once.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use integration_tests::{Binary, TraceBuilder, attribute, eventually, get_json};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use prost::Message;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The most that one request may cost, bytes.
const REQUEST_BYTES_MAX: u64 = 64 << 20;
/// The most that all answers together may hold, bytes.
const ANSWERS_BYTES_MAX: u64 = 256 << 20;
/// What the allocator keeps of earlier requests, and pages of the store's files, bytes.
const SLACK_BYTES: u64 = 8 << 20;

/// How long the memory must not grow until the store counts as quiet.
const QUIET_FOR: Duration = Duration::from_millis(500);

async fn send_gzip(binary: &Binary, body: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body).expect("memory takes it");
    let request = reqwest::Client::new()
        .post(format!("{}/v1/traces", binary.otlp_http))
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "gzip")
        .body(gzip.finish().expect("memory takes it"));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

/// Sends a trace of four requests of 14 spans, each of 127 values of 32,000 bytes: 228 MB. Returns its id.
pub(crate) async fn send_large_trace(binary: &Binary) -> String {
    let mut trace = TraceBuilder::new("shop");
    let value = "x".repeat(32_000);
    let mut root = None;
    for _ in 0..4 {
        let mut request = trace.of_service("shop");
        for _ in 0..14 {
            let attributes = (0..127).map(|n| attribute(&format!("key{n}"), &value));
            let span = request.span(root, "large", attributes.collect());
            root = root.or(Some(span));
        }
        send_gzip(binary, &request.request().encode_to_vec()).await;
        trace = request;
    }
    trace.id()
}

/// Sends a trace of 48 requests of one span, each with a scope of its own of 127 values of 32,000 bytes: 195 MB. Returns
/// its id.
async fn send_large_scopes(binary: &Binary) -> String {
    let mut trace = TraceBuilder::new("shop");
    let mut root = None;
    for number in 0..48 {
        let mut one = trace.of_service("shop");
        root = root.or(Some(one.span(root, "small", Vec::new())));
        let mut request = one.request();
        let value = format!("{number:02}{}", "x".repeat(31_998));
        let attributes = (0..127).map(|n| attribute(&format!("key{n}"), &value));
        request.resource_spans[0].scope_spans[0].scope = Some(InstrumentationScope {
            name: format!("library{number}"),
            attributes: attributes.collect(),
            ..InstrumentationScope::default()
        });
        send_gzip(binary, &request.encode_to_vec()).await;
        trace = one;
    }
    trace.id()
}

/// Waits until no segment is written or sealed any more: what that takes is not what a request costs.
async fn settle(binary: &Binary) {
    eventually("a quiet store", || async {
        let before = binary.reset_peak_memory();
        tokio::time::sleep(QUIET_FOR).await;
        (binary.peak_memory().saturating_sub(before) < SLACK_BYTES / 8).then_some(())
    })
    .await;
}

/// *Guarantees*: what spans share counts towards the memory of a trace too: large scopes are cut to their names.
#[tokio::test]
async fn a_trace_of_large_scopes_is_cut() {
    let data = tempfile::TempDir::new().unwrap();
    let binary = Binary::serve(data.path()).await;
    let id = send_large_scopes(&binary).await;
    settle(&binary).await;
    for prefix in ["/api", "", "/jaeger/api", "/jaeger/api/v3"] {
        let url = format!("{}{prefix}/traces/{id}", binary.web);
        for _ in 0..2 {
            let before = binary.reset_peak_memory();
            get(url.clone()).await;
            let cost = binary.peak_memory().saturating_sub(before);
            assert!(
                cost < REQUEST_BYTES_MAX + SLACK_BYTES,
                "{prefix}: {} MiB",
                cost >> 20
            );
        }
    }
    let trace = get_json(&format!("{}/api/traces/{id}", binary.web))
        .await
        .unwrap();
    assert_eq!(
        (&trace["shortened"], &trace["truncated"]),
        (&true.into(), &false.into())
    );
    let scopes = trace["resourceSpans"][0]["scopeSpans"].as_array().unwrap();
    assert_eq!(scopes.len(), 48);
    let key = |scope: &Value| scope["scope"]["attributes"][0]["key"].clone();
    assert_eq!(key(&scopes[0]), "key0");
    assert_eq!(key(&scopes[47]), "fusebox.shortened");
    assert_eq!(scopes[47]["scope"]["name"], "library47");
}

async fn get(url: String) -> (reqwest::header::HeaderMap, String) {
    let answer = reqwest::get(&url).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{url}");
    (
        answer.headers().clone(),
        answer.text().await.expect("a whole body"),
    )
}

/// *Guarantees*: a trace of any size is answered within 64 MiB by every route, again and again, and says that it is cut.
#[tokio::test]
async fn a_trace_larger_than_memory_is_cut() {
    let data = tempfile::TempDir::new().unwrap();
    let binary = Binary::serve(data.path()).await;
    let id = send_large_trace(&binary).await;
    let web = &binary.web;
    for path in [
        format!("/api/traces/{id}"),
        format!("/traces/{id}"),
        format!("/traces/{id}?q=nothing"),
        format!("/api/v2/trace/{id}"),
        "/api/v2/traces?serviceName=shop".to_owned(),
        format!("/jaeger/api/traces/{id}?prettyPrint=true"),
        "/jaeger/api/traces?service=shop".to_owned(),
        format!("/jaeger/api/v3/traces/{id}"),
        "/api/traces?attribute=key1=~y".to_owned(),
    ] {
        for _ in 0..2 {
            let before = binary.reset_peak_memory();
            let (_, text) = get(format!("{web}{path}")).await;
            let cost = binary.peak_memory().saturating_sub(before);
            assert!(
                cost < REQUEST_BYTES_MAX + SLACK_BYTES,
                "{path}: {} MiB",
                cost >> 20
            );
            let is_search = path.contains("=~");
            assert_eq!(text.contains("fusebox.shortened"), !is_search, "{path}");
        }
    }
    let trace = get_json(&format!("{web}/api/traces/{id}")).await.unwrap();
    assert_eq!(
        (&trace["shortened"], &trace["truncated"]),
        (&true.into(), &false.into())
    );
    let spans = trace["resourceSpans"][0]["scopeSpans"][0]["spans"]
        .as_array()
        .unwrap();
    assert_eq!(spans.len(), 56);
    let (headers, _) = get(format!("{web}/api/v2/trace/{id}")).await;
    assert!(
        headers["fusebox-missing"]
            .to_str()
            .unwrap()
            .contains("48 MiB")
    );
    let jaeger = get_json(&format!("{web}/jaeger/api/traces/{id}"))
        .await
        .unwrap();
    let warning = jaeger["data"][0]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("too large"), "{warning}");
    let (_, page) = get(format!("{web}/traces/{id}")).await;
    assert!(page.contains("This trace is too large to load in full"));
}

/// *Guarantees*: answers that are not read take no more than the memory of all answers; a client that finds no room gets a message, and
/// health checks and senders are answered all the while.
#[tokio::test]
async fn answers_that_are_not_read_are_bounded() {
    let data = tempfile::TempDir::new().unwrap();
    let binary = Binary::serve(data.path()).await;
    let id = send_large_trace(&binary).await;
    let (before, web) = (binary.reset_peak_memory(), &binary.web);
    let address = web.trim_start_matches("http://");
    let mut unread = Vec::new();
    for number in 0..16 {
        let prefix = ["", "/jaeger"][number % 2];
        let path = format!("{prefix}/api/traces/{id}");
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        unread.push(socket);
    }
    let trace_url = format!("{web}/api/traces/{id}");
    let refused = eventually("a refusal", || async {
        let answer = reqwest::get(&trace_url).await.ok()?;
        (answer.status() == 503).then_some(answer)
    });
    let refused = refused.await;
    assert_eq!(refused.headers()["retry-after"], "5");
    let text = refused.text().await.unwrap();
    assert!(text.contains("too many queries"), "{text}");
    assert_eq!(
        reqwest::get(format!("{web}/healthz"))
            .await
            .unwrap()
            .status(),
        200
    );
    let mut small = TraceBuilder::new("shop");
    small.span(None, "small", Vec::new());
    send_gzip(&binary, &small.request().encode_to_vec()).await;
    let cost = binary.peak_memory().saturating_sub(before);
    assert!(
        cost < ANSWERS_BYTES_MAX + REQUEST_BYTES_MAX,
        "{} MiB",
        cost >> 20
    );
    drop(unread);
    eventually("room again", || get_json(&trace_url)).await;
}

/// *Guarantees*: pages and answers are compressed for clients that ask for it, and no page is kept.
#[tokio::test]
async fn answers_are_compressed_when_asked() {
    let data = tempfile::TempDir::new().unwrap();
    let binary = Binary::serve(data.path()).await;
    for path in ["/about", "/metrics"] {
        let request = reqwest::Client::new().get(format!("{}{path}", binary.web));
        let answer = request
            .header("accept-encoding", "gzip")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
        let (plain, _) = get(format!("{}{path}", binary.web)).await;
        assert!(!plain.contains_key("content-encoding"), "{path}");
    }
}

/// *Guarantees*: a trace of 50,000 spans of normal size is whole in every answer.
#[tokio::test]
async fn a_trace_of_50_000_spans_is_whole() {
    let data = tempfile::TempDir::new().unwrap();
    let binary = Binary::serve(data.path()).await;
    let mut trace = TraceBuilder::new("shop");
    let mut root = None;
    for _ in 0..10 {
        let mut request = trace.of_service("shop");
        for number in 0..5_000 {
            let attributes = vec![
                attribute("http.request.method", "GET"),
                attribute("url.path", "/products/4711"),
                attribute("server.address", "inventory.internal"),
                attribute("number", &number.to_string()),
            ];
            let span = request.span(root, "GET /products/{id}", attributes);
            root = root.or(Some(span));
        }
        send_gzip(&binary, &request.request().encode_to_vec()).await;
        trace = request;
    }
    let (id, web) = (trace.id(), &binary.web);
    let before = binary.reset_peak_memory();
    let whole = get_json(&format!("{web}/api/traces/{id}")).await.unwrap();
    let cost = binary.peak_memory().saturating_sub(before);
    assert!(cost < REQUEST_BYTES_MAX + SLACK_BYTES, "{} MiB", cost >> 20);
    let spans = whole["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array();
    let is_whole = |span: &Value| span["attributes"].as_array().is_some_and(|a| a.len() == 4);
    assert_eq!(spans.unwrap().len(), 50_000);
    assert!(spans.unwrap().iter().all(is_whole));
    assert_eq!(
        (&whole["shortened"], &whole["truncated"]),
        (&false.into(), &false.into())
    );
    let zipkin = get_json(&format!("{web}/api/v2/trace/{id}")).await.unwrap();
    assert_eq!(zipkin.as_array().unwrap().len(), 50_000);
    let (_, page) = get(format!("{web}/traces/{id}")).await;
    assert!(page.contains("50,000") && page.contains("Rows from 501 of 50000"));
}
