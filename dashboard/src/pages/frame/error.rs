//! The errors of pages, and the error page with status, message and links.

use askama::Template;
use axum::Extension;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use fusebox_collector::api::Problem;
use fusebox_collector::pipeline::IngestError;
use fusebox_collector::query::{Missing, MissingPart, Partial, QueryError};
use fusebox_collector::store::StoreError;

use super::asked;
use super::page::{Chrome, Page, Section, draw, render_failed};
use crate::pages::view::message;

/// What a page handler returns.
pub(crate) type PageResult<T> = Result<Page<T>, PageError>;

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// There is no such page or object.
    #[error("{0}")]
    NotFound(String),
    /// A parameter is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The body of the request did not arrive in time.
    #[error("{0}")]
    TooSlow(String),
    /// The form was sent from another site.
    #[error("{}", t!("this form was sent from another site"))]
    Forbidden,
    /// Too many live pages are open.
    #[error("{}", t!("too many live pages are open; this page retries automatically"))]
    Busy,
    /// Too many queries are being answered.
    #[error("{}", t!("too many pages and searches are being answered at once; try again in a few seconds"))]
    Overloaded,
    /// The query failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The collector did not accept the data.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl PageError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) | Self::Query(QueryError::Invalid { .. }) => StatusCode::BAD_REQUEST,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Busy
            | Self::Overloaded
            | Self::Ingest(_)
            | Self::Query(QueryError::Store(StoreError::TimeOver)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            // A failure of InfluxDB, which its client logs.
            Self::Query(QueryError::Store(StoreError::Remote { .. })) => StatusCode::BAD_GATEWAY,
            Self::Query(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Query(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "could not answer a page");
        }
        let message = self.to_string();
        let page = ErrorPage::new(status, message.clone());
        match draw(&page) {
            Ok(html) => (status, Extension(asked::Message(message)), Html(html)).into_response(),
            Err(error) => render_failed(&error),
        }
    }
}

/// Returns the data, or `nothing` if it could not be read; the page then shows the rest with a note.
///
/// # Errors
/// Returns an error if the query is invalid, or if local data cannot be read.
pub(crate) fn lenient<T>(
    answer: Result<Partial<T>, impl Into<QueryError>>,
    nothing: T,
) -> Result<Partial<T>, PageError> {
    match answer.map_err(Into::<QueryError>::into) {
        Err(QueryError::Store(error @ (StoreError::Remote { .. } | StoreError::TimeOver))) => {
            let missing = Missing {
                error,
                since: None,
                part: MissingPart::Rest,
            };
            Ok(Partial {
                value: nothing,
                missing: Some(missing),
            })
        }
        answer => Ok(answer?),
    }
}

/// Answers requests for unknown paths: a problem document for programs, a page for browsers.
pub(crate) async fn not_found(method: Method, headers: HeaderMap) -> Response {
    if wants_json(&method, &headers) {
        return Problem::not_found("there is nothing at this address").into_response();
    }
    PageError::NotFound(t!("there is no page at this address").to_owned()).into_response()
}

/// Returns whether a request asks for JSON, or sends data without asking for a page.
fn wants_json(method: &Method, headers: &HeaderMap) -> bool {
    let (asks_page, asks_json) = asked::accepted(headers);
    let sends = !matches!(*method, Method::GET | Method::HEAD);
    !asks_page && (sends || asks_json)
}

/// The error page.
#[derive(Debug, Template)]
#[template(path = "frame/error.html")]
pub(crate) struct ErrorPage {
    chrome: Chrome,
    status: StatusCode,
    message: String,
}

impl ErrorPage {
    pub(crate) fn new(status: StatusCode, message: String) -> Self {
        let heading = Self::heading_of(status);
        Self {
            chrome: Chrome::new(Section::None, heading),
            status,
            message: message::shown(&message, 2_000).into_owned(),
        }
    }

    fn heading_of(status: StatusCode) -> &'static str {
        match status {
            StatusCode::NOT_FOUND => t!("Not found"),
            StatusCode::BAD_REQUEST => t!("Invalid address"),
            StatusCode::REQUEST_TIMEOUT => t!("Too slow"),
            StatusCode::FORBIDDEN => t!("Not allowed"),
            StatusCode::SERVICE_UNAVAILABLE => t!("Too busy"),
            StatusCode::BAD_GATEWAY => t!("InfluxDB does not answer"),
            _ => t!("Internal error"),
        }
    }

    fn heading(&self) -> &'static str {
        Self::heading_of(self.status)
    }

    fn is_ours(&self) -> bool {
        self.status == StatusCode::INTERNAL_SERVER_ERROR
    }

    fn is_of_influxdb(&self) -> bool {
        self.status == StatusCode::BAD_GATEWAY
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use axum::http::header::ACCEPT;

    use super::*;

    #[tokio::test]
    async fn an_unknown_path_is_answered_as_it_is_asked() {
        let html = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (method, accept, is_json) in [
            (Method::GET, html, false),
            (Method::GET, "*/*", false),
            (Method::GET, "application/json", true),
            (Method::POST, html, false),
            (Method::POST, "*/*", true),
            (Method::POST, "application/json", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            let answer = not_found(method.clone(), headers).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            let content_type = answer.headers()["content-type"].to_str().expect("text");
            assert_eq!(content_type.contains("json"), is_json, "{method} {accept}");
        }
    }
}
