//! Tokens and their roles: parsed from text, compared in constant time.
//!
//! A file has one token a line, alone or after its roles: `send:TOKEN`, `read,operate:TOKEN`. A token alone
//! has every role. Empty lines and lines that start with `#` are ignored.

use std::fmt;

use subtle::{Choice, ConstantTimeEq};

use crate::secret::Secret;

/// Shortest token: guessing one of 16 random letters and digits takes 10^27 attempts on average.
const BYTES_MIN: usize = 16;

/// Longest token: HTTP/2 headers are limited to 16 KiB, and many proxies to 8 KiB.
const BYTES_MAX: usize = 4_096;

/// Number of tokens: each request is compared with all of them.
const TOKENS_MAX: usize = 100;

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Send spans, metrics and logs, on every listener.
    Send,
    /// See the pages, use the query APIs and the stream.
    Read,
    /// See the collector's state (`/metrics`, `/healthz`, `/about`), and make changes on the pages.
    Operate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles(u8);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tokens(Vec<(Secret, Roles)>);

/// Why a token cannot be used; no message contains any of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too short or too long.
    #[error(
        "a token must be {BYTES_MIN} to {BYTES_MAX} characters, such as `openssl rand -hex 16` prints; this one has {0}"
    )]
    Length(usize),
    /// Spaces, control characters, or characters beyond ASCII.
    #[error("a token must be visible ASCII characters without spaces")]
    Characters,
    /// Unknown roles before the colon.
    #[error(
        "roles before the colon must be send, read or operate, separated by commas; a token in a file must not contain a colon"
    )]
    Roles,
    /// More than can be compared with each request.
    #[error("there are more than {TOKENS_MAX} tokens")]
    TooMany,
    /// No token at all.
    #[error("there is no token: one is expected on a line, as TOKEN or ROLE,ROLE:TOKEN")]
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub(crate) struct LineError {
    line: usize,
    error: TokenError,
}

impl Role {
    const ALL: [Self; 3] = [Self::Send, Self::Read, Self::Operate];

    /// Returns the name used in files.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Read => "read",
            Self::Operate => "operate",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl Roles {
    const NONE: Self = Self(0);

    pub(crate) fn all() -> Self {
        Self::of(&Role::ALL)
    }

    pub(crate) fn of(roles: &[Role]) -> Self {
        let bits = roles.iter().map(|role| 1 << *role as u8);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    pub(crate) fn meet(self, needed: Self) -> bool {
        self.0 & needed.0 != 0
    }

    fn parse(text: &str) -> Option<Self> {
        let roles = text.split(',').map(|name| Role::named(name.trim()));
        let roles: Vec<Role> = roles.collect::<Option<_>>()?;
        Some(Self::of(&roles))
    }
}

/// Writes the names, separated by "or".
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let among = |role: &Role| self.meet(Self::of(&[*role]));
        let names: Vec<_> = Role::ALL.iter().filter(|role| among(role)).collect();
        let names: Vec<_> = names.into_iter().map(|role| role.as_str()).collect();
        f.write_str(&names.join(" or "))
    }
}

impl Tokens {
    /// Makes one token valid for every role.
    ///
    /// # Errors
    /// When the token is invalid: too short, or not visible ASCII.
    pub(crate) fn one(token: &Secret) -> Result<Self, TokenError> {
        check(token.expose())?;
        Ok(Self(vec![(token.clone(), Roles::all())]))
    }

    /// Makes one token valid for sending only.
    ///
    /// # Errors
    /// When the token is invalid: too short, or not visible ASCII.
    pub(crate) fn sender(token: &Secret) -> Result<Self, TokenError> {
        check(token.expose())?;
        Ok(Self(vec![(token.clone(), Roles::of(&[Role::Send]))]))
    }

