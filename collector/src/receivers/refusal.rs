//! Everything that can go wrong with a request, with its HTTP status, its gRPC code and the word under which
//! it is counted.

use std::time::Duration;

use http::StatusCode;

use super::decompress::{Encoding, InflateError};
use super::rpc::Code;
use crate::pipeline::IngestError;

/// Retry delay while the collector stops: by then its successor listens.
const RETRY_AFTER_STOPPING: Duration = Duration::from_secs(1);

/// Retry delay while the disk fails: most SDKs give up on a batch after 10 s, and drop it at once if the
/// delay is longer.
const RETRY_AFTER_DISK: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "nothing is served at {0}; OTLP/HTTP is POST /v1/traces, /v1/metrics or /v1/logs, Zipkin POST /api/v2/spans or /api/v1/spans"
    )]
    NotFound(String),
    #[error(
        "unknown method {0}; served are OTLP's trace, metrics and logs Export and zipkin.proto3.SpanService/Report"
    )]
    UnknownMethod(String),
    /// A health check for a service that is not served here.
    #[error("there is no service {0:?} here")]
    UnknownService(String),
    #[error("messages are sent by POST")]
    MethodNotAllowed,
    /// A content type that is not accepted at that path.
    #[error("{0}")]
    MediaType(&'static str),
    #[error("unknown encoding {0:?}; accepted are {accepted}", accepted = Encoding::ACCEPTED)]
    Encoding(String),
    #[error("a valid bearer token is required")]
    Unauthenticated,
    #[error("this token does not allow sending: it needs the role send")]
    Forbidden,
    /// No token is required, and a page of a disallowed origin sent it.
    #[error("pages of this origin may not send here; --cors-allowed-origin allows it")]
    Origin,
    /// Invalid in some layer: frame, compression, message.
    #[error("{0}")]
    Malformed(String),
    /// The connection broke off, or the framing of the body was wrong.
    #[error("the body ended before it was complete: {0}")]
    Incomplete(String),
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("{0}")]
    InflatesTooLarge(InflateError),
    /// A pause in the body, or the whole body, took too long.
    #[error("the body arrived too slowly; the limit was {} s", limit.as_secs())]
    TooSlow { limit: Duration },
    #[error("not durable before the deadline that came with the request")]
    Deadline,
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl Refusal {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) | Self::UnknownMethod(_) | Self::UnknownService(_) => "unknown_path",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::MediaType(_) => "unsupported_media_type",
            Self::Encoding(_) => "unsupported_encoding",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Origin => "origin",
            Self::Malformed(_) | Self::Ingest(IngestError::Decode(_)) => "malformed",
            Self::Incomplete(_) => "incomplete",
            Self::TooLarge { .. } | Self::InflatesTooLarge(_) => "too_large",
            Self::TooSlow { .. } => "too_slow",
            Self::Deadline => "deadline",
            Self::Ingest(IngestError::Full { .. }) => "full",
            Self::Ingest(IngestError::Stopping) => "stopping",
            Self::Ingest(IngestError::Store(_) | IngestError::ShardEnded) => "store_error",
            Self::Ingest(IngestError::Internal(_)) => "internal",
        }
    }

    /// Returns the HTTP status. OTLP clients retry only 429, 502, 503 and 504.
    pub(crate) fn http_status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) | Self::UnknownMethod(_) | Self::UnknownService(_) => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType(_) | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Origin => StatusCode::FORBIDDEN,
            Self::Malformed(_) | Self::Incomplete(_) | Self::Ingest(IngestError::Decode(_)) => {
                StatusCode::BAD_REQUEST
            }
            Self::TooLarge { .. } | Self::InflatesTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::Ingest(IngestError::Full { .. }) => StatusCode::TOO_MANY_REQUESTS,
            Self::Ingest(IngestError::Internal(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Ingest(
                IngestError::Stopping | IngestError::Store(_) | IngestError::ShardEnded,
            ) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the gRPC code. Senders retry `ResourceExhausted` only with a retry delay, which `TooLarge`
    /// does not have.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::UnknownService(_) => Code::NotFound,
            Self::NotFound(_)
            | Self::UnknownMethod(_)
            | Self::MethodNotAllowed
            | Self::MediaType(_)
            | Self::Encoding(_) => Code::Unimplemented,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden | Self::Origin => Code::PermissionDenied,
            Self::Malformed(_) | Self::Incomplete(_) | Self::Ingest(IngestError::Decode(_)) => {
                Code::InvalidArgument
            }
            Self::TooLarge { .. }
            | Self::InflatesTooLarge(_)
            | Self::Ingest(IngestError::Full { .. }) => Code::ResourceExhausted,
            Self::TooSlow { .. } | Self::Deadline => Code::DeadlineExceeded,
            Self::Ingest(IngestError::Internal(_)) => Code::Internal,
            Self::Ingest(
                IngestError::Stopping | IngestError::Store(_) | IngestError::ShardEnded,
            ) => Code::Unavailable,
        }
    }

    /// Returns the retry delay, if sending the same again may succeed.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Ingest(IngestError::Full { retry_after }) => Some(*retry_after),
            Self::Ingest(IngestError::Stopping) => Some(RETRY_AFTER_STOPPING),
            Self::Ingest(IngestError::Store(_) | IngestError::ShardEnded) => Some(RETRY_AFTER_DISK),
            _ => None,
        }
    }
}

impl From<InflateError> for Refusal {
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::TooLarge { .. } => Self::InflatesTooLarge(error),
            InflateError::Corrupt { .. } => Self::Malformed(error.to_string()),
        }
    }
}
