//! OTLP/HTTP: what is taken, and what bad input gets.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

use super::{BODY_MAX, Receivers, gzip, request, send_http2};
use crate::pipeline::testing::{named_spans_request, spans_request};
use crate::receivers::rpc::Status;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn spans_are_taken_in_every_shape_that_sdks_send() {
    let receivers = Receivers::start().await;
    let spans = spans_request(3, 0);
    let zstd = Bytes::from(zstd::encode_all(&spans[..], 1).unwrap());
    let odd_case = ("Content-Type", "Application/X-Protobuf; charset=utf-8");
    let coding = |name| ("content-encoding", name);
    for (path, headers, body) in [
        ("/v1/traces", vec![PROTOBUF], spans.clone()),
        ("/", vec![PROTOBUF], spans.clone()),
        ("/v1/traces", vec![odd_case], spans.clone()),
        ("/v1/traces", vec![PROTOBUF, coding("gzip")], gzip(&spans)),
        ("/v1/traces", vec![PROTOBUF, coding("zstd")], zstd),
        ("/v1/traces", vec![PROTOBUF], Bytes::new()),
    ] {
        let answer = receivers.post(path, &headers, body).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(answer.headers["content-type"], "application/x-protobuf");
        assert!(answer.body.is_empty());
    }
    assert_eq!(receivers.bench.disk.spans(), 15);
    receivers.assert_conserved();
}

#[tokio::test]
async fn metrics_and_logs_are_taken() {
    let receivers = Receivers::start().await;
    for path in ["/v1/metrics", "/v1/logs"] {
        let answer = receivers.post(path, &[PROTOBUF], Bytes::new()).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(*receivers.bench.circuits.metric_requests.lock().unwrap(), 1);
    assert_eq!(*receivers.bench.circuits.log_requests.lock().unwrap(), 1);
}

#[tokio::test]
async fn a_body_without_content_length_is_taken() {
    let receivers = Receivers::start().await;
    let spans = spans_request(2_000, 0);
    let pieces: Vec<_> = spans
        .chunks(1_000)
        .map(|piece| spans.slice_ref(piece))
        .collect();
    let answer = receivers
        .send(request("/v1/traces", &[PROTOBUF], streamed(pieces)))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(receivers.bench.disk.spans(), 2_000);
    receivers.assert_conserved();
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let receivers = Receivers::start().await;
    let uri = format!("http://{}/v1/traces", receivers.http);
    let answer = send_http2(
        receivers.http,
        request(&uri, &[PROTOBUF], Full::new(spans_request(2, 0))),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(receivers.bench.disk.spans(), 2);
}

#[tokio::test]
async fn refused_spans_are_a_partial_success() {
    let receivers = Receivers::start().await;
    let answer = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(3, 2))
        .await;
    assert_eq!(answer.status, 200);
    let response = ExportTraceServiceResponse::decode(answer.body).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2);
    assert!(partial.error_message.contains("invalid_trace_id"));
    assert_eq!(receivers.bench.disk.spans(), 3);
    receivers.assert_conserved();
}

