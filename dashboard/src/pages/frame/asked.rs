//! What form of an answer a request asks for: a page, or JSON in place of an error page.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use fusebox_collector::api::Problem;

/// The message of an error page.
#[derive(Debug, Clone)]
pub(super) struct Message(pub(super) String);

/// Returns a problem document instead of an error page where a request asks for JSON.
pub(super) fn as_asked(request: &HeaderMap, response: Response) -> Response {
    let (asks_page, asks_json) = accepted(request);
    match response.extensions().get::<Message>() {
        Some(Message(message)) if asks_json && !asks_page => {
            Problem::new(response.status(), message.clone()).into_response()
        }
        _ => response,
    }
}

/// Returns whether a page is named among what is accepted, and whether JSON is.
pub(super) fn accepted(headers: &HeaderMap) -> (bool, bool) {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    let accepted = accepted.unwrap_or_default().to_ascii_lowercase();
    (accepted.contains("text/html"), accepted.contains("json"))
}
