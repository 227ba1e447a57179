//! Which requests may be made twice, how, and after which results.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body::Body;

use crate::resilience::{Decision, retry_after};

/// Decides for a layer which requests are repeated.
pub trait Requests<Request, Response, Error> {
    /// Returns the request a second time; `None` if it cannot be made twice or must not be: it is then made once.
    fn again(&self, request: &Request) -> Option<Request>;

    /// Decides after an attempt whether another one follows.
    fn decide(&self, result: Result<&Response, &Error>) -> Decision;
}

/// HTTP requests that may be made twice by their method: GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110, section 9.2.2).
///
/// A request is repeated if its body is empty or is at its end, with `B::default()` as its body: a body that is a stream exists
/// once. [`CloneRequests`] repeats others.
///
/// Another attempt follows an error of the service, and the statuses 408, 429, 502, 503 and 504, not before the time in their
/// `Retry-After`. A 500 is not repeated: it is as likely to be a fault that stays.
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

/// Requests of any kind that are `Clone`, with a closure that decides.
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
