//! A refused call as an HTTP answer: 503 with `Retry-After` and a problem document (RFC 9457).

use std::time::Duration;

use axum::response::IntoResponse;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::circuit_breaker::{CallError, Rejected};

/// Names the problem for programs.
const TYPE: &str = "urn:fusebox:problem:circuit-open";
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    circuit: &'a str,
    state: &'static str,
    retry_after_seconds: u64,
}

/// Makes the answer to a request whose call was refused; the body is whatever a server takes.
pub fn rejected<B: From<String>>(rejected: &Rejected) -> Response<B> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let seconds = whole_seconds(rejected.retry_after);
    let problem = Problem {
        r#type: TYPE,
        title: "Circuit open",
        status: status.as_u16(),
        detail: rejected.to_string(),
        circuit: &rejected.name,
        state: rejected.state.as_str(),
        retry_after_seconds: seconds,
    };
    let body = serde_json::to_string(&problem).expect("a problem is plain data");
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, MEDIA_TYPE);
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_whole_seconds_rounded_up_and_never_zero() {
        for (millis, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (4999, 5)] {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), u64::MAX);
    }
}
