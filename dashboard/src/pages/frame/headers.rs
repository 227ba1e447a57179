//! The security headers of every page: no inline code, nothing from other origins.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::Response;

use crate::pages::words::Language;

/// The policy of every page: own style and script files only, no inline code, no frames.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the headers to a response, including the language of a page and the request headers that selected it.
pub(crate) fn add(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let has_words = |content_type: &[u8]| {
        content_type.starts_with(b"text/html") || content_type.starts_with(b"text/event-stream")
    };
    if content_type.is_some_and(has_words) {
        let language = HeaderValue::from_static(Language::current().tag());
        headers.insert(CONTENT_LANGUAGE, language);
        headers.append(VARY, HeaderValue::from_static("accept-language, cookie"));
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