#[tokio::test]
async fn json_is_taken_and_answered_in_json() {
    let receivers = Receivers::start().await;
    let request = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[
        {"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"good",
         "startTimeUnixNano":"NOW","endTimeUnixNano":"NOW","kind":2},
        {"traceId":"","spanId":"eee19b7ec3c1b175","name":"bad"}]}]}]}"#
        .replace("NOW", &crate::model::UnixNanos::now().get().to_string());
    for headers in [
        vec![("content-type", "application/json; charset=utf-8")],
        vec![JSON, ("content-encoding", "gzip")],
    ] {
        let body = match headers.len() {
            1 => Bytes::from(request.clone()),
            _ => gzip(request.as_bytes()),
        };
        let answer = receivers.post("/v1/traces", &headers, body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(
            answer.text().contains(r#""rejectedSpans":"1""#),
            "{}",
            answer.text()
        );
    }
    assert_eq!(receivers.bench.disk.spans(), 2);
    receivers.assert_conserved();
}

/// Sends a bad body and checks the answer: status, code in a `google.rpc.Status` of the same format, and
/// message.
async fn refused(
    receivers: &Receivers,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    expected: (u16, i64),
    says: &str,
) {
    let answer = receivers.post("/v1/traces", headers, body).await;
    assert_eq!(answer.status, expected.0, "{says}");
    assert_eq!(answer.headers["content-type"], headers[0].1, "{says}");
    assert!(!answer.headers.contains_key("retry-after"));
    let (code, message) = if headers[0] == JSON {
        let status: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let code = status["code"].as_i64().unwrap();
        (code, status["message"].to_string())
    } else {
        let status = Status::decode(answer.body).unwrap();
        (i64::from(status.code), status.message)
    };
    assert_eq!(code, expected.1, "{says}");
    assert!(message.contains(says), "{says}: {message}");
}

#[tokio::test]
async fn unreadable_bodies_get_a_400_that_says_what_was_wrong() {
    let receivers = Receivers::start().await;
    let spans = spans_request(3, 0);
    let gzipped = [PROTOBUF, ("content-encoding", "gzip")];
    let malformed = (400, 3);
    let torn = spans.slice(..spans.len() - 2);
    refused(&receivers, &[PROTOBUF], torn, malformed, "protobuf").await;
    let noise = &b"\xff\xff\xff"[..];
    refused(&receivers, &[PROTOBUF], noise, malformed, "protobuf").await;
    let no_json = r#"{"resourceSpans": [}"#;
    refused(&receivers, &[JSON], no_json, malformed, "JSON").await;
    let plain = spans.clone();
    refused(&receivers, &gzipped, plain, malformed, "not valid gzip").await;
    let torn = gzip(&spans).slice(..40);
    refused(&receivers, &gzipped, torn, malformed, "not valid gzip").await;
    let brotli = [PROTOBUF, ("content-encoding", "br")];
    refused(&receivers, &brotli, spans, (415, 12), "gzip, zstd").await;
    receivers.assert_conserved();
}

#[tokio::test]
async fn oversized_bodies_get_a_413_and_harm_no_other_client() {
    let receivers = Receivers::start().await;
    let gzipped = [PROTOBUF, ("content-encoding", "gzip")];
    let large = vec![0; BODY_MAX + 1];
    let says = "larger than 1048576 bytes";
    refused(&receivers, &[PROTOBUF], large, (413, 8), says).await;
    let bomb = gzip(&vec![0; 4 << 20]);
    let says = "more than 1048576 bytes";
    refused(&receivers, &gzipped, bomb, (413, 8), says).await;
    let answer = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(1, 0))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(receivers.bench.disk.spans(), 1);
    receivers.assert_conserved();
}

#[tokio::test]
async fn what_is_wrong_before_the_body_is_plain_text() {
    let receivers = Receivers::start().await;
    let unknown = receivers.post("/v1/trace", &[PROTOBUF], "").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("/v1/traces"));
    let untyped = receivers.post("/v1/traces", &[], spans_request(1, 0)).await;
    assert_eq!(untyped.status, 415);
    assert!(untyped.text().contains("application/x-protobuf"));
    let form = [("content-type", "text/plain")];
    assert_eq!(receivers.post("/v1/traces", &form, "{}").await.status, 415);
    let get = ::http::Request::get("/v1/traces")
        .header("host", "localhost")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = receivers.send(get).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.headers["allow"], "POST");
    assert!(
        answer.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    receivers.assert_conserved();
}

