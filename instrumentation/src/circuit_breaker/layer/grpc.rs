//! The status of a gRPC call. It is in the headers of a response without a message, else in the trailers after the
//! body. The HTTP status is 200 even if the call failed.

use http::{HeaderMap, header};

use crate::circuit_breaker::rules::state::Outcome;

const GRPC_STATUS: &str = "grpc-status";

/// A status code of gRPC. Clients read any unknown number as `UNKNOWN`, and so does this type.
///
/// For calls whose error carries a code, such as `tonic::Status`:
///
/// ```
/// use fusebox::circuit_breaker::layer::GrpcCode;
/// use fusebox::circuit_breaker::{CircuitBreaker, Outcome};
///
/// # struct Status(i32);
/// # impl Status { fn code(&self) -> i32 { self.0 } }
/// # async fn call() -> Result<(), Status> { Err(Status(5)) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let stock = CircuitBreaker::new("stock");
/// let answer = stock.call_with(call(), |result: &Result<(), Status>| match result {
///     Ok(()) => Outcome::Success,
///     Err(status) => GrpcCode::new(status.code() as i32).outcome(), // NOT_FOUND: ignored.
/// });
/// assert!(answer.await.is_err());
/// assert_eq!(stock.snapshot().calls.ignored, 1);
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcCode(u8);

/// The names of the codes, by number.
const NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

impl GrpcCode {
    /// `OK`.
    pub const OK: Self = Self(0);
    /// `UNKNOWN`: the status of a response that has none.
    pub const UNKNOWN: Self = Self(2);
    /// `RESOURCE_EXHAUSTED`: the counterpart of HTTP 429.
    pub const RESOURCE_EXHAUSTED: Self = Self(8);

    /// Creates a code from its number.
    pub fn new(number: i32) -> Self {
        let known = u8::try_from(number).ok();
        let known = known.filter(|number| usize::from(*number) < NAMES.len());
        known.map_or(Self::UNKNOWN, Self)
    }

    /// Returns the name of the code, for example `UNAVAILABLE`.
    pub fn as_str(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// Returns whether the code is a server error according to OpenTelemetry's conventions for gRPC server spans:
    /// `UNKNOWN`, `DEADLINE_EXCEEDED`, `UNIMPLEMENTED`, `INTERNAL`, `UNAVAILABLE` and `DATA_LOSS`.
    pub fn is_server_error(self) -> bool {
        matches!(self.0, 2 | 4 | 12 | 13 | 14 | 15)
    }

    /// Returns the outcome of a call with this status.
    ///
    /// - Success: `OK`. Timeout: `DEADLINE_EXCEEDED`.
    /// - Failure: the other server errors, and `RESOURCE_EXHAUSTED`, which asks for fewer calls.
    /// - Ignored: all others; they are the caller's fault or the caller's choice.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::OK => Outcome::Success,
            Self(4) => Outcome::Timeout,
            Self::RESOURCE_EXHAUSTED => Outcome::Failure,
            code if code.is_server_error() => Outcome::Failure,
            _ => Outcome::Ignored,
        }
    }

    /// Reads the status from headers or trailers; a value that is not a number counts as `UNKNOWN`.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(GRPC_STATUS)?;
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        Some(number.map_or(Self::UNKNOWN, Self::new))
    }

    /// Returns the status of a call whose body has ended: from the trailers, or `UNKNOWN` if they contain none.
    pub(crate) fn at_end(trailers: Option<&HeaderMap>) -> Self {
        trailers.and_then(Self::read).unwrap_or(Self::UNKNOWN)
    }
}

/// Returns whether the head of a response announces a gRPC body with a status after it. The status of gRPC-Web is
/// inside the body.
pub(crate) fn has_status_behind_body(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let is_grpc = kind.strip_prefix("application/grpc");
    let is_grpc = is_grpc.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';', ' ']));
    is_grpc && GrpcCode::read(headers).is_none()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_code_counts_by_whose_fault_it_is() {
        let outcome = |number| GrpcCode::new(number).outcome();
        assert_eq!(
            (outcome(0), outcome(4)),
            (Outcome::Success, Outcome::Timeout)
        );
        for number in [2, 8, 12, 13, 14, 15, 17, 99, -1] {
            assert_eq!(outcome(number), Outcome::Failure, "{number}");
        }
        for number in [1, 3, 5, 6, 7, 9, 10, 11, 16] {
            assert_eq!(outcome(number), Outcome::Ignored, "{number}");
        }
    }

    #[test]
    fn the_status_is_read_where_it_stands() {
        let head = |kind, status: Option<&'static str>| {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
            let name = http::HeaderName::from_static(GRPC_STATUS);
            let status = status.map(|status| (name, HeaderValue::from_static(status)));
            [kind].into_iter().chain(status).collect::<HeaderMap>()
        };
        for kind in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc; a=b",
        ] {
            assert!(has_status_behind_body(&head(kind, None)), "{kind}");
            assert!(!has_status_behind_body(&head(kind, Some("0"))), "{kind}");
        }
        for kind in ["application/grpc-web+proto", "application/json", ""] {
            assert!(!has_status_behind_body(&head(kind, None)), "{kind}");
        }
        let read = |status| GrpcCode::read(&head("", Some(status)));
        assert_eq!(read("14").unwrap().as_str(), "UNAVAILABLE");
        assert_eq!(read("what"), Some(GrpcCode::UNKNOWN));
        assert_eq!(GrpcCode::at_end(None), GrpcCode::UNKNOWN);
    }
}
