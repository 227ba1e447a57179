//! Spans from pages, which call by gRPC-web.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use integration_tests::{Binary, TraceBuilder, eventually, get_json};
use prost::Message;
use tempfile::TempDir;

const ORIGIN: &str = "https://shop.example";
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Sends a trace of one span as a page of that origin does; returns the trace and the answer.
async fn send(
    url: &str,
    (content_type, origin): (&str, &str),
    encode: fn(Vec<u8>) -> Vec<u8>,
) -> (String, reqwest::Response) {
    let mut trace = TraceBuilder::new("page");
    trace.span(None, "click", Vec::new());
    let message = trace.request().encode_to_vec();
    let length = u32::try_from(message.len()).expect("it is short");
    let framed = [&[0][..], &length.to_be_bytes(), &message].concat();
    let answer = reqwest::Client::new()
        .post(format!("{url}{EXPORT}"))
        .header("content-type", content_type)
        .header("origin", origin)
        .header("x-grpc-web", "1")
        .body(encode(framed))
        .send()
        .await
        .expect("the collector answers");
    (trace.id(), answer)
}

/// *Scenario*: a page of an allowed origin sends in binary and in text, on both ports that speak HTTP; then one of another
/// origin does.
/// *Guarantees*: what the status in the answer's last frame confirms can be read; the other page is refused, and stores nothing.
#[tokio::test]
async fn pages_of_an_allowed_origin_send_by_grpc_web() {
    let data = TempDir::new().expect("a temporary directory");
    let binary = Binary::serve_with(data.path(), &["--cors-allowed-origin", ORIGIN]).await;
    let binary_form = ("application/grpc-web+proto", ORIGIN);
    let text_form = ("application/grpc-web-text+proto", ORIGIN);
    let plain: fn(Vec<u8>) -> Vec<u8> = |framed| framed;
    let text: fn(Vec<u8>) -> Vec<u8> = |framed| STANDARD.encode(framed).into_bytes();
    for url in [&binary.web, &binary.otlp_http] {
        for (form, encode) in [(binary_form, plain), (text_form, text)] {
            let (id, answer) = send(url, form, encode).await;
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["access-control-allow-origin"], ORIGIN);
            assert_eq!(answer.headers()["content-type"], form.0);
            let body = answer.bytes().await.expect("a body").to_vec();
            let body = match form == text_form {
                true => STANDARD.decode(body).expect("base64"),
                false => body,
            };
            assert!(body.ends_with(b"grpc-status: 0\r\n"), "{body:?}");
            let url = format!("{}/api/traces/{id}", binary.web);
            let read = eventually("the page's trace", || get_json(&url)).await;
            assert!(read.to_string().contains("\"click\""), "{read}");
        }
    }
    let other = ("application/grpc-web+proto", "https://evil.example");
    let (id, answer) = send(&binary.web, other, plain).await;
    let body = answer.bytes().await.expect("a body");
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("grpc-status: 7"), "{body}");
    let url = format!("{}/api/traces/{id}", binary.web);
    assert_eq!(get_json(&url).await, None);
    binary.terminate().await;
}
