//! Masks values that must not be shown: those whose name is that of a secret, and credentials in URLs.

use serde_json::{Map, Value};

use crate::http::{is_secret_name, redacted_urls};

/// Replaces a masked value (Spring Boot's text).
const MASK: &str = "******";

/// Parts of names of secrets, in addition to those of [`is_secret_name`]. Only letters and digits are compared, without
/// case.
const PARTS: [&str; 10] = [
    "authorization",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signature",
    "token",
];

/// Ends of names of secrets, for example `ENCRYPTION_KEY` and `OTEL_EXPORTER_OTLP_HEADERS`.
const ENDS: [&str; 5] = ["auth", "dsn", "headers", "key", "pwd"];

/// Returns a value with secrets masked.
pub(super) fn masked(name: &str, value: &str) -> String {
    match is_secret(name) {
        true => MASK.to_owned(),
        false => redacted_urls(value).into_owned(),
    }
}

/// As [`masked`], for every value inside an object or a list.
pub(super) fn masked_json(name: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter();
            let fields = fields.map(|(key, value)| match is_secret(name) {
                true => (key.clone(), MASK.into()),
                false => (key.clone(), masked_json(key, value)),
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(|item| masked_json(name, item)).collect(),
        Value::String(text) => masked(name, text).into(),
        Value::Null | Value::Bool(_) => value.clone(),
        Value::Number(_) if is_secret(name) => MASK.into(),
        Value::Number(_) => value.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    is_secret_name(name)
        || PARTS.iter().any(|part| plain.contains(part))
        || ENDS.iter().any(|end| plain.ends_with(end))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_masked_by_name_and_in_urls() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "DB_PASSWORD",
            "GITHUB_TOKEN_OLD",
            "OTEL_EXPORTER_OTLP_HEADERS",
            "SENTRY_DSN",
            "session",
        ] {
            assert_eq!(masked(name, "hidden"), MASK, "{name}");
        }
        for name in ["PATH", "HOME", "KEYBOARD", "MONKEY_COUNT", "AUTHOR"] {
            assert_eq!(masked(name, "shown"), "shown", "{name}");
        }
        let shown = masked("DATABASE_URL", "postgres://ada:hidden@db/shop");
        assert!(
            !shown.contains("hidden") && shown.ends_with("@db/shop"),
            "{shown}"
        );
        let value = json!({ "api-key": 7, "mail": { "host": "relay" }, "tokens": ["hidden"],
            "credentials": { "user": "hidden", "list": ["hidden"] } });
        let shown = masked_json("app", &value).to_string();
        assert!(!shown.contains("hidden") && !shown.contains('7'), "{shown}");
        assert!(shown.contains("relay"));
    }
}
