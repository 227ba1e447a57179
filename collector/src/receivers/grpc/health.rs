//! `grpc.health.v1.Health/Check`, which Kubernetes probes and load balancers call.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use prost::Message;
use tokio::time::timeout;

use crate::receivers::body::{BODY_PAUSE_MAX, RequestBody};
use crate::receivers::otlp;
use crate::receivers::refusal::Refusal;

pub(in crate::receivers) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Largest framed request, which is a name.
const QUESTION_BYTES_MAX: usize = 1024;

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

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
    let question = Question::decode(question)
        .map_err(|error| Refusal::Malformed(format!("no HealthCheckRequest: {error}")))?;
    let is_known = question.service.is_empty() || otlp::is_grpc_service(&question.service);
    if !is_known {
        return Err(Refusal::UnknownService(question.service));
    }
    let status = if is_healthy { SERVING } else { NOT_SERVING };
    Ok(Answer { status }.encode_to_vec())
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
}
