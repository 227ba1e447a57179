//! The span attributes of OpenTelemetry's stable HTTP semantic conventions, computed from the parts of a request.

use std::fmt::Write;

use http::uri::Authority;
use http::{HeaderMap, Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tracing::Span;

use super::secret::{redacted_query, redacted_urls};
use crate::circuit_breaker::layer::GrpcCode;

/// The values allowed in `http.request.method` (RFC 9110 and PATCH); other methods are `_OTHER`.
const KNOWN_METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::CONNECT,
    Method::TRACE,
];

/// Longest text from a request in an attribute, because attributes are for reading and the sender is not trusted.
const MAX_TEXT: usize = 2048;

/// The value of `http.request.method`.
pub(super) fn method(method: &Method) -> &str {
    known_or(method, "_OTHER")
}

/// The method as the first word of a span's name; `HTTP` for an unknown one.
pub(super) fn method_in_name(method: &Method) -> &str {
    known_or(method, "HTTP")
}

fn known_or<'a>(method: &'a Method, unknown: &'static str) -> &'a str {
    match KNOWN_METHODS.contains(method) {
        true => method.as_str(),
        false => unknown,
    }
}

/// `http.request.method_original`, set only for an unknown method.
pub(super) fn original_method(method: &Method) -> Option<&str> {
    (!KNOWN_METHODS.contains(method)).then(|| shorten(method.as_str()))
}

/// Truncates text at a character boundary.
pub(super) fn shorten(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Splits an authority into `server.address` (an IPv6 address without brackets) and `server.port` (the scheme's default
/// if there is no port).
pub(super) fn address(authority: &Authority, scheme: &str) -> (String, Option<i64>) {
    let host = authority.host().trim_matches(['[', ']']);
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let port = authority.port_u16().or(default);
    // Signed, because the bridge from `tracing` to OpenTelemetry turns unsigned numbers into text.
    (shorten(host).to_owned(), port.map(i64::from))
}

/// Writes the URL without user information and with credentials in the query redacted.
pub(super) fn full_url(uri: &Uri) -> String {
    let mut url = String::new();
    if let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) {
        let host = authority.as_str();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let _ = write!(url, "{scheme}://{host}");
    }
    url.push_str(uri.path());
    if let Some(query) = uri.query() {
        url.push('?');
        url.push_str(&redacted_query(query));
    }
    url.truncate(shorten(&url).len());
    url
}

/// Records the status of the response; `is_error` marks the span as failed.
pub(super) fn record_status(span: &Span, status: StatusCode, is_error: bool) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if is_error {
        span.record("error.type", status.as_str());
        span.record("otel.status_code", "ERROR");
    }
}

/// Records the status of a gRPC call; `error` holds the headers or trailers with the message of a failed call.
pub(super) fn record_grpc_status(span: &Span, code: GrpcCode, error: Option<&HeaderMap>) {
    span.record("rpc.response.status_code", code.as_str());
    if let Some(headers) = error {
        let message = headers.get("grpc-message");
        let message = message.and_then(|message| message.to_str().ok());
        let message = percent_decode_str(message.unwrap_or_default()).decode_utf8_lossy();
        record_error(span, code.as_str(), &message);
    }
}

/// Records that there was no response, or that it ended with an error. Messages of errors and panics quote URLs, so
/// credentials and queries in them are masked.
pub(super) fn record_error(span: &Span, error_type: &str, description: &str) {
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
    span.record(
        "otel.status_description",
        shorten(&redacted_urls(description)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_are_other() {
        let brew = Method::from_bytes(b"BREW").unwrap();
        assert_eq!((method(&brew), method_in_name(&brew)), ("_OTHER", "HTTP"));
        assert_eq!(original_method(&brew), Some("BREW"));
        assert_eq!(
            (method(&Method::GET), original_method(&Method::GET)),
            ("GET", None)
        );
    }

    #[test]
    fn urls_lose_user_information_and_credentials() {
        let url = |text: &'static str| full_url(&Uri::from_static(text));
        assert_eq!(url("http://me:pass@shop:81/a?b=1"), "http://shop:81/a?b=1");
        assert_eq!(
            url("https://s/a?sig=1&x=2&Access_Token=a=b&token"),
            "https://s/a?sig=REDACTED&x=2&Access_Token=REDACTED&token"
        );
        assert_eq!(url("/only/path"), "/only/path");
    }

    #[test]
    fn addresses_have_no_brackets_and_the_default_port() {
        let read = |text: &'static str, scheme| address(&Authority::from_static(text), scheme);
        assert_eq!(read("[::1]:8080", "http"), ("::1".into(), Some(8080)));
        assert_eq!(read("shop", "https"), ("shop".into(), Some(443)));
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let text = "é".repeat(MAX_TEXT);
        assert_eq!(shorten(&text).len(), MAX_TEXT);
        assert_eq!(shorten(&text[..2]), "é");
    }
}
