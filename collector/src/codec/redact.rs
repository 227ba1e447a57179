//! Redacts secrets in log records: programs log whole requests, headers and settings.
//!
//! The list of secret names is the library's, which masks them in the URLs of spans. A few of them are secret
//! only in a query (`code`, `key`): an attribute of that name mostly means something else, and stays.

mod unnamed;

use std::borrow::Cow;

use fusebox::http::is_secret_name;
use serde_json::Value as Json;

use crate::model::Value;

/// Replaces a value, as in the semantic conventions.
const REDACTED: &str = "REDACTED";

/// Names that are secret only in a query.
const QUERY_WORDS: [&str; 6] = ["code", "key", "policy", "session", "sign", "pin"];
/// Secret headers. In a text their value extends to the end of the line, since it may contain names and
/// blanks.
const HEADERS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "set-cookie",
];

/// Longest name before a value in a text; our header names have about 40 bytes.
const NAME_BYTES_MAX: usize = 64;
/// Words between a name and its secret.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

/// Redacts attributes with secret names, and secrets in the texts of others.
pub(crate) fn attributes(attributes: &mut [(String, Value)]) {
    for (key, one) in attributes {
        match one {
            Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Empty => {}
            _ if is_secret(key) => *one = Value::String(REDACTED.to_owned()),
            _ => value(one),
        }
    }
}

