//! Errors in the form of Zipkin and Tempo: a status and one line of plain text.

use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::dialect::Refuse;
use super::problem::Problem;
use crate::query::QueryError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    /// Returns the 400 for an invalid parameter.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl Refuse for Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }

    fn parameter(_name: &str, problem: impl Display) -> Self {
        Self::bad(problem.to_string())
    }
}

impl From<QueryError> for Refusal {
    /// Uses the status and text of our own API.
    fn from(error: QueryError) -> Self {
        let problem = Problem::from(error);
        let status = StatusCode::from_u16(problem.status);
        Self::new(
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            problem.detail,
        )
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        let mut response = (self.status, self.text).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }
}
