//! Secrets that no name announces: a credential behind its scheme, keys that say by their first letters what they are, JSON Web
//! Tokens and private keys. Only what has such a shape is known; a password in a sentence is not.

use std::borrow::Cow;

use super::REDACTED;
use crate::model::cut;

/// Schemes of HTTP whose credential is one word.
const SCHEMES: [&str; 2] = ["Bearer", "Basic"];
/// Shortest credential behind `Bearer`: 16 characters of Base64 are 96 bits, and fewer can be guessed.
const BEARER_MIN: usize = 16;
/// Parameters of a challenge, which stand there too: `Bearer error="invalid_token"`.
const PARAMETERS: [&str; 7] = [
    "charset",
    "error",
    "error_description",
    "error_uri",
    "realm",
    "resource_metadata",
    "scope",
];
/// How keys begin, and how many letters, digits, `_` and `-` follow at least: GitHub, GitLab, Slack, Stripe, Google, npm.
const KEYS: [(&str, usize); 15] = [
    ("ghp_", 36),
    ("gho_", 36),
    ("ghu_", 36),
    ("ghs_", 36),
    ("ghr_", 36),
    ("github_pat_", 22),
    ("glpat-", 20),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("AIza", 35),
    ("npm_", 36),
];
/// How an id of a key of AWS begins; sixteen capital letters and digits follow.
const AWS: [&str; 2] = ["AKIA", "ASIA"];
/// How each part of a JSON Web Token that is JSON begins, and its shortest header.
const JWT: &str = "eyJ";
const JWT_HEADER_MIN: usize = 16;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_KEY: &str = "PRIVATE KEY-----";
const PEM_END: &str = "-----END ";
/// Letters of the kind of key: the longest is `ENCRYPTED`.
const PEM_KIND_MAX: usize = 20;

/// Returns a text without such secrets.
pub(super) fn redacted(text: &str) -> Cow<'_, str> {
    let mut redacted = String::new();
    let mut done = 0;
    while let Some((begin, end)) = next_secret(&text[done..]) {
        redacted.push_str(&text[done..done + begin]);
        redacted.push_str(REDACTED);
        done += end;
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(redacted + &text[done..]),
    }
}

/// Returns where the first secret begins and ends.
fn next_secret(text: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let begin = from + text[from..].find(is_of_word)?;
        let rest = &text[begin..];
        let end = begin + rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        let word = &text[begin..end];
        let secret = private_key(text, begin, end)
            .or_else(|| web_token(rest, word).map(|bytes| (begin, begin + bytes)))
            .or_else(|| is_key(word).then_some((begin, end)))
            .or_else(|| credential(text, begin, end));
        if secret.is_some() {
            return secret;
        }
        from = end;
    }
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Returns whether a word is a key by how it begins and how long it is.
fn is_key(word: &str) -> bool {
    let has_digit = |rest: &str| rest.bytes().any(|byte| byte.is_ascii_digit());
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let of_aws = AWS.iter().filter_map(|begin| word.strip_prefix(begin));
    let mut of_others = KEYS.iter().filter_map(|(begin, least)| {
        let rest = word.strip_prefix(begin)?;
        (rest.len() >= *least).then_some(rest)
    });
    let mut of_aws = of_aws.filter(|rest| rest.len() == 16 && rest.bytes().all(is_capital));
    of_aws.any(has_digit) || of_others.any(has_digit)
}

/// Returns how long the JSON Web Token is that begins with that word.
fn web_token(text: &str, word: &str) -> Option<usize> {
    let payload = text.get(word.len()..)?.strip_prefix('.')?;
    let is_token =
        word.starts_with(JWT) && word.len() >= JWT_HEADER_MIN && payload.starts_with(JWT);
    let is_outside = |c: char| !is_of_word(c) && c != '.';
    is_token.then(|| text.find(is_outside).unwrap_or(text.len()))
}

/// Returns where the credential is behind a scheme, which is that word: one that no sentence would have there.
fn credential(text: &str, begin: usize, end: usize) -> Option<(usize, usize)> {
    let word = &text[begin..end];
    let scheme = SCHEMES
        .iter()
        .find(|scheme| scheme.eq_ignore_ascii_case(word))?;
    let value = text[end..].strip_prefix(' ')?;
    let is_outside = |c: char| !is_of_word(c) && !matches!(c, '.' | '~' | '+' | '/' | '=');
    let bytes = value.find(is_outside).unwrap_or(value.len());
    let value = value[..bytes].trim_end_matches(['.', '-']);
    let is_credential = match *scheme == SCHEMES[0] {
        true => is_token(value),
        // A user and a password are some bytes in Base64.
        false => value.len() >= 8 && value.bytes().skip(1).any(|b| !b.is_ascii_lowercase()),
    };
    let parameter = value.split_once('=').map_or("", |(name, _)| name);
    let is_known = value.is_empty() || value == REDACTED || PARAMETERS.contains(&parameter);
    let begin = end + 1;
    (is_credential && !is_known).then_some((begin, begin + value.len()))
}

