//! The peer and the matched route of a request in axum, and the errors of protected calls as axum responses.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, MatchedPath};
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};

use super::problem;
use crate::circuit_breaker::{CallError, Cause, CommandError, PooledError, Rejected};
use crate::resilience::PolicyError;

/// The address of the peer, if the server was started with `ConnectInfo<SocketAddr>`.
pub(super) fn peer<B>(request: &Request<B>) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    peer.map(|ConnectInfo(address)| address.ip())
}

/// The route that matched, if the layer is inside a router.
pub(super) fn route<B>(request: &Request<B>) -> Option<&str> {
    let route = request.extensions().get::<MatchedPath>();
    route.map(MatchedPath::as_str)
}

impl IntoResponse for Rejected {
    fn into_response(self) -> Response {
        problem::rejected(&self)
    }
}

/// A refusal becomes a 503, a failure the response of the protected code's own error.
impl<E: IntoResponse> IntoResponse for CallError<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Rejected(refusal) => problem::rejected(&refusal),
            Self::Failed(error) => error.into_response(),
        }
    }
}

/// As [`CallError`]; a call without a free slot becomes a 503, a timeout a 504.
impl<E: IntoResponse> IntoResponse for CommandError<E> {
    fn into_response(self) -> Response {
        let cause = match self {
            Self::BadRequest(error) => return error.into_response(),
            Self::Failed { cause, .. } => cause,
        };
        match cause {
            Cause::Failed(error) => error.into_response(),
            Cause::Rejected(refusal) => problem::rejected(&refusal),
            Cause::BulkheadFull(running) => problem::bulkhead_full(running),
            Cause::TimedOut(limit) => problem::timed_out(limit),
            Cause::RateLimited(refusal) => problem::rate_limited(&refusal),
            Cause::PoolFull(full) => problem::bulkhead_full(full.workers),
            Cause::PoolLost(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
}

/// As [`CommandError`].
impl<E: IntoResponse> IntoResponse for PooledError<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Failed(error) => error.into_response(),
            Self::Rejected(refusal) => problem::rejected(&refusal),
            Self::Full(full) => problem::bulkhead_full(full.workers),
            Self::TimedOut(limit) => problem::timed_out(limit),
            Self::Lost(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
}

/// As [`CommandError`].
impl<E: IntoResponse> IntoResponse for PolicyError<E> {
    fn into_response(self) -> Response {
        match self {
            Self::Failed(error) => error.into_response(),
            Self::RateLimited(refusal) => problem::rate_limited(&refusal),
            Self::BulkheadFull(full) => problem::bulkhead_full(full.limit),
            Self::TimedOut(end) => problem::timed_out(end.limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::circuit_breaker::FallbackError;

    #[test]
    fn each_cause_has_its_response() {
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
