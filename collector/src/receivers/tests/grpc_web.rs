//! gRPC-web, in the bytes and headers of the two clients that pages use.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;

use super::grpc::framed;
use super::{ALLOWED_ORIGIN, Answer, BODY_MAX, GRPC_TRACES, Receivers, request};
use crate::pipeline::testing::spans_request;

/// The frames of success: an empty message, and the trailers.
const OK: &[u8] = b"\0\0\0\0\0\x80\0\0\0\x10grpc-status: 0\r\n";

const ORIGIN: (&str, &str) = ("origin", ALLOWED_ORIGIN);

/// As `grpc-web` and `@improbable-eng/grpc-web` call in binary.
const BINARY: [(&str, &str); 3] = [
    ("content-type", "application/grpc-web+proto"),
    ("x-grpc-web", "1"),
    ("x-user-agent", "grpc-web-javascript/0.1"),
];

/// As `grpc-web` calls unless set otherwise.
const TEXT: [(&str, &str); 4] = [
    ("content-type", "application/grpc-web-text"),
    ("accept", "application/grpc-web-text"),
    ("x-grpc-web", "1"),
    ("x-user-agent", "grpc-web-javascript/0.1"),
];

fn content_type(answer: &Answer) -> &str {
    answer.headers["content-type"].to_str().unwrap()
}

#[tokio::test]
async fn pages_send_spans_in_binary_and_in_text() {
    let receivers = Receivers::start().await;
    let body = framed(0, &spans_request(7, 0));
    let mut headers = BINARY.to_vec();
    headers.push(ORIGIN);
    let answer = receivers.post(GRPC_TRACES, &headers, body.clone()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.body, OK);
    assert_eq!(content_type(&answer), "application/grpc-web+proto");
    let allowed = &answer.headers["access-control-allow-origin"];
    assert_eq!(allowed, ALLOWED_ORIGIN);

    let mut headers = TEXT.to_vec();
    headers.push(ORIGIN);
    // In one piece, and in two with a padding each.
    let whole = STANDARD.encode(&body);
    let pieces = [&body[..100], &body[100..]].map(|piece| STANDARD.encode(piece));
    for text in [whole, pieces.concat()] {
        let answer = receivers.post(GRPC_TRACES, &headers, text).await;
        assert_eq!(answer.body, STANDARD.encode(OK));
        assert_eq!(content_type(&answer), "application/grpc-web-text+proto");
    }
    assert_eq!(receivers.bench.disk.spans(), 21);
    // And where gRPC itself is spoken.
    let uri = format!("http://{}{GRPC_TRACES}", receivers.grpc);
    let call = request(&uri, &BINARY, Full::new(body));
    let answer = super::send_http2(receivers.grpc, call).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, OK));
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_browser_asks_first_and_other_pages_may_not() {
    let receivers = Receivers::start().await;
    for (origin, status) in [(ALLOWED_ORIGIN, 204), ("https://evil.example", 403)] {
        let question = ::http::Request::options(GRPC_TRACES)
            .header("host", "localhost")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,x-grpc-web,x-user-agent",
            )
            .body(Full::<Bytes>::default())
            .unwrap();
        assert_eq!(receivers.send(question).await.status, status, "{origin}");
    }
    let mut headers = BINARY.to_vec();
    headers.push(("origin", "https://evil.example"));
    let body = framed(0, &spans_request(1, 0));
    let answer = receivers.post(GRPC_TRACES, &headers, body).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    assert!(status(&answer).starts_with("grpc-status: 7\r\n"));
    assert_eq!(receivers.bench.disk.spans(), 0);
    receivers.assert_conserved();
}

/// Returns the trailers of an answer that has nothing else.
fn status(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200);
    let (frame, lines) = answer.body.split_at(5);
    let length = u32::from_be_bytes(frame[1..].try_into().unwrap());
    assert_eq!((frame[0], length as usize), (0x80, lines.len()));
    std::str::from_utf8(lines).unwrap()
}

#[tokio::test]
async fn what_is_wrong_is_in_the_trailers() {
    let receivers = Receivers::start().await;
    let spans = framed(0, &spans_request(1, 0));
    let large = framed(0, &vec![0; BODY_MAX + 1]);
    let unknown = "/shop.Cart/Buy";
    for (path, body, code, says) in [
        (GRPC_TRACES, Bytes::new(), 3, "no message"),
        (GRPC_TRACES, spans.slice(..9), 3, "shorter than its frame"),
        (GRPC_TRACES, framed(0, b"\xff"), 3, "malformed"),
        (GRPC_TRACES, framed(1, b"x"), 3, "without a grpc-encoding"),
        (GRPC_TRACES, large, 8, "larger"),
        (unknown, spans, 12, "/shop.Cart/Buy"),
    ] {
        let answer = receivers.post(path, &BINARY, body).await;
        let lines = status(&answer);
        assert!(
            lines.contains(&format!("grpc-status: {code}\r\n")),
            "{lines}"
        );
        assert!(lines.contains(says), "{lines}");
    }
    let answer = receivers.post(GRPC_TRACES, &TEXT, "AAAAA").await;
    let lines = STANDARD.decode(&answer.body).unwrap();
    let lines = String::from_utf8_lossy(&lines[5..]);
    assert!(
        lines.contains("grpc-status: 3\r\n") && lines.contains("base64"),
        "{lines}"
    );
    receivers.assert_conserved();
}
