//! The parameters of a query whose values are secrets, and their masking in `url.query` and `url.full`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// What takes the place of a value, as the semantic conventions have it.
const REDACTED: &str = "REDACTED";

/// Names of secrets, compared without case and without anything but letters and digits: `api_key`, `X-Api-Key` and `apiKey`
/// are one. The semantic conventions name `sig` (Azure), `AWSAccessKeyId`, `Signature` and `X-Goog-Signature`; the others
/// are those of OAuth, SAML, sessions and object stores.
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

/// Ends of names of secrets: `access_token`, `X-Amz-Security-Token`, `client_secret`, `X-Oss-Signature` and the like.
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
            Some((name, value)) if !value.is_empty() && is_secret(name) => {
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

fn is_secret(name: &str) -> bool {
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
