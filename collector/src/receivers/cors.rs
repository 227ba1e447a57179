//! Cross-origin requests: which origins may send, and the headers for browsers (Fetch standard, section 3.2,
//! "CORS protocol"). By default none may.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderValue, ORIGIN, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode, request};
use http_body_util::Full;

use super::refusal::Refusal;

/// Allows every origin.
const ANY: &str = "*";

/// How long a browser caches a preflight, seconds: two hours, the most that Chromium caches.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Headers that a page may read besides the standard ones: when to retry.
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after");

#[derive(Debug, Clone, Default)]
pub(crate) struct Cors(Arc<[String]>);

impl Cors {
    pub(crate) fn new(origins: &[String]) -> Self {
        let origins = origins.iter();
        // Browsers send scheme and host in lower case.
        Self(origins.map(|origin| origin.to_ascii_lowercase()).collect())
    }

    /// Returns the origin of a request if it is allowed.
    pub(crate) fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.allows(origin).then(|| origin.clone())
    }

    /// Returns whether a page of an origin that is not allowed sends the request. Browsers send the origin
    /// with each POST, whatever the content type; other senders send none.
    pub(crate) fn is_foreign(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        origins.any(|origin| !self.allows(origin))
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let is_origin =
            |allowed: &String| allowed == ANY || allowed.as_bytes() == origin.as_bytes();
        self.0.iter().any(is_origin)
    }

    /// Answers a preflight request; `None` for any other request.
    pub(crate) fn preflight(&self, head: &request::Parts) -> Option<Response<Full<Bytes>>> {
        let headers = &head.headers;
        let is_preflight = head.method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let Some(origin) = self.allowed(headers) else {
            let mut refusal = Response::new(Full::from(format!("{}\n", Refusal::Origin)));
            *refusal.status_mut() = StatusCode::FORBIDDEN;
            return Some(refusal);
        };
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        grant(&mut answer, origin);
        let granted = answer.headers_mut();
        let post = HeaderValue::from_static("POST");
        granted.insert(ACCESS_CONTROL_ALLOW_METHODS, post);
        granted.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(names) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            granted.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        Some(answer)
    }
}

/// Lets pages of that origin read an answer.
pub(crate) fn grant<B>(answer: &mut Response<B>, origin: HeaderValue) {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.insert(VARY, HeaderValue::from_static("origin"));
}

/// Validates an allowed origin: `*`, or scheme, host and optionally a port, as browsers send it.
///
/// # Errors
/// Describes what is wrong with it.
pub(crate) fn check(origin: &str) -> Result<(), &'static str> {
    if origin == ANY {
        return Ok(());
    }
    let parsed =
        url::Url::parse(origin).map_err(|_| "must be *, or an origin as https://shop.example")?;
    let is_web = matches!(parsed.scheme(), "http" | "https");
    let is_bare = parsed.path() == "/" && !origin.ends_with('/') && parsed.query().is_none();
    if is_web && is_bare && parsed.username().is_empty() && parsed.fragment().is_none() {
        Ok(())
    } else {
        Err("must be an origin as https://shop.example, without a path")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_a_host_and_nothing_else() {
        for origin in [
            "*",
            "https://shop.example",
            "http://localhost:3000",
            "http://[::1]:8080",
        ] {
            assert_eq!(check(origin), Ok(()), "{origin}");
        }
        for origin in [
            "shop.example",
            "https://shop.example/",
            "https://a/b",
            "ftp://a",
            "null",
            "https://u@a",
            "",
        ] {
            assert!(check(origin).is_err(), "{origin}");
        }
    }
}
