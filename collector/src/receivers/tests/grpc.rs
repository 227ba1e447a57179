//! OTLP/gRPC: what is taken, and what bad calls get.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::{BufMut, Bytes};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::time::Instant;

use super::{Answer, BODY_MAX, GRPC_TRACES, Receivers, gzip, request, send_http2};
use crate::pipeline::testing::spans_request;
use crate::receivers::rpc::{RetryInfo, Status};

pub(super) fn framed(flag: u8, message: &[u8]) -> Bytes {
    let mut body = vec![flag];
    body.put_u32(message.len() as u32);
    body.put_slice(message);
    body.into()
}

fn decoded<M: Message + Default>(answer: &Answer, name: &str) -> Option<M> {
    let bytes = STANDARD_NO_PAD.decode(answer.grpc(name)?).unwrap();
    Some(M::decode(&bytes[..]).unwrap())
}

#[tokio::test]
async fn spans_are_taken_plain_and_compressed() {
    let receivers = Receivers::start().await;
    let spans = spans_request(1_500, 0);
    let zstd = zstd::encode_all(&spans[..], 1).unwrap();
    let calls = [
        ("identity", framed(0, &spans)),
        ("gzip", framed(1, &gzip(&spans))),
        ("gzip", framed(0, &spans)),
        ("zstd", framed(1, &zstd)),
    ];
    for (encoding, body) in calls {
        let answer = receivers
            .call(GRPC_TRACES, &[("grpc-encoding", encoding)], body)
            .await;
        assert_eq!(answer.grpc("grpc-status"), Some("0"), "{answer:?}");
        assert_eq!(answer.body, &[0; 5][..]);
        assert!(
            answer.headers["grpc-accept-encoding"]
                .to_str()
                .unwrap()
                .contains("gzip")
        );
    }
    assert_eq!(receivers.bench.disk.spans(), 6_000);
    receivers.assert_conserved();
}

#[tokio::test]
async fn every_signal_has_its_method() {
    let receivers = Receivers::start().await;
    for service in ["metrics.v1.MetricsService", "logs.v1.LogsService"] {
        let path = format!("/opentelemetry.proto.collector.{service}/Export");
        let answer = receivers.call(&path, &[], framed(0, b"")).await;
        assert_eq!(answer.grpc("grpc-status"), Some("0"));
    }
    assert_eq!(*receivers.bench.circuits.metric_requests.lock().unwrap(), 1);
    assert_eq!(*receivers.bench.circuits.log_requests.lock().unwrap(), 1);
}

#[tokio::test]
async fn pages_of_other_origins_do_not_call() {
    let receivers = Receivers::start().await;
    let origin = [("origin", "https://evil.example")];
    let body = framed(0, &spans_request(1, 0));
    refused(&receivers, &origin, body.clone(), "7", "--cors-allowed").await;
    let origin = [("origin", super::ALLOWED_ORIGIN)];
    let answer = receivers.call(GRPC_TRACES, &origin, body).await;
    assert_eq!(answer.grpc("grpc-status"), Some("0"));
    receivers.assert_conserved();
}

#[tokio::test]
async fn refused_spans_are_a_partial_success() {
    let receivers = Receivers::start().await;
    let answer = receivers
        .call(GRPC_TRACES, &[], framed(0, &spans_request(1, 2)))
        .await;
    assert_eq!(answer.grpc("grpc-status"), Some("0"));
    let response = ExportTraceServiceResponse::decode(&answer.body[5..]).unwrap();
    assert_eq!(response.partial_success.unwrap().rejected_spans, 2);
}

/// Makes a bad call and checks its result: code, message, and no retry delay.
async fn refused(
    receivers: &Receivers,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    code: &str,
    says: &str,
) {
    let answer = receivers.call(GRPC_TRACES, headers, body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.grpc("grpc-status"), Some(code), "{says}");
    let message = answer.grpc("grpc-message").unwrap();
    assert!(message.contains(says), "{message}");
    let status: Status = decoded(&answer, "grpc-status-details-bin").unwrap();
    assert_eq!(status.code.to_string(), code);
    assert_eq!(answer.grpc("google.rpc.retryinfo-bin"), None);
}

