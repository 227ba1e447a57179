//! Recognises query parameters with secret values, and masks them in `url.query` and `url.full`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Replaces a value, as the semantic conventions specify.
const REDACTED: &str = "REDACTED";

/// Names of secrets. Only letters and digits are compared, without case: `api_key`, `X-Api-Key` and `apiKey` are the
/// same. The semantic conventions name `sig` (Azure), `AWSAccessKeyId`, `Signature` and `X-Goog-Signature`; the others
/// come from OAuth, SAML, sessions and object stores.
const NAMES: [&str; 32] = [
    "assertion",
    "auth",
    "authorization",
    "awsaccesskeyid",
    "bearer",
    "clientassertion",
    "code",
    "codeverifier",
    "credentials",
    "googleaccessid",
    "hmac",
    "jsessionid",
    "jwt",
    "key",
    "ossaccesskeyid",
    "otp",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "phpsessid",
    "pin",
    "policy",
    "pwd",
    "samlrequest",
    "samlresponse",
    "session",
    "sessionid",
    "sid",
    "sig",
    "sign",
    "ticket",
];

/// Ends of names of secrets, for example `access_token`, `X-Amz-Security-Token`, `client_secret` and `X-Oss-Signature`.
const ENDS: [&str; 10] = [
    "token",
    "secret",
    "password",
    "signature",
    "credential",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "subscriptionkey",
];

/// Replaces the values of secrets.
pub(super) fn redacted_query(query: &str) -> Cow<'_, str> {
    let mut redacted = String::with_capacity(query.len());
    let mut has_secret = false;
    for part in query.split_inclusive(['&', ';']) {
        let (pair, separator) = match part.strip_suffix(['&', ';']) {
            Some(pair) => (pair, &part[pair.len()..]),
            None => (part, ""),
        };
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret_name(name) => {
                has_secret = true;
                redacted.push_str(name);
                redacted.push('=');
                redacted.push_str(REDACTED);
            }
            _ => redacted.push_str(pair),
        }
        redacted.push_str(separator);
    }
    match has_secret {
        true => Cow::Owned(redacted),
        false => Cow::Borrowed(query),
    }
}

/// Replaces the credentials and the whole query of each URL in a message. A URL in a message ends at a blank or a
/// quotation mark, so other text may look like a part of its query; therefore all parameters are masked.
pub(crate) fn redacted_urls(message: &str) -> Cow<'_, str> {
    let (mut redacted, mut rest) = (String::new(), message);
    while let Some(scheme) = rest.find("://") {
        let (before, url) = rest.split_at(scheme + "://".len());
        let (url, after) = url.split_at(url_length(url));
        let host = host_start(url);
        let (url, is_redacted) = (&url[host..], host > 0);
        let (url, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        redacted.push_str(before);
        redacted.push_str(if is_redacted { "REDACTED@" } else { "" });
        redacted.push_str(url);
        redacted.push_str(if query.is_empty() { "" } else { "?REDACTED" });
        rest = after;
    }
    match redacted.is_empty() {
        true => Cow::Borrowed(message),
        false => Cow::Owned(redacted + rest),
    }
}

/// Returns the end of a URL, given without its scheme: a blank, a quotation mark, or the start of the next URL of a list
/// (`amqp://a:b@c,amqp://d:e@f`).
fn url_length(text: &str) -> usize {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>');
    let whole = |text: &str| text.find(is_end).unwrap_or(text.len());
    let Some(next) = text
        .find("://")
        .filter(|next| !text[..*next].contains(is_end))
    else {
        return whole(text);
    };
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let before = text[..next].trim_end_matches(is_scheme);
    match before.ends_with([',', ';', '|']) && !before.contains(['?', '#']) {
        true => before.len(),
        false => whole(text),
    }
}

/// Returns the start of the host: after the last `@` of the authority. A password may contain characters that should have
/// been encoded (`ada:a/b#c@db`); it then looks like a port that is not a number.
fn host_start(url: &str) -> usize {
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let credentials = match authority.rsplit_once(':') {
        Some((host, port)) if !is_port(port) && !host.contains('[') => url,
        _ => authority,
    };
    credentials.rfind('@').map_or(0, |at| at + 1)
}

/// Returns whether a parameter, header or attribute of this name has a secret value, for example `password`,
/// `X-Api-Key` or `access_token`. Only letters and digits are compared, without case.
pub fn is_secret_name(name: &str) -> bool {
    let name = percent_decode_str(name).decode_utf8_lossy();
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|letter| letter.to_ascii_lowercase()).collect();
    NAMES.contains(&plain.as_str()) || ENDS.iter().any(|end| plain.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_however_they_are_spelled() {
        for name in [
            "sig",
            "Sig",
            "%73ig",
            "token",
            "token[]",
            "access_token",
            "refresh-token",
            "idToken",
            "hub.verify_token",
            "api_key",
            "apikey",
            "apiKey",
            "X-Api-Key",
            "key",
            "Ocp-Apim-Subscription-Key",
            "password",
            "passwd",
            "pwd",
            "user[password]",
            "secret",
            "client_secret",
            "client_assertion",
            "code",
            "jwt",
            "SAMLResponse",
            "AWSAccessKeyId",
            "Signature",
            "X-Amz-Signature",
            "X-Amz-Credential",
            "X-Amz-Security-Token",
            "X-Goog-Signature",
            "X-Goog-Credential",
            "GoogleAccessId",
            "x-oss-signature",
            "OSSAccessKeyId",
            "q-signature",
            "sessionid",
            "PHPSESSID",
            "authorization",
            "Policy",
        ] {
            let query = format!("a=1&{name}=hidden&b=2");
            assert_eq!(
                redacted_query(&query),
                format!("a=1&{name}=REDACTED&b=2"),
                "{name}"
            );
        }
    }

    #[test]
    fn urls_in_messages_lose_credentials_and_queries() {
        for (message, expected) in [
            (
                "error sending request for url (http://shop:1/a?token=b)c)",
                "error sending request for url (http://shop:1/a?REDACTED",
            ),
            (
                "url: \"https://ada:secret@shop/?q=1\", source: https://b/c#d",
                "url: \"https://REDACTED@shop/?REDACTED\", source: https://b/c?REDACTED",
            ),
            ("user@http://a/b@c", "user@http://a/b@c"),
            ("http://[::1]:80/b@c", "http://[::1]:80/b@c"),
            (
                "amqp://ada:secret@a:1/x,amqp://bob:secret@b|c://secret@d?e=f,g://secret@h",
                "amqp://REDACTED@a:1/x,amqp://REDACTED@b|c://REDACTED@d?REDACTED",
            ),
            ("mongodb://ada:secret@a,b/c", "mongodb://REDACTED@a,b/c"),
            ("pg://ada:sec#ret/s?@db/shop", "pg://REDACTED@db/shop"),
            ("connection refused?", "connection refused?"),
        ] {
            assert_eq!(redacted_urls(message), expected);
        }
    }

    #[test]
    fn everything_else_stays() {
        for query in [
            "",
            "a",
            "page=2&sort=name",
            "q=token",
            "keyboard=qwerty",
            "zipcode=1",
            "monkey=1",
            "design=x",
            "X-Amz-Date=1",
            "se=2026-01-01&sp=r",
            "token",
            "token=",
            "&&;",
        ] {
            assert_eq!(redacted_query(query), query);
        }
        assert_eq!(redacted_query("a=1;sig=x=y&b"), "a=1;sig=REDACTED&b");
    }
}
