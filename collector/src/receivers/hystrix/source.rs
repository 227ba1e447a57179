//! A stream to pull: its service and URL.

use std::fmt;
use std::str::FromStr;

use url::Url;

const MAX_NAME_BYTES: usize = 256;

/// A `hystrix.stream` or `turbine.stream` to pull: `shop=http://127.0.0.1:8081/hystrix.stream`.
#[derive(Clone, PartialEq, Eq)]
pub struct HystrixSource {
    pub(super) service: String,
    pub(super) url: Url,
}

/// Why a text is not a source. The message does not repeat the text, which may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HystrixSourceError {
    /// It has no service or no valid URL.
    #[error("must be a service and an address, such as shop=http://127.0.0.1:8081/hystrix.stream")]
    Invalid,
    /// The URL has a user or a password.
    #[error("must have no user and no password")]
    Credentials,
    /// The service's name is too long.
    #[error("has a service of more than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
}

impl FromStr for HystrixSource {
    type Err = HystrixSourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = HystrixSourceError::Invalid;
        let (service, url) = text.trim().split_once('=').ok_or(invalid)?;
        let url = Url::parse(url).map_err(|_| invalid)?;
        if service.is_empty() || !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(invalid);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HystrixSourceError::Credentials);
        }
        if service.len() > MAX_NAME_BYTES {
            return Err(HystrixSourceError::NameTooLong);
        }
        Ok(Self {
            service: service.to_owned(),
            url,
        })
    }
}

impl HystrixSource {
    pub(crate) fn instance(&self) -> (&str, String) {
        (&self.service, self.authority())
    }

    /// Returns host and port, which are the instance's name.
    pub(super) fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or_default();
        format!("{host}:{port}")
    }
}

/// Shows the source without the query, which may contain a secret.
impl fmt::Display for HystrixSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, scheme, path) = (&self.service, self.url.scheme(), self.url.path());
        write!(f, "{service}={scheme}://{}{path}", self.authority())
    }
}

/// As `Display`.
impl fmt::Debug for HystrixSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_service_and_an_address() {
        let read = |text: &str| text.parse::<HystrixSource>();
        let source = read("shop=https://shop.example/hystrix.stream?token=secret").unwrap();
        assert_eq!(
            source.to_string(),
            "shop=https://shop.example:443/hystrix.stream"
        );
        for wrong in [
            "",
            "shop",
            "shop=",
            "=http://a/",
            "shop=ftp://a/",
            "shop=/hystrix.stream",
        ] {
            assert_eq!(read(wrong), Err(HystrixSourceError::Invalid), "{wrong}");
        }
        assert_eq!(
            read("shop=http://ada:pw@a/"),
            Err(HystrixSourceError::Credentials)
        );
        let long = format!("{}=http://a/", "s".repeat(257));
        assert_eq!(read(&long), Err(HystrixSourceError::NameTooLong));
    }
}
