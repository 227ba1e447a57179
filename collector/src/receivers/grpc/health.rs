//! `grpc.health.v1.Health`, which Kubernetes probes, load balancers and clients call: `Check`, and `Watch`, which also
//! answers each change.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use prost::Message;
use tokio::time::{sleep, timeout};

use super::call::{GrpcBody, Messages, stream};
use super::frame::frame;
use super::trailers::short_trailers;
use crate::pipeline::Health;
use crate::receivers::body::{BODY_PAUSE_MAX, RequestBody};
use crate::receivers::otlp;
use crate::receivers::refusal::Refusal;
use crate::receivers::rpc::Code;

pub(in crate::receivers) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Largest framed request, which is a name.
const QUESTION_BYTES_MAX: usize = 1024;

pub(in crate::receivers) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// How often a watched health is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;
const SERVICE_UNKNOWN: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Question {
    /// The full name of a service; empty for the whole server.
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Reads a framed request.
///
/// # Errors
/// When it is too large or too slow, or breaks off.
pub(in crate::receivers) async fn read<B: RequestBody>(body: &mut B) -> Result<Bytes, Refusal> {
    let limit = BODY_PAUSE_MAX;
    let all = async {
        let mut question = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::Incomplete(error.to_string()))?;
            question.extend_from_slice(&frame.into_data().unwrap_or_default());
            if question.len() > QUESTION_BYTES_MAX {
                return Err(Refusal::TooLarge {
                    limit: QUESTION_BYTES_MAX,
                });
            }
        }
        Ok(question.freeze())
    };
    timeout(limit, all)
        .await
        .unwrap_or(Err(Refusal::TooSlow { limit }))
}

/// Returns the answer to a request.
///
/// # Errors
/// When it is invalid, or about a service that is not served here.
pub(in crate::receivers) fn answer(question: &[u8], is_healthy: bool) -> Result<Vec<u8>, Refusal> {
    let question = decode(question)?;
    if !question.is_known() {
        return Err(Refusal::UnknownService(question.service));
    }
    let status = if is_healthy { SERVING } else { NOT_SERVING };
    Ok(Answer { status }.encode_to_vec())
}

/// Answers with the health now and after each change, until the client leaves or the collector stops. The place is held as
/// long.
///
/// # Errors
/// When the request is invalid.
pub(in crate::receivers) fn watch(
    question: &[u8],
    health: Health,
    place: impl Send + 'static,
) -> Result<Response<GrpcBody>, Refusal> {
    Ok(stream(Watch {
        is_known: decode(question)?.is_known(),
        health,
        last: None,
        _place: place,
    }))
}

struct Watch<P> {
    is_known: bool,
    health: Health,
    /// What was answered last.
    last: Option<i32>,
    _place: P,
}

impl<P: Send + 'static> Messages for Watch<P> {
    async fn next(&mut self) -> Result<Bytes, HeaderMap> {
        loop {
            let status = self.status();
            if self.last != Some(status) {
                self.last = Some(status);
                return Ok(frame(&Answer { status }.encode_to_vec()));
            }
            if self.health.is_stopping() {
                return Err(short_trailers(Code::Unavailable, "the collector stops"));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

impl<P> Watch<P> {
    fn status(&self) -> i32 {
        match self.health.problem() {
            _ if !self.is_known => SERVICE_UNKNOWN,
            None => SERVING,
            Some(_) => NOT_SERVING,
        }
    }
}

fn decode(question: &[u8]) -> Result<Question, Refusal> {
    let malformed = |error| Refusal::Malformed(format!("no HealthCheckRequest: {error}"));
    Question::decode(question).map_err(malformed)
}

impl Question {
    fn is_known(&self) -> bool {
        self.service.is_empty() || otlp::is_grpc_service(&self.service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(service: &str) -> Vec<u8> {
        let service = service.to_owned();
        Question { service }.encode_to_vec()
    }

    #[test]
    fn the_server_and_its_services_have_a_health() {
        let otlp = "opentelemetry.proto.collector.trace.v1.TraceService";
        for service in ["", otlp, "zipkin.proto3.SpanService"] {
            assert_eq!(answer(&asked(service), true).unwrap(), [8, 1], "{service}");
            assert_eq!(answer(&asked(service), false).unwrap(), [8, 2], "{service}");
        }
        assert!(matches!(
            answer(&asked("shop.Cart"), true),
            Err(Refusal::UnknownService(_))
        ));
        assert!(matches!(answer(&[0xff], true), Err(Refusal::Malformed(_))));
    }

    /// Returns the next message of a stream, or its status.
    async fn next(body: &mut GrpcBody) -> Result<Bytes, HeaderMap> {
        let frame = body.frame().await.unwrap().unwrap();
        let trailers = |frame: http_body::Frame<Bytes>| frame.into_trailers().unwrap();
        frame.into_data().map_err(trailers)
    }

    /// *Scenario*: a client watches while old data cannot be deleted, and until the collector stops.
    #[tokio::test(start_paused = true)]
    async fn a_watched_health_answers_each_change() {
        let health = Health::default();
        let mut body = watch(&asked(""), health.clone(), ()).unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap(), &[0, 0, 0, 0, 2, 8, 1][..]);
        health.hold_back(Some("the clock is ahead".to_owned()));
        assert_eq!(next(&mut body).await.unwrap(), &[0, 0, 0, 0, 2, 8, 2][..]);
        health.stop();
        assert_eq!(next(&mut body).await.unwrap_err()["grpc-status"], "14");
        let other = watch(&asked("shop.Cart"), health, ());
        let mut body = other.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap(), &[0, 0, 0, 0, 2, 8, 3][..]);
    }
}
