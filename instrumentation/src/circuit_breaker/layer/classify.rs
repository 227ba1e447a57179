//! Classifiers decide the outcome that a response counts as.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};

use super::grpc::GrpcCode;
use crate::circuit_breaker::call::seen::seen;
use crate::circuit_breaker::rules::state::Outcome;
use crate::isolated::isolated;
use crate::resilience::attempt;
use crate::semconv::ERROR_TYPE_PANIC;

/// Decides the outcome of a call from the service's result. Closures can be classifiers.
pub trait Classify<Response, Error> {
    /// Returns the outcome of the call.
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome;

    /// Returns the `error.type` of a failed call: a status or the name of a type, with low cardinality.
    fn error_type(&self, result: Result<&Response, &Error>) -> Cow<'static, str>
    where
        Error: 'static,
    {
        match result {
            Ok(_) => Cow::Borrowed("_OTHER"),
            Err(error) => Cow::Borrowed(seen(error).error_type()),
        }
    }

    /// Returns the outcome of a gRPC call from its status, which is in the head of the response or follows its body.
    fn classify_grpc(&self, code: GrpcCode) -> Outcome {
        code.outcome()
    }
}

impl<F, Response, Error> Classify<Response, Error> for F
where
    F: Fn(Result<&Response, &Error>) -> Outcome,
{
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome {
        self(result)
    }
}

/// Returns the outcome of a call and, if it is needed, its `error.type`. If the classifier panics, the call counts as
/// failed, and the caller still gets its result.
pub(super) fn judge<C, T, E: 'static>(
    classifier: &C,
    result: Result<&T, &E>,
) -> (Outcome, Cow<'static, str>)
where
    C: Classify<T, E>,
{
    let ask = || match classifier.classify(result) {
        Outcome::Success => (Outcome::Success, Cow::Borrowed("")),
        outcome => (outcome, classifier.error_type(result)),
    };
    isolated("classifier", ask).unwrap_or((Outcome::Failure, Cow::Borrowed(ERROR_TYPE_PANIC)))
}

/// As [`judge`], for the gRPC status after the body.
pub(super) fn judge_grpc<C, T, E>(classifier: &C, code: GrpcCode) -> (Outcome, &'static str)
where
    C: Classify<T, E>,
{
    match isolated("classifier", || classifier.classify_grpc(code)) {
        Some(outcome) => (outcome, code.as_str()),
        None => (Outcome::Failure, ERROR_TYPE_PANIC),
    }
}

/// Classifies HTTP responses by their status and gRPC responses by the gRPC status ([`GrpcCode::outcome`]).
///
/// - Failure: an error of the service, 5xx, 408 and 429: the target is unhealthy or asks for fewer requests.
/// - Timeout: an error of the service that is a timeout.
/// - Without a slot: an error because a rate limiter, bulkhead or pool of this crate inside the service refused.
/// - Ignored: 400, 401, 403, 404, 405, 409, 410, 422, and a request that cannot be sent because it is invalid. These
///   are the caller's fault and say nothing about the target.
/// - Success: everything else.
///
/// Whether 408, 429 and gRPC's `RESOURCE_EXHAUSTED` are failures is a choice: a target that throttles one caller may be
/// healthy for others. See [`throttling_as`](Self::throttling_as).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpStatus {
    throttling: Outcome,
}

impl Default for HttpStatus {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpStatus {
    /// Creates a classifier for which 408 and 429 are failures.
    pub fn new() -> Self {
        Self {
            throttling: Outcome::Failure,
        }
    }

    /// Sets the outcome of 408, 429 and `RESOURCE_EXHAUSTED`, for example [`Outcome::Ignored`].
    #[must_use]
    pub fn throttling_as(mut self, outcome: Outcome) -> Self {
        self.throttling = outcome;
        self
    }

    /// Returns the outcome of a response with this status.
    pub fn outcome(self, status: StatusCode) -> Outcome {
        match status.as_u16() {
            408 | 429 => self.throttling,
            500.. => Outcome::Failure,
            400 | 401 | 403 | 404 | 405 | 409 | 410 | 422 => Outcome::Ignored,
            _ => Outcome::Success,
        }
    }

    /// Returns the outcome of a call that ended with an error instead of a response. An error of `reqwest` from
    /// `error_for_status` counts like its status, also if it is inside a boxed error.
    pub fn outcome_of_error<E: 'static>(self, error: &E) -> Outcome {
        let seen = seen(error);
        #[cfg(feature = "reqwest")]
        if let Some(error) = seen.reqwest() {
            match error.status() {
                Some(status) => return self.outcome(status),
                None if error.is_builder() => return Outcome::Ignored,
                None => {}
            }
        }
        match seen.is_timeout() {
            true => Outcome::Timeout,
            false => Outcome::Failure,
        }
    }

    fn outcome_of_head(self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        match GrpcCode::read(headers) {
            Some(code) if status.is_success() => self.outcome_of_grpc(code),
            _ => self.outcome(status),
        }
    }

    fn outcome_of_grpc(self, code: GrpcCode) -> Outcome {
        match code {
            GrpcCode::RESOURCE_EXHAUSTED => self.throttling,
            code => code.outcome(),
        }
    }
}

impl<Body, Error: 'static> Classify<http::Response<Body>, Error> for HttpStatus {
    fn classify(&self, result: Result<&http::Response<Body>, &Error>) -> Outcome {
        match result {
            Ok(response) => self.outcome_of_head(response.status(), response.headers()),
            Err(_) if attempt::was_limited() => Outcome::BulkheadFull,
            Err(error) => self.outcome_of_error(error),
        }
    }

    fn error_type(&self, result: Result<&http::Response<Body>, &Error>) -> Cow<'static, str> {
        match result {
            Ok(response) => match GrpcCode::read(response.headers()) {
                Some(code) if response.status().is_success() => Cow::Borrowed(code.as_str()),
                _ => Cow::Owned(response.status().as_str().to_owned()),
            },
            Err(error) => Cow::Borrowed(seen(error).error_type()),
        }
    }

    fn classify_grpc(&self, code: GrpcCode) -> Outcome {
        self.outcome_of_grpc(code)
    }
}