/// *Scenario*: 100 MB, a hundred times the limit, arrive in chunks without Content-Length.
/// *Guarantees*: the sender can read the 413, and memory stays within the budget.
#[tokio::test]
async fn an_endless_body_is_refused_within_bounds() {
    let receivers = Receivers::start().await;
    let counters = receivers.bench.counters.clone();
    let piece = Bytes::from(vec![0; 100_000]);
    let pieces = stream::iter((0..1_000).map(move |_| {
        assert!(counters.queue_bytes.get() <= 4 << 20);
        Ok::<_, Infallible>(Frame::data(piece.clone()))
    }));
    let answer = receivers
        .send(request("/v1/traces", &[PROTOBUF], StreamBody::new(pieces)))
        .await;
    assert_eq!(answer.status, 413);
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_full_collector_lets_senders_wait_and_then_says_when_to_come_back() {
    let receivers = Receivers::start_with(16 << 10, None).await;
    let waiting = receivers.fill().await;
    tokio::time::pause();
    let answer = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(200, 0))
        .await;
    tokio::time::resume();
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=3).contains(&seconds));
    let status = Status::decode(answer.body).unwrap();
    assert_eq!(status.code, 8);
    assert!(status.message.contains("full"));
    receivers.bench.disk.change(|disk| disk.stuck = false);
    for sender in waiting {
        sender.await.unwrap();
    }
    assert_eq!(receivers.bench.disk.spans(), 201);
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_broken_disk_is_a_503_and_the_batch_can_come_again() {
    let receivers = Receivers::start().await;
    receivers.bench.disk.change(|disk| disk.broken = true);
    let answer = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(2, 0))
        .await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "3");
    assert_eq!(Status::decode(answer.body).unwrap().code, 14);
    receivers.bench.disk.change(|disk| disk.broken = false);
    let answer = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(2, 0))
        .await;
    assert_eq!(answer.status, 200);
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_request_that_breaks_us_is_a_500_that_is_not_sent_again() {
    let receivers = Receivers::start().await;
    receivers
        .bench
        .disk
        .change(|disk| disk.panics_at = Some("boom"));
    let hostile = named_spans_request(1, 0, "boom");
    let answer = receivers.post("/v1/traces", &[PROTOBUF], hostile).await;
    assert_eq!(answer.status, 500);
    assert!(!answer.headers.contains_key("retry-after"));
    assert_eq!(Status::decode(answer.body).unwrap().code, 13);
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_stopping_collector_says_so() {
    let receivers = Receivers::start().await;
    receivers.bench.pipeline.ingest().refuse_new();
    let answer = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(2, 0))
        .await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
}

#[tokio::test]
async fn a_token_is_asked_for_where_one_is_set() {
    let receivers = Receivers::start_with(1 << 20, Some("s3cret-s3cret-s3cret")).await;
    let refused = receivers
        .post("/v1/traces", &[PROTOBUF], spans_request(2, 0))
        .await;
    assert_eq!(refused.status, 401);
    assert!(
        refused.headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    let authorized = [PROTOBUF, ("authorization", "Bearer s3cret-s3cret-s3cret")];
    let taken = receivers
        .post("/v1/traces", &authorized, spans_request(2, 0))
        .await;
    assert_eq!(taken.status, 200);
}

#[tokio::test]
async fn a_sender_that_pauses_too_long_gets_a_message() {
    let receivers = Receivers::start().await;
    let begun = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(
        b"\x0a",
    )))]);
    let never = futures_util::StreamExt::chain(begun, stream::pending());
    tokio::time::pause();
    let answer = receivers
        .send(request("/v1/traces", &[PROTOBUF], StreamBody::new(never)))
        .await;
    assert_eq!(answer.status, 408);
    receivers.assert_conserved();
}

fn streamed(
    pieces: Vec<Bytes>,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    StreamBody::new(stream::iter(
        pieces.into_iter().map(|piece| Ok(Frame::data(piece))),
    ))
}

