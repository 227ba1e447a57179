//! The URL of an InfluxDB, validated once, so that it can be used and shown without further checks.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// The URL of an InfluxDB: `http` or `https`, a host, optionally a port and a proxy's path prefix. It never
/// contains a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfluxdbUrl(String);

/// Why a text is not a URL of an InfluxDB. The message does not repeat the text, which may contain a
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InfluxdbUrlError {
    /// It is not a URL with a host.
    #[error("must be an address such as http://127.0.0.1:8086 or https://influxdb.example:8086")]
    Invalid,
    /// It has a user or a password.
    #[error("must have no user and no password; they go into --influxdb-token as user:password")]
    Credentials,
    /// It has a query or a fragment.
    #[error("must end with its path, without ? and #")]
    Query,
}

impl InfluxdbUrl {
    /// Returns the URL without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it uses TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Returns whether it has no path prefix.
    #[cfg(any(test, feature = "influxdb2"))]
    pub(crate) fn is_host_alone(&self) -> bool {
        self.0.matches('/').count() == 2
    }
}

impl FromStr for InfluxdbUrl {
    type Err = InfluxdbUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text.trim()).map_err(|_| InfluxdbUrlError::Invalid)?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(InfluxdbUrlError::Invalid);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InfluxdbUrlError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InfluxdbUrlError::Query);
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for InfluxdbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_shows_no_password() {
        let parse = |text: &str| text.parse::<InfluxdbUrl>();
        let plain = parse("http://127.0.0.1:8086/").unwrap();
        assert_eq!(plain.as_str(), "http://127.0.0.1:8086");
        assert!(plain.is_host_alone() && !plain.is_https());
        let behind = parse("https://proxy.example/influx/").unwrap();
        assert_eq!(behind.to_string(), "https://proxy.example/influx");
        assert!(behind.is_https() && !behind.is_host_alone());
        let refused = [
            ("", InfluxdbUrlError::Invalid),
            ("127.0.0.1:8086", InfluxdbUrlError::Invalid),
            ("ftp://127.0.0.1", InfluxdbUrlError::Invalid),
            (
                "http://fusebox:s3cret@h:8086",
                InfluxdbUrlError::Credentials,
            ),
            ("http://h:8086/?org=x", InfluxdbUrlError::Query),
            ("http://h:8086/#x", InfluxdbUrlError::Query),
        ];
        for (text, error) in refused {
            assert_eq!(parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }
}
