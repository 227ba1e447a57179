//! Errors as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::dialect::Refuse;
use crate::query::{QueryError, TooManyClients};
use crate::store::StoreError;

pub(super) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An error, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The standard phrase of the status.
    pub title: &'static str,
    /// What is wrong, and what would be valid.
    pub detail: String,
    /// The invalid parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
}

impl Problem {
    /// Returns a problem with that status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            parameter: None,
        }
    }

    /// Returns the 400 for an invalid parameter.
    pub fn parameter(name: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let name = name.into();
        Self {
            detail: format!("{name}: {problem}"),
            parameter: Some(name),
            ..Self::new(StatusCode::BAD_REQUEST, "")
        }
    }

    /// Returns a 404; `what` describes what does not exist.
    pub fn not_found(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }
}

impl Refuse for Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, message)
    }

    fn parameter(name: &str, problem: impl std::fmt::Display) -> Self {
        Self::parameter(name, problem)
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let words = error.words();
        match error {
            QueryError::Invalid { parameter, problem } => Self::parameter(parameter, problem),
            QueryError::Store(StoreError::Remote { .. }) => {
                Self::new(StatusCode::BAD_GATEWAY, words)
            }
            QueryError::Store(StoreError::TimeOver) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
            }
            QueryError::Store(error) => {
                tracing::error!(%error, "could not answer a query");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, words)
            }
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        QueryError::from(error).into()
    }
}

impl From<TooManyClients> for Problem {
    fn from(error: TooManyClients) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY
        ) {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
