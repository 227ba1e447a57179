//! Decides which requests may be repeated, how, and after which results.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body::Body;

use crate::resilience::{Decision, retry_after};

/// Decides for a layer which requests are repeated.
pub trait Requests<Request, Response, Error> {
    /// Returns a copy of the request, or `None` if it cannot or must not be repeated.
    fn again(&self, request: &Request) -> Option<Request>;

    /// Decides after an attempt whether to make another one.
    fn decide(&self, result: Result<&Response, &Error>) -> Decision;
}

/// HTTP requests whose methods may be repeated: GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110, section 9.2.2).
///
/// A request is repeated if its body is empty or at its end, with `B::default()` as its body; a streaming body can be
/// sent only once. [`CloneRequests`] repeats other requests.
///
/// Errors of the service and the statuses 408, 429, 502, 503 and 504 are retried, not before the time in their
/// `Retry-After`. A 500 is not retried, because it is as likely to be a permanent fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IdempotentRequests;

impl<B, C, E> Requests<Request<B>, Response<C>, E> for IdempotentRequests
where
    B: Body + Default,
{
    fn again(&self, request: &Request<B>) -> Option<Request<B>> {
        let has_body =
            !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0);
        if has_body || !request.method().is_idempotent() {
            return None;
        }
        let mut again = Request::new(B::default());
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.version_mut() = request.version();
        *again.headers_mut() = request.headers().clone();
        *again.extensions_mut() = request.extensions().clone();
        Some(again)
    }

    fn decide(&self, result: Result<&Response<C>, &E>) -> Decision {
        let Ok(response) = result else {
            return Decision::Retry;
        };
        match response.status() {
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => asked(retry_after(response.headers())),
            _ => Decision::Stop,
        }
    }
}

fn asked(wait: Option<Duration>) -> Decision {
    wait.map_or(Decision::Retry, Decision::RetryAfter)
}

/// Requests of any kind that are `Clone`, with a closure that decides about retries.
#[derive(Debug, Clone, Copy)]
pub struct CloneRequests<D>(pub D);

impl<D, Request, Response, Error> Requests<Request, Response, Error> for CloneRequests<D>
where
    Request: Clone,
    D: Fn(Result<&Response, &Error>) -> Decision,
{
    fn again(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn decide(&self, result: Result<&Response, &Error>) -> Decision {
        self.0(result)
    }
}
