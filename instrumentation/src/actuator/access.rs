//! Access control of the actuator. Without a token, clients that use an IP address or a private host name can read
//! everything, and no client can change anything. With a token, reading and changing need it; only the status of the
//! health endpoints is open to probes.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};
use subtle::ConstantTimeEq;

use super::Inner;
use super::answer::{problem, represented};
use crate::http::{is_same_origin, names_private_host};

/// The shortest token: 16 random characters cannot be guessed over a network.
pub(super) const TOKEN_BYTES_MIN: usize = 16;

/// Paths for health probes, which have no token; they receive only the status.
const PROBED: [&str; 3] = [
    "/actuator/health",
    "/actuator/health/liveness",
    "/actuator/health/readiness",
];

/// The token; its `Debug` output hides it.
pub(super) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Marks a request whose client may see only the status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anonymous;

/// Refuses requests without permission, and sets the media type of answers.
pub(super) async fn guard(
    State(inner): State<Arc<Inner>>,
    mut request: Request,
    next: Next,
) -> Response {
    match judge(&inner, &request) {
        Ok(Some(anonymous)) => drop(request.extensions_mut().insert(anonymous)),
        Ok(None) => {}
        Err(refusal) => return refusal,
    }
    let accepted = request.headers().clone();
    represented(&accepted, next.run(request).await)
}

fn judge(inner: &Inner, request: &Request) -> Result<Option<Anonymous>, Response> {
    let headers = request.headers();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read && !is_same_origin(headers) {
        return Err(problem(
            StatusCode::FORBIDDEN,
            "a page of another site sent this",
        ));
    }
    let Some(token) = &inner.token else {
        return match (names_private_host(request.uri(), headers), is_read) {
            (true, true) => Ok(None),
            (true, false) => Err(problem(
                StatusCode::FORBIDDEN,
                "nothing can be changed, as no token is set: Actuator::with_token sets one",
            )),
            (false, _) => Err(problem(
                StatusCode::FORBIDDEN,
                "without a token, only IP addresses and names without a dot are answered",
            )),
        };
    };
    if shows(headers, token) {
        return Ok(None);
    }
    if is_read && PROBED.contains(&request.uri().path()) {
        return Ok(Some(Anonymous));
    }
    Err(challenge())
}

/// Returns whether a request carries the token, as a bearer token or as the password of any user.
fn shows(headers: &HeaderMap, Token(token): &Token) -> bool {
    let shown = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, shown)) = shown.and_then(|shown| shown.split_once(' ')) else {
        return false;
    };
    let is_token = |shown: &[u8]| bool::from(shown.ct_eq(token.as_bytes()));
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_token(shown.trim().as_bytes());
    }
    let decoded = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| STANDARD.decode(shown.trim()));
    let decoded = decoded.and_then(Result::ok).unwrap_or_default();
    let colon = decoded.iter().position(|byte| *byte == b':');
    colon.is_some_and(|colon| is_token(&decoded[colon + 1..]))
}

fn challenge() -> Response {
    let mut response = problem(StatusCode::UNAUTHORIZED, "this needs the actuator's token");
    for scheme in ["Bearer realm=\"actuator\"", "Basic realm=\"actuator\""] {
        let value = HeaderValue::from_static(scheme);
        response.headers_mut().append(WWW_AUTHENTICATE, value);
    }
    response.into_response()
}
