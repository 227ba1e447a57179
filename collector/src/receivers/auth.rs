//! Authentication for every listener: the token that senders and readers must show, compared in constant time.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};

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
pub(crate) struct Auth(Option<Secret>);

impl Auth {
    /// Requires that token, if there is one.
    pub(crate) fn new(token: Option<Secret>) -> Self {
        Self(token)
    }

    /// Returns whether the headers show the token: as `Authorization: Bearer TOKEN`, or, for browsers, as the password
    /// of `Basic` with any name.
    pub(crate) fn permits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0 else {
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

    /// Requires the token for every page and query of the web listener.
    pub(crate) fn guard(&self, web: Router) -> Router {
        let auth = self.clone();
        web.layer(from_fn(move |request: Request, next: Next| {
            let permitted = request.uri().path() == OPEN_PATH || auth.permits(request.headers());
            async move {
                match permitted {
                    true => next.run(request).await,
                    false => unauthorized(),
                }
            }
        }))
    }
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
        Auth::new(Some("s3cret".into())).permits(&headers)
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
        assert!(!Auth::new(Some("s3cret".into())).permits(&HeaderMap::new()));
        assert!(Auth::new(None).permits(&HeaderMap::new()));
    }
}
