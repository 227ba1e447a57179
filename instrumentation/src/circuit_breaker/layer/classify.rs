//! Classifiers: which outcome a response counts as.

use std::any::type_name;
use std::borrow::Cow;

use http::StatusCode;

use crate::circuit_breaker::rules::state::Outcome;

/// Decides the outcome of a call from the service's result. Closures can be classifiers.
pub trait Classify<Response, Error> {
    /// Returns the outcome of the call.
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome;

    /// Returns the `error.type` of a failed call, of low cardinality: a status or the name of a type.
    fn error_type(&self, result: Result<&Response, &Error>) -> Cow<'static, str> {
        match result {
            Ok(_) => Cow::Borrowed("_OTHER"),
            Err(_) => Cow::Borrowed(type_name::<Error>()),
        }
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

/// Classifies HTTP responses by their status.
///
/// - Failure: an error of the service, 5xx, 408 and 429: the target is unhealthy or asks for fewer requests.
/// - Ignored: 400, 401, 403, 404, 405, 409, 410 and 422: the caller's fault, which says nothing about the target.
/// - Success: everything else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpStatus;

impl HttpStatus {
    /// Returns the outcome of a response with this status.
    pub fn outcome(status: StatusCode) -> Outcome {
        match status.as_u16() {
            408 | 429 | 500.. => Outcome::Failure,
            400 | 401 | 403 | 404 | 405 | 409 | 410 | 422 => Outcome::Ignored,
            _ => Outcome::Success,
        }
    }
}

impl<Body, Error> Classify<http::Response<Body>, Error> for HttpStatus {
    fn classify(&self, result: Result<&http::Response<Body>, &Error>) -> Outcome {
        result.map_or(Outcome::Failure, |response| {
            Self::outcome(response.status())
        })
    }

    fn error_type(&self, result: Result<&http::Response<Body>, &Error>) -> Cow<'static, str> {
        match result {
            Ok(response) => Cow::Owned(response.status().as_str().to_owned()),
            Err(_) => Cow::Borrowed(type_name::<Error>()),
        }
    }
}

/// Counts errors of the service as failures and every response as a success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorsOnly;

impl<Response, Error> Classify<Response, Error> for ErrorsOnly {
    fn classify(&self, result: Result<&Response, &Error>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_counts_by_whose_fault_it_is() {
        let outcome = |status: u16| HttpStatus::outcome(StatusCode::from_u16(status).unwrap());
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
}
