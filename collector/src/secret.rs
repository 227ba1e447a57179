//! A secret text, kept out of logs and of `Debug` output.

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::files;

/// A token or a password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns 32 unpredictable hexadecimal digits.
    ///
    /// # Panics
    /// When the system has no random numbers.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        let provider = rustls::crypto::ring::default_provider();
        let filled = provider.secure_random.fill(&mut bytes);
        filled.expect("the system has random numbers");
        Self(format!("{:032x}", u128::from_be_bytes(bytes)))
    }

    /// Reads a whole file of secrets; `None` if it is unchanged since `last`.
    ///
    /// # Errors
    /// When it cannot be read, is not a regular file, or is larger than `bytes_max`.
    pub(crate) fn read_if_changed(
        path: &Path,
        bytes_max: u64,
        last: Option<&Self>,
    ) -> io::Result<Option<Self>> {
        let read = files::read_regular(path, bytes_max)?;
        let read = Self(String::from_utf8_lossy(&read).into_owned());
        Ok((last != Some(&read)).then_some(read))
    }

    /// Returns the secret text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use crate::CollectorConfig;
    use crate::store::influxdb::InfluxdbOptions;

    #[test]
    fn settings_do_not_print_what_is_secret() {
        let influxdb = InfluxdbOptions {
            token: Some("geheim".into()),
            ..InfluxdbOptions::at("http://127.0.0.1:8086")
        };
        let config = CollectorConfig {
            token: Some("geheim".into()),
            influxdb: Some(influxdb),
            ..CollectorConfig::new("data")
        };
        let printed = format!("{config:?}");
        assert_eq!(printed.matches("Secret(..)").count(), 2, "{printed}");
        assert!(!printed.contains("geheim"), "{printed}");
    }
}