#[tokio::test]
async fn unreadable_messages_are_invalid_arguments() {
    let receivers = Receivers::start().await;
    let spans = spans_request(3, 0);
    let gzipped = [("grpc-encoding", "gzip")];
    let noise = framed(0, b"\xff\xff");
    refused(&receivers, &[], noise, "3", "malformed protobuf").await;
    let torn = framed(0, &spans).slice(..20);
    refused(&receivers, &[], torn, "3", "shorter than its frame").await;
    refused(&receivers, &[], &b"\0\0"[..], "3", "truncated").await;
    refused(&receivers, &[], "", "3", "no message").await;
    let unnamed = framed(1, &gzip(&spans));
    refused(&receivers, &[], unnamed, "3", "without a grpc-encoding").await;
    let plain = framed(1, &spans);
    refused(&receivers, &gzipped, plain, "3", "not valid gzip").await;
    assert_eq!(receivers.bench.disk.spans(), 0);
    receivers.assert_conserved();
}

#[tokio::test]
async fn oversized_messages_are_refused_without_a_hint() {
    let receivers = Receivers::start().await;
    let bomb = framed(1, &gzip(&vec![0; 4 << 20]));
    let gzipped = [("grpc-encoding", "gzip")];
    refused(&receivers, &gzipped, bomb, "8", "more than 1048576").await;
    let mut announced = vec![0; 100];
    announced[1..5].copy_from_slice(&(BODY_MAX as u32).to_be_bytes());
    refused(&receivers, &[], announced, "8", "larger than 1048576").await;
    receivers.assert_conserved();
}

#[tokio::test]
async fn what_we_do_not_serve_is_unimplemented() {
    let receivers = Receivers::start().await;
    let snappy = [("grpc-encoding", "snappy")];
    let body = framed(1, b"whatever");
    refused(&receivers, &snappy, body, "12", "gzip").await;
    let path = "/grpc.health.v1.Health/Reset";
    let answer = receivers.call(path, &[], framed(0, b"")).await;
    assert_eq!(answer.grpc("grpc-status"), Some("12"));
    assert!(
        answer
            .grpc("grpc-message")
            .unwrap()
            .contains("unknown method")
    );
    receivers.assert_conserved();
}

#[tokio::test]
async fn who_speaks_no_grpc_is_sent_to_the_other_port() {
    let receivers = Receivers::start().await;
    let uri = format!("http://{}{GRPC_TRACES}", receivers.grpc);
    let json = [("content-type", "application/json")];
    let answer = send_http2(receivers.grpc, request(&uri, &json, Full::default())).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("4318"));
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_full_collector_gives_its_hint_in_both_trailers() {
    let receivers = Receivers::start_with(16 << 10, None).await;
    let waiting = receivers.fill().await;
    tokio::time::pause();
    let answer = receivers
        .call(GRPC_TRACES, &[], framed(0, &spans_request(200, 0)))
        .await;
    tokio::time::resume();
    assert_eq!(answer.grpc("grpc-status"), Some("8"));
    let hint: RetryInfo = decoded(&answer, "google.rpc.retryinfo-bin").unwrap();
    assert!((1..=3).contains(&hint.retry_delay.clone().unwrap().seconds));
    let status: Status = decoded(&answer, "grpc-status-details-bin").unwrap();
    assert_eq!(
        RetryInfo::decode(&status.details[0].value[..]).unwrap(),
        hint
    );
    receivers.bench.disk.change(|disk| disk.stuck = false);
    for sender in waiting {
        sender.await.unwrap();
    }
    receivers.assert_conserved();
}

