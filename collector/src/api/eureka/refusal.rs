//! Errors of Eureka's API: a status and one line of text.

use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::dialect::Refuse;
use crate::api::problem::RETRY_AFTER;
use crate::codec::eureka::EurekaError;
use crate::live::registry::RegistryError;
use crate::receivers::decompress::InflateError;

#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no such instance is registered")
    }
}

impl Refuse for Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { status, text }
    }

    fn parameter(name: &str, problem: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{name}: {problem}"))
    }
}

impl From<EurekaError> for Refusal {
    fn from(error: EurekaError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<InflateError> for Refusal {
    fn from(error: InflateError) -> Self {
        let status = match error {
            InflateError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            InflateError::Corrupt { .. } => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string())
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let status = match error {
            // Clients register again when they read this.
            RegistryError::Unknown => StatusCode::NOT_FOUND,
            RegistryError::Invalid { .. } => StatusCode::BAD_REQUEST,
            RegistryError::Full(_) | RegistryError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let text = match &error {
            RegistryError::Store(store) => {
                tracing::error!(error = %store, "could not store a change of the registry");
                "the change could not be stored; the collector's log says more".to_owned()
            }
            error => error.to_string(),
        };
        Self::new(status, text)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.text).into_response();
        let headers = response.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}
