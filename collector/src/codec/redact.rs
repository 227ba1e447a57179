//! Replaces the values of secrets in what log records say: programs log requests, headers and settings whole.
//!
//! Which names are secret is the list of the library, which masks them in the URLs of spans. A few of them are words of a
//! query only (`code`, `key`): an attribute of that name is mostly something else, and stays.

use std::borrow::Cow;

use fusebox::http::is_secret_name;

use crate::model::Value;

/// What takes the place of a value, as the semantic conventions have it.
const REDACTED: &str = "REDACTED";

/// Secrets in a query, and something else anywhere else.
const QUERY_WORDS: [&str; 6] = ["code", "key", "policy", "session", "sign", "pin"];
/// Headers that are secrets, and no parameters of a query.
const HEADERS: [&str; 2] = ["cookie", "set-cookie"];

/// The longest name before a value in a text; ours of headers have about 40.
const NAME_BYTES_MAX: usize = 64;
/// The words between a name and its secret.
const SCHEMES: [&str; 3] = ["bearer ", "basic ", "digest "];

/// Redacts the attributes whose names say that they are secrets, and the texts of the others.
pub(crate) fn attributes(attributes: &mut [(String, Value)]) {
    for (key, one) in attributes {
        match one {
            Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Empty => {}
            _ if is_secret(key) => *one = Value::String(REDACTED.to_owned()),
            _ => value(one),
        }
    }
}

/// Redacts the texts of a value.
pub(crate) fn value(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(redacted) = redacted(text) {
                *text = redacted;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Map(entries) => attributes(entries),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Bytes(_) => {}
    }
}

/// Returns whether an attribute of that name holds a secret; the part behind the last dot decides.
fn is_secret(key: &str) -> bool {
    let (_, name) = key.rsplit_once('.').unwrap_or(("", key));
    let is_one_of = |names: &[&str]| names.iter().any(|other| other.eq_ignore_ascii_case(name));
    is_one_of(&HEADERS) || (is_secret_name(name) && !is_one_of(&QUERY_WORDS))
}

/// Returns a text without the values behind `password=`, `"api_key":"`, `Authorization: Bearer ` and the like.
fn redacted(text: &str) -> Cow<'_, str> {
    let (mut redacted, mut done, mut from) = (String::new(), 0, 0);
    while let Some(at) = text[from..].find(['=', ':']).map(|at| from + at) {
        from = at + 1;
        if !is_secret(name_before(&text[done..at])) {
            continue;
        }
        let begin = at + 1 + before_value(&text[at + 1..]);
        let end = begin + value_bytes(&text[begin..], text.as_bytes()[begin - 1]);
        if end > begin {
            redacted.push_str(&text[done..begin]);
            redacted.push_str(REDACTED);
            (done, from) = (end, end);
        }
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(redacted + &text[done..]),
    }
}

/// Returns the name that ends before the separator behind these bytes.
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

/// Returns how many bytes stand between the separator and the value: blanks, a quotation mark, a scheme.
fn before_value(text: &str) -> usize {
    let value = text.trim_start_matches(['"', '\'', '\\', ' ']);
    let starts = |scheme: &&&str| {
        let head = value.get(..scheme.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(scheme))
    };
    let scheme = SCHEMES.iter().find(starts).map_or(0, |scheme| scheme.len());
    text.len() - value.len() + scheme
}

/// Returns how long the value is; one in quotation marks may hold blanks.
fn value_bytes(text: &str, before: u8) -> usize {
    let is_quoted = matches!(before, b'"' | b'\'');
    let ends = |c: char| match is_quoted {
        true => matches!(c, '"' | '\'' | '\n'),
        false => c.is_whitespace() || matches!(c, '"' | '\'' | '&' | ';' | ',' | ')' | '}' | ']'),
    };
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
            ("Set-Cookie: sid=1; Path=/", "Set-Cookie: REDACTED; Path=/"),
            ("token=a token=b", "token=REDACTED token=REDACTED"),
        ] {
            assert_eq!(redacted(text), wanted);
        }
    }

    #[test]
    fn everything_else_stays() {
        for text in [
            "",
            "status code=404 key=user:7",
            "password=",
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
        fn any_text_is_taken(text in "([a-z=:\"' &ü]|token|password){0,40}") {
            let _ = redacted(&text);
        }
    }
}
