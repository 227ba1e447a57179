//! What can go wrong on the way to a page, and the page that says so: always with a way on.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use fusebox_collector::pipeline::IngestError;
use fusebox_collector::query::QueryError;
use fusebox_collector::store::StoreError;

use super::page::{Chrome, Section, draw};
use crate::pages::view::text;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    /// Nothing of that name is known.
    #[error("{0}")]
    NotFound(String),
    /// The address says something wrong.
    #[error("{0}")]
    Invalid(String),
    /// A form of another site was sent here.
    #[error("this form was sent from another site")]
    Forbidden,
    /// Too many pages watch at once.
    #[error("too many pages are watching; this one tries again by itself")]
    Busy,
    /// The question could not be answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The collector took nothing in.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl PageError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) | Self::Query(QueryError::Invalid { .. }) => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Busy | Self::Ingest(_) => StatusCode::SERVICE_UNAVAILABLE,
            // Another server's trouble, which the lanes to it log already.
            Self::Query(QueryError::Store(StoreError::Remote { .. })) => StatusCode::BAD_GATEWAY,
            Self::Query(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let status = self.status();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!(error = %self, "could not answer a page");
        }
        let page = ErrorPage::new(status, self.to_string());
        match draw(&page) {
            Ok(html) => (status, Html(html)).into_response(),
            Err(error) => render_failed(&error),
        }
    }
}

/// Returns the last resort: a template that could not be rendered.
pub(crate) fn render_failed(error: &askama::Error) -> Response {
    tracing::error!(%error, "could not render a page");
    let words = "this page could not be drawn; the collector's log says why";
    (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
}

/// The page of every other path.
pub(crate) async fn not_found() -> PageError {
    PageError::NotFound("there is no page at this address".to_owned())
}

/// The page that says what went wrong.
#[derive(Debug, Template)]
#[template(path = "frame/error.html")]
pub(crate) struct ErrorPage {
    chrome: Chrome,
    status: StatusCode,
    message: String,
}

impl ErrorPage {
    /// Returns the page of that status.
    pub(crate) fn new(status: StatusCode, message: String) -> Self {
        let heading = Self::heading_of(status);
        Self {
            chrome: Chrome::new(Section::None, heading),
            status,
            message: text::shown(&message, 2_000).into_owned(),
        }
    }

    fn heading_of(status: StatusCode) -> &'static str {
        match status {
            StatusCode::NOT_FOUND => "Not here",
            StatusCode::BAD_REQUEST => "That address is not right",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::SERVICE_UNAVAILABLE => "Busy",
            StatusCode::BAD_GATEWAY => "InfluxDB does not answer",
            _ => "Something broke here",
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
