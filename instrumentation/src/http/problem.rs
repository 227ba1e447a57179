//! HTTP responses to requests whose protected call gave no result: 503 with `Retry-After` if it was refused, 504 if it
//! timed out, each with a problem document (RFC 9457).
//!
//! If the server layer would send a peer no `Circuit-Breaker` header, the document does not contain the breaker's name,
//! state or limits either. The same holds for every peer outside a traced request.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::disclosure::names_breakers;
use crate::circuit_breaker::Rejected;
use crate::resilience::RateLimited;

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A slot is free as soon as any of the running calls ends.
const BULKHEAD_WAIT: Duration = Duration::from_secs(1);

#[derive(Default, Serialize)]
struct Problem<'a> {
    /// Identifies the problem for programs.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    circuit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u64>,
}

impl Problem<'_> {
    /// Removes everything that the status and `Retry-After` do not say.
    fn for_untrusted_peers(self) -> Self {
        let (r#type, title) = match self.status {
            504 => ("urn:fusebox:problem:timeout", "No answer in time"),
            _ => ("urn:fusebox:problem:unavailable", "Temporarily unavailable"),
        };
        Self {
            r#type,
            title,
            status: self.status,
            retry_after_seconds: self.retry_after_seconds,
            ..Self::default()
        }
    }

    fn into_response<B: From<String>>(mut self) -> Response<B> {
        if !names_breakers() {
            self = self.for_untrusted_peers();
        }
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

/// Creates the response, with any type of body, to a request whose call was refused.
pub fn rejected<B: From<String>>(rejected: &Rejected) -> Response<B> {
    Problem {
        r#type: "urn:fusebox:problem:circuit-open",
        title: "Circuit open",
        status: 503,
        detail: rejected.to_string(),
        circuit: Some(&rejected.name),
        state: Some(rejected.state.as_str()),
        retry_after_seconds: Some(whole_seconds(rejected.retry_after)),
    }
    .into_response()
}

/// Creates the response to a request whose call found no free slot because `running` calls were running.
pub fn bulkhead_full<B: From<String>>(running: u32) -> Response<B> {
    Problem {
        r#type: "urn:fusebox:problem:bulkhead-full",
        title: "Too many calls are running",
        status: 503,
        detail: format!("no slot free: {running} calls are running"),
        retry_after_seconds: Some(whole_seconds(BULKHEAD_WAIT)),
        ..Problem::default()
    }
    .into_response()
}

/// Creates the response to a request whose call was refused by this service's own rate limiter. The status is 503, not
/// 429, because it was not the peer that sent too many requests.
pub fn rate_limited<B: From<String>>(refusal: &RateLimited) -> Response<B> {
    Problem {
        r#type: "urn:fusebox:problem:rate-limited",
        title: "Too many calls in this time",
        status: 503,
        detail: refusal.to_string(),
        retry_after_seconds: Some(whole_seconds(refusal.retry_after)),
        ..Problem::default()
    }
    .into_response()
}

/// Creates the response to a request whose call timed out after `limit`.
pub fn timed_out<B: From<String>>(limit: Duration) -> Response<B> {
    Problem {
        r#type: "urn:fusebox:problem:timeout",
        title: "No answer in time",
        status: 504,
        detail: format!("no answer within {limit:?}"),
        ..Problem::default()
    }
    .into_response()
}

/// Rounds up to at least 1, because 0 would mean an immediate retry.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    let more = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(more).max(1)
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