/// *Scenario*: a page of an allowed origin sends a preflight request, JSON, and a plain-text beacon when it
/// is left.
/// *Guarantees*: all are accepted, and the page may read the answers.
#[tokio::test]
async fn pages_of_an_allowed_origin_send() {
    let receivers = Receivers::start().await;
    let origin = ("origin", super::ALLOWED_ORIGIN);
    let question = ::http::Request::options("/v1/traces")
        .header("host", "localhost")
        .header(origin.0, origin.1)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-team")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = receivers.send(question).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-origin"], origin.1);
    assert_eq!(answer.headers["access-control-allow-methods"], "POST");
    let names = &answer.headers["access-control-allow-headers"];
    assert_eq!(names, "content-type,x-team");
    assert_eq!(answer.headers["vary"], "origin");
    let text = ("content-type", "text/plain;charset=UTF-8");
    for content_type in [JSON, text] {
        let answer = receivers
            .post("/v1/traces", &[origin, content_type], "{}")
            .await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["access-control-allow-origin"], origin.1);
        assert_eq!(answer.text(), "{}");
    }
    let bad = receivers.post("/v1/traces", &[origin, JSON], "{").await;
    assert_eq!(bad.status, 400);
    assert_eq!(bad.headers["access-control-allow-origin"], origin.1);
    receivers.assert_conserved();
}

/// *Scenario*: pages of other sites send, with and without a preflight: in the content types that need none,
/// and from a page whose own host name resolves to this machine, so that it has the receiver's origin.
/// *Guarantees*: they are rejected before their body is read, whatever they send and whatever their host is.
#[tokio::test]
async fn pages_of_other_origins_do_not_send() {
    let receivers = Receivers::start().await;
    for origin in ["https://evil.example", "null", "https://shop.example:8443"] {
        let question = ::http::Request::options("/v1/traces")
            .header("host", "localhost")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = receivers.send(question).await;
        assert_eq!(answer.status, 403);
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
        assert_page_refused(&receivers, origin).await;
    }
    assert_page_refused(&receivers, &format!("http://{}", receivers.http)).await;
    assert_page_refused(&receivers, "http://evil.example:4318").await;
    let refused = receivers.bench.counters.requests_refused.all();
    assert_eq!(refused["origin"], 5 * 12);
    assert_eq!(receivers.access.denials()[&("OTLP HTTP", "origin")], 5 * 12);
    receivers.assert_conserved();
}

/// Sends every content type to every path, as a page of that origin.
async fn assert_page_refused(receivers: &Receivers, origin: &str) {
    for path in ["/v1/traces", "/v1/metrics", "/api/v2/spans"] {
        for content_type in [
            None,
            Some("text/plain;charset=UTF-8"),
            Some("application/x-www-form-urlencoded"),
            Some("application/json"),
        ] {
            let mut headers = vec![("origin", origin)];
            headers.extend(content_type.map(|value| ("content-type", value)));
            let answer = receivers.post(path, &headers, "[]").await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
            assert_eq!(answer.headers["connection"], "close");
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
            let text = String::from_utf8_lossy(&answer.body);
            assert!(text.contains("--cors-allowed-origin"), "{text}");
        }
    }
}

/// *Scenario*: senders other than browsers use the receiver's configured name: an address, a name of their
/// machine or cluster, a public name, or a proxy that adds a token and passes on the origin.
/// *Guarantees*: they are accepted.
#[tokio::test]
async fn senders_without_an_origin_may_use_any_host_name() {
    let open = Receivers::start().await;
    for host in [
        "collector:4318",
        "otel.prod.svc.cluster.local",
        "otel.example.com",
    ] {
        let request = ::http::Request::post("/v1/traces")
            .header("host", host)
            .header(JSON.0, JSON.1)
            .body(Full::<Bytes>::from("{}"));
        assert_eq!(open.send(request.unwrap()).await.status, 200, "{host}");
    }
    let token = "sender-sender-01";
    let guarded = Receivers::start_with(4 << 20, Some(token)).await;
    let bearer = format!("Bearer {token}");
    let headers = [
        JSON,
        ("origin", "https://evil.example"),
        ("authorization", &bearer),
    ];
    let answer = guarded.post("/v1/traces", &headers, "{}").await;
    assert_eq!(answer.status, 200);
}
