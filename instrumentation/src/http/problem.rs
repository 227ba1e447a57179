//! A call that got no answer as an HTTP answer of its own: 503 with `Retry-After` where it was refused, 504 where
//! it took too long, each with a problem document (RFC 9457).

use std::time::Duration;

use axum::response::IntoResponse;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::circuit_breaker::{CallError, Cause, CommandError, Rejected};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A slot is free again when any of the running calls ends: soon.
const BULKHEAD_WAIT: Duration = Duration::from_secs(1);

#[derive(Default, Serialize)]
struct Problem<'a> {
    /// Names the problem for programs.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

impl Problem<'_> {
    fn into_response<B: From<String>>(self) -> Response<B> {
        let body = serde_json::to_string(&self).expect("a problem is plain data");
        let mut response = Response::new(B::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("503 or 504");
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, MEDIA_TYPE);
        if let Some(seconds) = self.retry_after_seconds {
            let wait = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, wait);
        }
        response
    }
}

/// Makes the answer to a request whose call was refused; the body is whatever a server takes.
pub fn rejected<B: From<String>>(rejected: &Rejected) -> Response<B> {
    let problem = Problem {
        r#type: "urn:fusebox:problem:circuit-open",
        title: "Circuit open",
        status: 503,
        detail: rejected.to_string(),
        circuit: Some(&rejected.name),
        state: Some(rejected.state.as_str()),
        retry_after_seconds: Some(whole_seconds(rejected.retry_after)),
    };
    problem.into_response()
}

fn bulkhead_full<B: From<String>>(detail: String) -> Response<B> {
    let problem = Problem {
        r#type: "urn:fusebox:problem:bulkhead-full",
        title: "Too many calls are running",
        status: 503,
        detail,
        retry_after_seconds: Some(whole_seconds(BULKHEAD_WAIT)),
        ..Problem::default()
    };
    problem.into_response()
}

fn timed_out<B: From<String>>(detail: String) -> Response<B> {
    let problem = Problem {
        r#type: "urn:fusebox:problem:timeout",
        title: "No answer in time",
        status: 504,
        detail,
        ..Problem::default()
    };
    problem.into_response()
}

/// Rounds up, to 1 at least: 0 would invite to try again at once.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    let more = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(more).max(1)
}

impl IntoResponse for Rejected {
    fn into_response(self) -> axum::response::Response {
        rejected(&self)
    }
}

/// A refusal is this answer; a failure of the protected code is its own.
impl<E: IntoResponse> IntoResponse for CallError<E> {
    fn into_response(self) -> axum::response::Response {
        match self {
            Self::Rejected(refusal) => rejected(&refusal),
            Self::Failed(error) => error.into_response(),
        }
    }
}

/// As [`CallError`]; a call that found no slot is a 503, one that took too long a 504.
impl<E: IntoResponse> IntoResponse for CommandError<E> {
    fn into_response(self) -> axum::response::Response {
        let cause = match self {
            Self::BadRequest(error) => return error.into_response(),
            Self::Failed { cause, .. } => cause,
        };
        match cause {
            Cause::Failed(error) => error.into_response(),
            Cause::Rejected(refusal) => rejected(&refusal),
            Cause::BulkheadFull(running) => {
                bulkhead_full(format!("no slot free: {running} calls are running"))
            }
            Cause::TimedOut(limit) => timed_out(format!("no answer within {limit:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::FallbackError;

    #[test]
    fn waits_are_whole_seconds_rounded_up_and_never_zero() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (4999, 5)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn each_cause_has_its_answer() {
        let answer = |cause: Cause<StatusCode>| {
            let error = CommandError::Failed {
                cause,
                fallback: FallbackError::Missing,
            };
            let response = error.into_response();
            let wait = response.headers().get("retry-after").cloned();
            (
                response.status().as_u16(),
                wait.map(|wait| wait.to_str().unwrap().to_owned()),
            )
        };
        assert_eq!(answer(Cause::Failed(StatusCode::BAD_GATEWAY)), (502, None));
        assert_eq!(answer(Cause::BulkheadFull(10)), (503, Some("1".into())));
        assert_eq!(answer(Cause::TimedOut(Duration::from_secs(1))), (504, None));
        let error = CommandError::BadRequest(StatusCode::BAD_REQUEST);
        assert_eq!(error.into_response().status(), 400);
    }
}
