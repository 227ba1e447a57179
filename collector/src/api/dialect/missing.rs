//! The header that says what is missing from an answer, for dialects without a field for it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use crate::model::cut;

const MISSING: HeaderName = HeaderName::from_static("fusebox-missing");
const TEXT_BYTES_MAX: usize = 500;

/// Returns what an answer's header says is missing.
pub(in crate::api) fn missing_of(headers: &HeaderMap) -> Option<String> {
    let missing = headers.get(MISSING)?.to_str().ok()?;
    Some(missing.to_owned())
}

pub(in crate::api) fn with_missing(mut response: Response, missing: Option<&str>) -> Response {
    if let Some(missing) = missing {
        let printable = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
        let text: String = cut(missing, TEXT_BYTES_MAX)
            .chars()
            .map(printable)
            .collect();
        let value = HeaderValue::from_str(&text).expect("printable ASCII is a header's value");
        response.headers_mut().insert(MISSING, value);
    }
    response
}
