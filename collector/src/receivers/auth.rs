//! The token that senders and readers must show, compared in constant time.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// A bearer token.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    /// Returns the token of that text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns whether the headers show it: `Authorization: Bearer TOKEN`, or, for browsers, which ask for a
    /// name and a password, `Basic` with any name and the token as password.
    pub(crate) fn is_shown_by(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(AUTHORIZATION) else {
            return false;
        };
        let Some((scheme, credentials)) = split_scheme(value.as_bytes()) else {
            return false;
        };
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return self.matches(credentials);
        }
        scheme.eq_ignore_ascii_case(b"basic")
            && STANDARD.decode(credentials).is_ok_and(|pair| {
                let password = pair.splitn(2, |byte| *byte == b':').nth(1);
                password.is_some_and(|password| self.matches(password))
            })
    }

    /// Compares every byte whatever came before, so that the time taken tells only the length.
    fn matches(&self, shown: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let different = token.iter().zip(shown).fold(0, |different, (a, b)| {
            std::hint::black_box(different | (a ^ b))
        });
        token.len() == shown.len() && different == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
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
        Token::new("s3cret").is_shown_by(&headers)
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
        assert!(!Token::new("s3cret").is_shown_by(&HeaderMap::new()));
    }
}
