//! Messages in answers: `google.rpc.Status`, `RetryInfo`, and OTLP's export response, which has the same form
//! for all three signals.

use std::time::Duration;

use prost::Message;

/// The gRPC status codes in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    /// Not in time.
    DeadlineExceeded = 4,
    NotFound = 5,
    /// The token lacks the role.
    PermissionDenied = 7,
    /// Too large or, with a retry delay, full.
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    /// Stopping.
    Unavailable = 14,
    /// No valid token.
    Unauthenticated = 16,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    /// For people.
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    /// For programs.
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(crate) retry_delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delay {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

impl Status {
    /// Returns a status, with the retry delay in its details if there is one.
    pub(crate) fn new(code: Code, message: String, retry_after: Option<Duration>) -> Self {
        let details = retry_after.map(|delay| Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo::new(delay).encode_to_vec(),
        });
        Self {
            code: code as i32,
            message,
            details: details.into_iter().collect(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::json!({ "code": self.code, "message": self.message })
            .to_string()
            .into_bytes()
    }
}

impl RetryInfo {
    pub(crate) fn new(delay: Duration) -> Self {
        Self {
            retry_delay: Some(Delay {
                seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(delay.subsec_nanos()).unwrap_or(0),
            }),
        }
    }
}

/// `ExportTraceServiceResponse`, `ExportMetricsServiceResponse` and `ExportLogsServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExportResponse {
    /// Unset if everything was accepted.
    #[prost(message, optional, tag = "1")]
    pub(crate) partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess` and its siblings.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartialSuccess {
    /// Number of rejected spans, data points or log records; if zero, the message is a warning.
    #[prost(int64, tag = "1")]
    pub(crate) rejected: i64,
    #[prost(string, tag = "2")]
    pub(crate) error_message: String,
}