    /// Parses a file of tokens.
    ///
    /// # Errors
    /// Reports the first invalid line.
    pub(crate) fn parse(text: &str) -> Result<Self, LineError> {
        let mut tokens = Vec::new();
        let lines = (1..).zip(text.lines().map(str::trim));
        let used = lines.filter(|(_, text)| !text.is_empty() && !text.starts_with('#'));
        for (line, text) in used {
            let parsed = match tokens.len() < TOKENS_MAX {
                true => parse_line(text),
                false => Err(TokenError::TooMany),
            };
            tokens.push(parsed.map_err(|error| LineError { line, error })?);
        }
        let (line, error) = (1, TokenError::None);
        match tokens.is_empty() {
            true => Err(LineError { line, error }),
            false => Ok(Self(tokens)),
        }
    }

    pub(crate) fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// Returns the roles of a token; `None` if it is not valid. Every token is compared completely, so that
    /// the time reveals nothing but the length.
    pub(crate) fn find(&self, shown: &[u8]) -> Option<Roles> {
        let mut found = Choice::from(0);
        let mut roles = Roles::NONE;
        for (token, its_roles) in &self.0 {
            let is_it = token.expose().as_bytes().ct_eq(shown);
            found |= is_it;
            roles.0 |= its_roles.0 * is_it.unwrap_u8();
        }
        bool::from(found).then_some(roles)
    }
}

fn parse_line(text: &str) -> Result<(Secret, Roles), TokenError> {
    let (roles, token) = match text.split_once(':') {
        None => (Roles::all(), text),
        Some((roles, token)) => {
            let roles = Roles::parse(roles).ok_or(TokenError::Roles)?;
            (roles, token.trim())
        }
    };
    match token.contains(':') {
        true => Err(TokenError::Roles),
        false => check(token).map(|()| (token.into(), roles)),
    }
}

/// Validates length and characters.
pub(crate) fn check(token: &str) -> Result<(), TokenError> {
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::Characters);
    }
    match (BYTES_MIN..=BYTES_MAX).contains(&token.len()) {
        true => Ok(()),
        false => Err(TokenError::Length(token.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENDER: &str = "sender-sender-01";
    const READER: &str = "reader-reader-01";

    #[test]
    fn a_line_is_a_token_with_or_without_roles() {
        let text = format!(
            "# tokens\n\nsend:{SENDER}\r\n read , operate : {READER} \nall-all-all-all-1\n"
        );
        let tokens = Tokens::parse(&text).unwrap();
        let find = |token: &str| tokens.find(token.as_bytes());
        assert_eq!(find(SENDER), Some(Roles::of(&[Role::Send])));
        assert_eq!(find(READER), Some(Roles::of(&[Role::Read, Role::Operate])));
        assert_eq!(find("all-all-all-all-1"), Some(Roles::all()));
        for wrong in [
            "",
            "sender-sender-0",
            "sender-sender-011",
            "send:sender-sender-01",
        ] {
            assert_eq!(find(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_token_is_named_by_its_line_and_not_shown() {
        let cases = [
            ("", 1, TokenError::None),
            ("# nothing\n\n", 1, TokenError::None),
            ("short", 1, TokenError::Length(5)),
            ("\nsend:", 2, TokenError::Length(0)),
            ("two words of some length", 1, TokenError::Characters),
            ("sénder-sender-sender", 1, TokenError::Characters),
            ("sned:sender-sender-01", 1, TokenError::Roles),
            (":sender-sender-01", 1, TokenError::Roles),
            ("send:sender:sender-01", 1, TokenError::Roles),
            ("send,:sender-sender-01", 1, TokenError::Roles),
        ];
        for (text, line, error) in cases {
            let refused = Tokens::parse(text).unwrap_err();
            assert_eq!(refused, LineError { line, error }, "{text:?}");
            assert!(!refused.to_string().contains("ender-"), "{refused}");
        }
        let many = "sender-sender-01\n".repeat(TOKENS_MAX + 1);
        let error = TokenError::TooMany;
        let line = TOKENS_MAX + 1;
        assert_eq!(Tokens::parse(&many), Err(LineError { line, error }));
    }

    #[test]
    fn roles_meet_what_is_needed() {
        let reads = Roles::of(&[Role::Read, Role::Operate]);
        assert!(reads.meet(Roles::of(&[Role::Operate])));
        assert!(!reads.meet(Roles::of(&[Role::Send])));
        assert_eq!(reads.to_string(), "read or operate");
    }
}
