//! Authentication for every listener: the token that senders and readers must show, compared in constant time.
//!
//! Without a token, pages and queries answer only hosts that are not names of the public DNS: a page of any site could
//! point its own name at this machine and read everything (DNS rebinding).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, HeaderValue, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{Extensions, HeaderMap, StatusCode};

use super::places::Session;
use crate::secret::Secret;

/// The one path of the web listener that needs no token: health probes send none, and the answer holds no data.
const OPEN_PATH: &str = "/healthz";

/// The challenges of a 401 on the web listener; browsers ask their user for a name and a password.
const WEB_CHALLENGES: [HeaderValue; 2] = [
    HeaderValue::from_static("Bearer realm=\"fusebox\""),
    HeaderValue::from_static("Basic realm=\"fusebox\""),
];

/// Which requests are let in: all of them, or those that show the token.
#[derive(Debug, Clone, Default)]
pub(crate) struct Auth {
    token: Option<Secret>,
    any_host: bool,
}

impl Auth {
    /// Requires that token, if there is one; else, unless `any_host`, pages and queries require a private host name.
    pub(crate) fn new(token: Option<Secret>, any_host: bool) -> Self {
        Self { token, any_host }
    }

    /// Returns whether the headers show the token: as `Authorization: Bearer TOKEN`, or, for browsers, as the password
    /// of `Basic` with any name.
    pub(crate) fn permits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let Some(value) = headers.get(AUTHORIZATION) else {
            return false;
        };
        let Some((scheme, credentials)) = split_scheme(value.as_bytes()) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return matches(token, credentials);
        }
        scheme.eq_ignore_ascii_case(b"basic")
            && STANDARD.decode(credentials).is_ok_and(|pair| {
                let password = pair.splitn(2, |byte| *byte == b':').nth(1);
                password.is_some_and(|password| matches(token, password))
            })
    }

    /// Returns whether a request shows the token, and notes on its connection whether it was let in.
    pub(crate) fn admits(&self, headers: &HeaderMap, extensions: &Extensions) -> bool {
        let permitted = self.permits(headers);
        note(extensions, permitted);
        permitted
    }

    /// Requires the token, or a private host name, for every page and query of the web listener.
    pub(crate) fn guard(&self, web: Router) -> Router {
        let auth = self.clone();
        web.layer(from_fn(move |request: Request, next: Next| {
            let refusal = auth.refusal(&request);
            async move {
                match refusal {
                    None => next.run(request).await,
                    Some(refuse) => refuse(),
                }
            }
        }))
    }

    fn refusal(&self, request: &Request) -> Option<fn() -> Response> {
        if request.uri().path() == OPEN_PATH {
            return None;
        }
        let refusal = self.refusal_of(request.headers());
        note(request.extensions(), refusal.is_none());
        refusal
    }

    fn refusal_of(&self, headers: &HeaderMap) -> Option<fn() -> Response> {
        if !self.permits(headers) {
            return Some(unauthorized);
        }
        let any_host = self.any_host || self.token.is_some();
        // Over HTTP/2 the host stands in `:authority`; no browser speaks that without TLS.
        let host = headers.get(HOST).filter(|_| !any_host)?;
        (!is_private(host)).then_some(misdirected as fn() -> Response)
    }
}

/// Lets the connection of a request stay, or has it closed after the answer.
fn note(extensions: &Extensions, permitted: bool) {
    match extensions.get::<Arc<Session>>() {
        Some(session) if permitted => session.authenticate(),
        Some(session) => session.refuse(),
        // Requests that arrive through no listener.
        None => {}
    }
}

/// Returns whether a host is an IP address or a name that nobody can register: one without a dot, or below a top level
/// that is reserved for private use (`host.docker.internal`).
fn is_private(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority.host().to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let reserved = [".localhost", ".internal"];
    address.parse::<IpAddr>().is_ok()
        || !host.contains('.')
        || reserved.iter().any(|suffix| host.ends_with(suffix))
}

fn misdirected() -> Response {
    let problem = "without a token only private host names are answered, such as localhost or 127.0.0.1; set a token \
                   (--token), or allow any name with --insecure\n";
    (StatusCode::MISDIRECTED_REQUEST, problem).into_response()
}

fn unauthorized() -> Response {
    let mut response = (StatusCode::UNAUTHORIZED, "a token is required\n").into_response();
    for challenge in WEB_CHALLENGES {
        response.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Compares every byte whatever came before, so that the time taken reveals only the length.
fn matches(token: &Secret, shown: &[u8]) -> bool {
    let token = token.expose().as_bytes();
    let different = token.iter().zip(shown).fold(0, |different, (a, b)| {
        std::hint::black_box(different | (a ^ b))
    });
    token.len() == shown.len() && different == 0
}

fn split_scheme(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = value.iter().position(|byte| *byte == b' ')?;
    Some((&value[..space], value[space + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Auth::new(Some("s3cret".into()), false).permits(&headers)
    }

    #[test]
    fn names_that_anyone_can_register_are_not_private() {
        for host in [
            "127.0.0.1:9411",
            "[::1]:9411",
            "LOCALHOST",
            "fusebox:9411",
            "a.localhost",
            "host.docker.internal:9411",
        ] {
            assert!(is_private(&HeaderValue::from_static(host)), "{host}");
        }
        for host in [
            "evil.example:9411",
            "127.0.0.1.evil.example",
            "a.",
            "",
            "a b",
        ] {
            assert!(!is_private(&HeaderValue::from_static(host)), "{host}");
        }
    }

    #[test]
    fn only_the_whole_token_opens() {
        assert!(shown("Bearer s3cret"));
        assert!(shown("bearer  s3cret"));
        assert!(shown("Basic YW55Ym9keTpzM2NyZXQ="));
        for wrong in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Bearer ",
            "Bearer",
            "s3cret",
            "Basic s3cret",
            "Basic YW55Ym9keTpzM2NyZXRz",
        ] {
            assert!(!shown(wrong), "{wrong}");
        }
        assert!(!Auth::new(Some("s3cret".into()), false).permits(&HeaderMap::new()));
        assert!(Auth::new(None, false).permits(&HeaderMap::new()));
    }
}