#[tokio::test]
async fn a_sender_in_a_hurry_hears_its_refusal_in_time() {
    let receivers = Receivers::start_with(16 << 10, None).await;
    let waiting = receivers.fill().await;
    tokio::time::pause();
    let began = Instant::now();
    let answer = receivers
        .call(
            GRPC_TRACES,
            &[("grpc-timeout", "1500m")],
            framed(0, &spans_request(200, 0)),
        )
        .await;
    assert!(began.elapsed() < Duration::from_millis(1_500));
    tokio::time::resume();
    assert!(
        matches!(answer.grpc("grpc-status"), Some("8" | "4")),
        "{answer:?}"
    );
    receivers.bench.disk.change(|disk| disk.stuck = false);
    for sender in waiting {
        sender.await.unwrap();
    }
    receivers.assert_conserved();
}

#[tokio::test]
async fn what_fails_on_our_side_says_so() {
    let receivers = Receivers::start_with(1 << 20, Some("s3cret-s3cret-s3cret")).await;
    let authorized = [("authorization", "Bearer s3cret-s3cret-s3cret")];
    let call = |headers| receivers.call(GRPC_TRACES, headers, framed(0, &spans_request(1, 0)));
    assert_eq!(call(&[]).await.grpc("grpc-status"), Some("16"));
    receivers.bench.disk.change(|disk| disk.broken = true);
    let refused = call(&authorized).await;
    assert_eq!(refused.grpc("grpc-status"), Some("14"));
    assert!(refused.grpc("google.rpc.retryinfo-bin").is_some());
    receivers.bench.pipeline.ingest().refuse_new();
    let stopping = call(&authorized).await;
    assert_eq!(stopping.grpc("grpc-status"), Some("14"));
    assert!(stopping.grpc("google.rpc.retryinfo-bin").is_some());
    receivers.assert_conserved();
}

/// *Scenario*: a Zipkin reporter calls `SpanService/Report` with two spans, one of them without an id.
/// *Guarantees*: the good one is stored, and the answer is an empty `ReportResponse`.
#[tokio::test]
async fn zipkin_s_service_takes_spans() {
    let receivers = Receivers::start().await;
    let now_us = crate::model::UnixNanos::now().get() / 1_000;
    let fields = [
        &[0x0a, 8, 1, 1, 1, 1, 1, 1, 1, 1][..],
        &[0x1a, 8, 2, 2, 2, 2, 2, 2, 2, 2, 0x31],
        &now_us.to_le_bytes(),
    ];
    let span = fields.concat();
    let message = [&[0x0a, span.len() as u8][..], &span, &[0x0a, 0]].concat();
    let answer = receivers
        .call(
            "/zipkin.proto3.SpanService/Report",
            &[],
            framed(0, &message),
        )
        .await;
    assert_eq!(answer.grpc("grpc-status"), Some("0"));
    assert_eq!(answer.body, &[0; 5][..]);
    assert_eq!(receivers.bench.disk.spans(), 1);
    receivers.assert_conserved();
}

/// *Scenario*: a probe checks the health of the server, of a served and of an unknown service, without a
/// token, while the disk works and after it failed.
#[tokio::test]
async fn a_probe_learns_whether_the_collector_serves() {
    let receivers = Receivers::start_with(4 << 20, Some("sender-sender-01")).await;
    let check = async |service: &str| {
        let message = [&[0x0a, service.len() as u8][..], service.as_bytes()].concat();
        let path = "/grpc.health.v1.Health/Check";
        receivers.call(path, &[], framed(0, &message)).await
    };
    let serving = &[0, 0, 0, 0, 2, 8, 1][..];
    assert_eq!(check("").await.body, serving);
    let otlp = check("opentelemetry.proto.collector.trace.v1.TraceService").await;
    assert_eq!(
        (otlp.grpc("grpc-status"), &otlp.body[..]),
        (Some("0"), serving)
    );
    assert_eq!(check("shop.Cart").await.grpc("grpc-status"), Some("5"));
    receivers.bench.disk.change(|disk| disk.broken = true);
    let ingest = receivers.bench.pipeline.ingest();
    let sent = crate::pipeline::testing::send_spans(ingest, spans_request(1, 0)).await;
    assert!(sent.is_err());
    assert_eq!(check("").await.body, &[0, 0, 0, 0, 2, 8, 2][..]);
    receivers.assert_conserved();
}
