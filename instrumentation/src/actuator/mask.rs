//! Masks values that must not be shown: those whose name is that of a secret, those that contain such a name with a
//! value, and credentials in URLs.

use serde_json::{Map, Value};

use crate::http::{is_secret_name, redacted_urls};

/// Replaces a masked value (Spring Boot's text).
const MASK: &str = "******";

/// Parts of names of secrets, in addition to those of [`is_secret_name`]. Only letters and digits are compared, without
/// case.
const PARTS: [&str; 13] = [
    "authorization",
    "connectionstring",
    "cookie",
    "credential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "secret",
    "signature",
    "token",
    "vcapservices",
    "webhook",
];

/// Ends of names of secrets, for example `ENCRYPTION_KEY` and `OTEL_EXPORTER_OTLP_HEADERS`.
const ENDS: [&str; 7] = ["auth", "dsn", "headers", "key", "keys", "pass", "pwd"];

/// Words of names of secrets at any place, for example `JWT_KEY_V2` and `DB_PASS_OLD`.
const WORDS: [&str; 7] = ["creds", "jwt", "key", "keys", "pass", "pem", "pw"];

/// Returns a value with secrets masked.
pub(super) fn masked(name: &str, value: &str) -> String {
    match is_secret(name) || holds_secret(value) {
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
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// Returns whether a value contains pairs of which one is a secret: a command line, connection parameters, a query, JSON.
/// Where the secret ends depends on the format, so the whole value is masked.
fn holds_secret(value: &str) -> bool {
    let is_between = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | ',' | '?' | '{');
    let mut names = value.split(is_between).filter_map(|pair| {
        let (name, _) = pair.split_once(['=', ':'])?;
        // The folders of a path are not names.
        (!name.contains('/')).then_some(name)
    });
    names.any(is_secret)
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
            "SMTP_PASS",
            "DBPASS",
            "API_KEYS",
            "jwt.key-v2",
            "AZURE_STORAGE_CONNECTION_STRING",
            "SLACK_WEBHOOK_URL",
        ] {
            assert_eq!(masked(name, "hidden"), MASK, "{name}");
        }
        for name in ["PATH", "HOME", "KEYBOARD", "MONKEY_COUNT", "AUTHOR"] {
            assert_eq!(masked(name, "shown"), "shown", "{name}");
        }
        for value in [
            "Server=db;User Id=ada;Password=hid den",
            "host=db password='hid den'",
            "-Xmx1g -Djavax.net.ssl.keyStorePassword=hidden",
            "https://relay/send?api_key=hidden",
            "{\"user\":\"ada\",\"password\":\"hidden\"}",
            "Authorization: Bearer hidden",
        ] {
            assert_eq!(masked("SETTINGS", value), MASK, "{value}");
        }
        for value in ["/opt/key:/bin", "info,shop=debug", "db:5432", "a=b&c=d"] {
            assert_eq!(masked("SETTINGS", value), value);
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