/// Returns whether a word has the shape of a token (RFC 6750, `b64token`): long, and with a digit or so many capitals that it
/// is no name of a type.
fn is_token(word: &str) -> bool {
    let count = |is: fn(&u8) -> bool| word.bytes().filter(is).count();
    let (capitals, small) = (count(u8::is_ascii_uppercase), count(u8::is_ascii_lowercase));
    let is_mixed = small > 0 && capitals * 4 > word.len();
    word.len() >= BEARER_MIN && (count(u8::is_ascii_digit) > 0 || is_mixed)
}

/// Returns where the text of a private key is whose first line begins in that word: in JSON, the `n` of a line break stands
/// before it.
fn private_key(text: &str, begin: usize, end: usize) -> Option<(usize, usize)> {
    let begin = begin + text[begin..end].find(PEM_BEGIN.trim_end())?;
    let rest = text[begin..].strip_prefix(PEM_BEGIN)?;
    let kind = cut(rest, PEM_KIND_MAX + PEM_KEY.len()).find(PEM_KEY)?;
    let is_kind = |byte: u8| byte.is_ascii_uppercase() || byte == b' ';
    if !rest.as_bytes()[..kind].iter().copied().all(is_kind) {
        return None;
    }
    let key = begin + PEM_BEGIN.len() + kind + PEM_KEY.len();
    let bytes = text[key..].find(PEM_END).unwrap_or(text.len() - key);
    let is_known = &text[key..key + bytes] == REDACTED;
    (bytes > 0 && !is_known).then_some((key, key + bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_without_a_name_are_redacted_by_their_shape() {
        let github = format!("ghp_{}", "a1B2".repeat(9));
        let google = format!("AIza{}", "Sy-01".repeat(7));
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_9";
        for (text, wanted) in [
            ("sent Bearer mF_9.B5f-4.1JqMx, x", "sent Bearer REDACTED, x"),
            (
                "got bearer a1.b2~c+d/e+f-g_h== then",
                "got bearer REDACTED then",
            ),
            ("Bearer aBCdEfgHiJKlmnOp", "Bearer REDACTED"),
            ("BEARER 4bf92f3577b34da6", "BEARER REDACTED"),
            ("Basic YWRhOnNlY3JldA==, x", "Basic REDACTED, x"),
            ("key AKIAIOSFODNN7EXAMPLE.", "key REDACTED."),
            ("(ASIAIOSFODNN7EXAMPLE)", "(REDACTED)"),
            (&format!("token is {github}\n"), "token is REDACTED\n"),
            (&format!("/a?k={google}&b"), "/a?k=REDACTED&b"),
            ("xoxb-123456-abcdef", "REDACTED"),
            ("sk_live_0123456789abcdef ok", "REDACTED ok"),
            (&format!("user \"{jwt}\" came"), "user \"REDACTED\" came"),
            (&format!("{jwt} {jwt}"), "REDACTED REDACTED"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----",
                "-----BEGIN RSA PRIVATE KEY-----REDACTED-----END RSA PRIVATE KEY-----",
            ),
            (
                "\\n-----BEGIN PRIVATE KEY-----MII",
                "\\n-----BEGIN PRIVATE KEY-----REDACTED",
            ),
        ] {
            assert_eq!(redacted(text), wanted);
        }
    }

    #[test]
    fn what_only_looks_like_a_secret_stays() {
        for text in [
            "",
            "Bearer token is missing",
            "Bearer Authentication failed",
            "Bearer tokens expire after 3600 s",
            "Bearer realm=\"shop\", error=\"invalid_token\"",
            "Bearer challenge sent",
            "Bearer scheme expected, got Basic",
            "Bearer JwtAuthenticationFilter rejected the request",
            "Bearer authentication-not-configured",
            "Bearer INVALID_TOKEN_SIGNATURE",
            "Bearer abc",
            "Ring Bearer Frodo left",
            "the bearer of bad news",
            "Basic authentication of ada",
            "basic usage",
            "Bearer ",
            "Bearer REDACTED",
            "WWW-Authenticate: Bearer error=\"invalid_token\", scope=\"a b\"",
            "Bearer realm=shop, charset=utf-8",
            "Basic realm=shop-API",
            "AKIAIOSFODNN7",
            "ASIA-PACIFIC-REGION-1",
            "ASIAPACIFICREGIONSS",
            "ghp_short1",
            "sk_live_of_the_party_is_long",
            "eyJ is how they begin",
            "eyJhbGciOiJIUzI1NiJ9.txt",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----",
            "-----BEGIN PRIVATE KEY-----",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            let is_kept = matches!(redacted(text), Cow::Borrowed(same) if same == text);
            assert!(is_kept, "{text}");
        }
    }

    proptest! {
        /// *Guarantees*: any text is taken, and whatever stands around a key, it goes.
        #[test]
        fn a_key_among_other_words_is_redacted(
            before in "(Bearer |basic |AKIA|eyJ|-----BEGIN |PRIVATE KEY-----|-----END |[a-zA-Z0-9ü. =/_-]){0,40}",
            after in "(Bearer |basic |AKIA|eyJ|-----BEGIN |PRIVATE KEY-----|-----END |[a-zA-Z0-9ü. =/_-]){0,40}",
        ) {
            let key = "AKIAIOSFODNN7EXAMPLE";
            let shown = redacted(&format!("{before} {key} {after}")).into_owned();
            prop_assert!(!shown.contains(key), "{shown}");
        }
    }
}