/// Counts errors of the service as failures and every response as a success, whatever its HTTP or gRPC status. A refusal by
/// a limit of this crate inside the service counts like a call without a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorsOnly;

impl<Response, Error> Classify<Response, Error> for ErrorsOnly {
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) if attempt::was_limited() => Outcome::BulkheadFull,
            Err(_) => Outcome::Failure,
        }
    }

    fn classify_grpc(&self, _: GrpcCode) -> Outcome {
        Outcome::Success
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_counts_by_whose_fault_it_is() {
        let outcome = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            HttpStatus::new().outcome(status)
        };
        for status in [200, 204, 301, 304, 402, 418] {
            assert_eq!(outcome(status), Outcome::Success, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 409, 410, 422] {
            assert_eq!(outcome(status), Outcome::Ignored, "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(outcome(status), Outcome::Failure, "{status}");
        }
    }

    #[test]
    fn throttling_counts_as_chosen() {
        let chosen = HttpStatus::new().throttling_as(Outcome::Ignored);
        let outcome = |status| chosen.outcome(status);
        assert_eq!(outcome(StatusCode::TOO_MANY_REQUESTS), Outcome::Ignored);
        assert_eq!(outcome(StatusCode::REQUEST_TIMEOUT), Outcome::Ignored);
        assert_eq!(outcome(StatusCode::BAD_GATEWAY), Outcome::Failure);
        let exhausted = chosen.outcome_of_grpc(GrpcCode::RESOURCE_EXHAUSTED);
        assert_eq!(exhausted, Outcome::Ignored);
    }

    #[test]
    fn errors_that_are_timeouts_count_as_such() {
        let timed_out = std::io::Error::from(std::io::ErrorKind::TimedOut);
        let boxed: Box<dyn std::error::Error + Send + Sync> = timed_out.into();
        let outcome = HttpStatus::new().outcome_of_error(&boxed);
        assert_eq!(outcome, Outcome::Timeout);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(
            HttpStatus::new().outcome_of_error(&refused),
            Outcome::Failure
        );
    }

    /// Guarantees: the status of an error of `reqwest` counts at any depth of the chain of causes.
    #[cfg(feature = "reqwest")]
    #[test]
    fn an_error_for_a_status_counts_as_the_status_inside_other_errors_too() {
        use std::error::Error;

        use crate::circuit_breaker::CallError;

        #[derive(Debug, thiserror::Error)]
        #[error("no stock")]
        struct NoStock(#[source] reqwest::Error);

        let error = |status: u16| {
            let mut response = http::Response::new("");
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            let response = reqwest::Response::from(response);
            response.error_for_status().unwrap_err()
        };
        let boxed = |error: NoStock| -> Box<dyn Error + Send + Sync> { error.into() };
        for (status, expected) in [(404, Outcome::Ignored), (503, Outcome::Failure)] {
            let judge = HttpStatus::new();
            let plain = judge.outcome_of_error(&error(status));
            let within = judge.outcome_of_error(&boxed(NoStock(error(status))));
            let called = judge.outcome_of_error(&CallError::Failed(error(status)));
            let twice = CallError::Failed(boxed(NoStock(error(status))));
            let twice = judge.outcome_of_error(&twice);
            assert_eq!([plain, within, called, twice], [expected; 4], "{status}");
        }
    }
}