pub(crate) fn value(value: &mut Value) {
    match value {
        Value::String(one) => {
            if let Cow::Owned(redacted) = text(one) {
                *one = redacted;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Map(entries) => attributes(entries),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Bytes(_) => {}
    }
}

/// Redacts JSON: values with secret names, and secrets in the texts of others.
pub(crate) fn json(value: &mut Json) {
    match value {
        Json::String(one) => {
            if let Cow::Owned(redacted) = text(one) {
                *one = redacted;
            }
        }
        Json::Array(items) => items.iter_mut().for_each(json),
        Json::Object(fields) => {
            for (name, one) in fields {
                match is_secret(name) && !one.is_null() {
                    true => *one = Json::from(REDACTED),
                    false => json(one),
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Returns a text without the secrets in it.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    let steps = [without_credentials, redacted, unnamed::redacted];
    steps
        .iter()
        .fold(Cow::Borrowed(text), |text, redact| match redact(&text) {
            Cow::Owned(redacted) => Cow::Owned(redacted),
            Cow::Borrowed(_) => text,
        })
}

/// Returns a value to show, by its name.
pub(crate) fn shown<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    match is_secret(name) && !value.is_empty() {
        true => Cow::Borrowed(REDACTED),
        false => text(value),
    }
}

/// Returns whether an attribute name is secret, by its part after the last dot.
fn is_secret(key: &str) -> bool {
    let name = last_part(key);
    is_header(name) || (is_secret_name(name) && !is_one_of(&QUERY_WORDS, name))
}

fn is_header(name: &str) -> bool {
    is_one_of(&HEADERS, last_part(name))
}

fn last_part(key: &str) -> &str {
    key.rsplit_once('.').map_or(key, |(_, name)| name)
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Removes users and passwords from URLs in a text.
fn without_credentials(text: &str) -> Cow<'_, str> {
    let (mut redacted, mut rest, mut has_any) = (String::new(), text, false);
    while let Some(scheme) = rest.find("://") {
        let (before, url) = rest.split_at(scheme + "://".len());
        let is_end = |c: char| c.is_whitespace() || "/?#\"'<>".contains(c);
        let authority = &url[..url.find(is_end).unwrap_or(url.len())];
        let host = authority.rfind('@').unwrap_or(0);
        redacted.push_str(before);
        redacted.push_str(if host > 0 { REDACTED } else { "" });
        redacted.push_str(&authority[host..]);
        has_any |= host > 0;
        rest = &url[authority.len()..];
    }
    match has_any {
        true => Cow::Owned(redacted + rest),
        false => Cow::Borrowed(text),
    }
}

/// Redacts values after `password=`, `"api_key":"`, `Authorization: Bearer ` and the like.
fn redacted(text: &str) -> Cow<'_, str> {
    let (mut redacted, mut done, mut from) = (String::new(), 0, 0);
    while let Some(at) = text[from..].find(['=', ':']).map(|at| from + at) {
        from = at + 1;
        let name = name_before(&text[done..at]);
        if !is_secret(name) {
            continue;
        }
        let value = SecretText::behind(
            &text[from..],
            text[at..].starts_with(':') && is_header(name),
        );
        if value.bytes > 0 {
            let begin = from + value.begin;
            redacted.push_str(&text[done..begin]);
            redacted.push_str(REDACTED);
            done = begin + value.bytes;
            from = done;
        }
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(redacted + &text[done..]),
    }
}

/// Returns the name that ends just before a separator.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches(['"', '\'', '\\', ' ']);
    let is_outside = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    let begin = text.rfind(is_outside).map_or(0, |at| at + 1);
    let name = text.get(begin..).unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        ""
    } else {
        name
    }
}

/// A secret value: its begin after the separator, and its length.
struct SecretText {
    begin: usize,
    bytes: usize,
}

impl SecretText {
    /// Finds the value after a separator; a header's value extends to the end of the line.
    fn behind(text: &str, is_header: bool) -> Self {
        let bare = text.trim_start_matches([' ', '\\', '[']);
        let lead = &text[..text.len() - bare.len()];
        let quote = bare.chars().next().filter(|c| matches!(c, '"' | '\''));
        let value = &bare[usize::from(quote.is_some())..];
        let starts = |scheme: &&&str| {
            let head = value.get(..scheme.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
        };
        let scheme = SCHEMES.iter().find(starts).map_or(0, |scheme| scheme.len());
        let value = &value[scheme..];
        let is_line = is_header && scheme == 0;
        Self {
            begin: text.len() - value.len(),
            bytes: match quote {
                _ if lead.contains('[') => value.find(']').unwrap_or(value.len()),
                Some(quote) => quoted_bytes(value, quote, lead.ends_with('\\')),
                None if is_line => value.find(['\n', '\r']).unwrap_or(value.len()),
                None => bare_bytes(value),
            },
        }
    }
}

/// Returns the length up to the closing quotation mark, which is escaped if the opening one was.
fn quoted_bytes(text: &str, quote: char, is_escaped: bool) -> usize {
    let mut before = '\0';
    for (at, c) in text.char_indices() {
        match (before, c) {
            ('\\', c) if c == quote && is_escaped => return at - 1,
            (before, c) if c == quote && before != '\\' => return at,
            // A second backslash does not escape the next character.
            ('\\', '\\') => before = '\0',
            (_, c) => before = c,
        }
    }
    text.find('\n').unwrap_or(text.len())
}

fn bare_bytes(text: &str) -> usize {
    let ends =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ';' | ',' | ')' | '}' | ']');
    text.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_in_texts_are_redacted() {
        for (text, wanted) in [
            ("login password=hunter2 ok", "login password=REDACTED ok"),
            (
                "{\"api_key\": \"a b\", \"n\": 1}",
                "{\"api_key\": \"REDACTED\", \"n\": 1}",
            ),
            (
                "Authorization: Bearer abc.def",
                "Authorization: Bearer REDACTED",
            ),
            (
                "GET /a?access_token=1&b=2",
                "GET /a?access_token=REDACTED&b=2",
            ),
            (
                "Set-Cookie: sid=1; Path=/\nA: b",
                "Set-Cookie: REDACTED\nA: b",
            ),
            ("Cookie: theme=dark; session=abc", "Cookie: REDACTED"),
            ("Authorization: ApiKey abc", "Authorization: REDACTED"),
            (
                "authorization=Bearer abc status=200",
                "authorization=Bearer REDACTED status=200",
            ),
            (
                "map[Cookie:[a=1; b=2] Host:[x]]",
                "map[Cookie:[REDACTED] Host:[x]]",
            ),
            ("{\"token\":[\"a\",\"b\"]}", "{\"token\":[\"REDACTED]}"),
            ("{\"pwd\":\"it's b\"}", "{\"pwd\":\"REDACTED\"}"),
            (
                "{\"pwd\":\"a\\\"b\",\"n\":1}",
                "{\"pwd\":\"REDACTED\",\"n\":1}",
            ),
            (
                "{\\\"pwd\\\":\\\"a b\\\"}",
                "{\\\"pwd\\\":\\\"REDACTED\\\"}",
            ),
            ("pwd='a\nb' c", "pwd='REDACTED' c"),
            ("pwd='a\nb", "pwd='REDACTED\nb"),
            ("token=a token=b", "token=REDACTED token=REDACTED"),
        ] {
            assert_eq!(redacted(text), wanted);
        }
    }

    #[test]
    fn credentials_in_urls_are_redacted() {
        for (text, wanted) in [
            (
                "no route to postgres://ada:a@b@db:5432/shop",
                "no route to postgres://REDACTED@db:5432/shop",
            ),
            (
                "redis://:x@a http://y@b",
                "redis://REDACTED@a http://REDACTED@b",
            ),
            ("http://a:80/x@y", "http://a:80/x@y"),
        ] {
            assert_eq!(without_credentials(text), wanted);
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            "status code=404 key=user:7",
            "password=",
            "{\"password\": \"\", \"n\": 1}",
            "the token: ",
            "tokens: 17",
            "https://shop:8080/a=b",
            "ü=ö",
        ] {
            assert!(
                matches!(redacted(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn attributes_are_redacted_by_name() {
        let text = |text: &str| Value::String(text.to_owned());
        let mut given = vec![
            (
                "http.request.header.authorization".to_owned(),
                text("Basic x"),
            ),
            ("db.password".to_owned(), text("x")),
            ("tokens.token".to_owned(), Value::Int(3)),
            ("error.code".to_owned(), text("E7")),
            (
                "args".to_owned(),
                Value::Map(vec![("secret".to_owned(), text("x"))]),
            ),
            ("note".to_owned(), text("pwd=x")),
        ];
        attributes(&mut given);
        let shown: Vec<_> = given.iter().map(|(_, value)| value.to_string()).collect();
        let wanted = [
            "REDACTED",
            "REDACTED",
            "3",
            "E7",
            "{secret: REDACTED}",
            "pwd=REDACTED",
        ];
        assert_eq!(shown, wanted);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "([a-z=:\"'/@\\\\\\[ &ü]|token|cookie|://){0,40}") {
            let _ = without_credentials(&redacted(&text));
        }
    }
}
