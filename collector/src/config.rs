//! What a collector needs to know to start, validated once; flags and environment variables are read by the binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a collector.
#[derive(Debug, Clone)]
pub struct CollectorConfig {
    /// Where pages, query dialects and `/metrics` are served. Default `127.0.0.1:9411`.
    pub web_addr: SocketAddr,
    /// OTLP over gRPC. Default `127.0.0.1:4317`.
    pub otlp_grpc_addr: SocketAddr,
    /// OTLP over HTTP. Default `127.0.0.1:4318`.
    pub otlp_http_addr: SocketAddr,
    /// Where segments and series are kept.
    pub data_dir: PathBuf,
    /// Data older than this is deleted, whole segments at a time. Default one week.
    pub retention: Duration,
    /// Oldest segments are deleted beyond this, bytes. Default 20 GiB.
    pub disk_budget_bytes: u64,
    /// Ingest shards. Default: one per core.
    pub shards: usize,
    /// Request bytes that may wait for a shard. Default 64 MiB.
    pub queue_bytes: usize,
    /// Largest request body, before and after decompression. Default 64 MiB (OTLP 1.11, recommended).
    pub body_bytes_max: usize,
    /// Bearer token that senders and readers must show; `None` on loopback.
    pub token: Option<String>,
    /// Listen beyond loopback without a token. Default no.
    pub insecure: bool,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Anyone on the network could write and read.
    #[error(
        "{listener} would listen on {addr}, open to the network, without a token; set a token, bind to loopback, or allow it with --insecure"
    )]
    OpenWithoutToken {
        /// Which listener.
        listener: &'static str,
        /// Its address.
        addr: SocketAddr,
    },
    /// A setting has a value that cannot work.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl CollectorConfig {
    /// Returns the defaults with data kept in that directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            web_addr: SocketAddr::from(([127, 0, 0, 1], 9411)),
            otlp_grpc_addr: SocketAddr::from(([127, 0, 0, 1], 4317)),
            otlp_http_addr: SocketAddr::from(([127, 0, 0, 1], 4318)),
            data_dir: data_dir.into(),
            retention: Duration::from_secs(7 * 24 * 3600),
            disk_budget_bytes: 20 << 30,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            queue_bytes: 64 << 20,
            body_bytes_max: 64 << 20,
            token: None,
            insecure: false,
        }
    }

    /// Returns settings for a test: every port chosen by the system, two shards.
    pub fn for_test(data_dir: impl Into<PathBuf>) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            web_addr: any,
            otlp_grpc_addr: any,
            otlp_http_addr: any,
            shards: 2,
            ..Self::new(data_dir)
        }
    }

    /// Returns the settings in force as names and values for people; the token itself is not among them.
    pub fn effective(&self) -> Vec<(String, String)> {
        let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
        [
            ("listen", self.web_addr.to_string()),
            ("otlp-grpc-listen", self.otlp_grpc_addr.to_string()),
            ("otlp-http-listen", self.otlp_http_addr.to_string()),
            ("data-dir", self.data_dir.display().to_string()),
            (
                "retention",
                format!("{} h", self.retention.as_secs() / 3600),
            ),
            ("disk-gib", (self.disk_budget_bytes >> 30).to_string()),
            ("shards", self.shards.to_string()),
            ("queue", mib(self.queue_bytes)),
            ("largest request", mib(self.body_bytes_max)),
            (
                "token",
                if self.token.is_some() { "set" } else { "none" }.to_owned(),
            ),
            ("insecure", self.insecure.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// Names the first setting that cannot work, or the listener that would be open without a token.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_exposure()?;
        let usable_token =
            |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let rules = [
            (self.shards > 0, "shards", "must be at least 1"),
            (
                self.shards <= SHARDS_MAX,
                "shards",
                "must be at most 64, about one per core",
            ),
            (
                self.queue_bytes >= QUEUE_BYTES_MIN,
                "queue_bytes",
                "must be at least 1 MiB, so that ordinary requests fit",
            ),
            (
                self.body_bytes_max > 0,
                "body_bytes_max",
                "must be more than 0",
            ),
            (
                !self.retention.is_zero(),
                "retention",
                "must be more than 0",
            ),
            (
                self.token.as_ref().is_none_or(usable_token),
                "token",
                "must be visible ASCII characters without spaces, at least one",
            ),
        ];
        match rules.iter().find(|(holds, ..)| !holds) {
            Some((_, setting, problem)) => Err(ConfigError::Invalid { setting, problem }),
            None => Ok(()),
        }
    }

    /// Refuses listeners that are open to the network while nothing guards them.
    fn validate_exposure(&self) -> Result<(), ConfigError> {
        if self.insecure || self.token.is_some() {
            return Ok(());
        }
        let listeners = [
            ("web", self.web_addr),
            ("OTLP gRPC", self.otlp_grpc_addr),
            ("OTLP HTTP", self.otlp_http_addr),
        ];
        match listeners.iter().find(|(_, addr)| !addr.ip().is_loopback()) {
            Some(&(listener, addr)) => Err(ConfigError::OpenWithoutToken { listener, addr }),
            None => Ok(()),
        }
    }
}

/// More shards than this are a typing mistake: each is a thread with an open segment.
const SHARDS_MAX: usize = 64;

/// The smallest useful queue: SDK batches of 512 spans are up to 370 kB (JSON of Node's exporter).
const QUEUE_BYTES_MIN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(CollectorConfig::new("data").validate(), Ok(()));
        assert_eq!(CollectorConfig::for_test("data").validate(), Ok(()));
    }

    #[test]
    fn an_open_listener_needs_a_token_or_consent() {
        let addr = SocketAddr::from(([0, 0, 0, 0], 4318));
        let open = CollectorConfig {
            otlp_http_addr: addr,
            ..CollectorConfig::new("data")
        };
        assert_eq!(
            open.validate(),
            Err(ConfigError::OpenWithoutToken {
                listener: "OTLP HTTP",
                addr
            })
        );
        let guarded = CollectorConfig {
            token: Some("s3cret".into()),
            ..open.clone()
        };
        assert_eq!(guarded.validate(), Ok(()));
        let insecure = CollectorConfig {
            insecure: true,
            ..open
        };
        assert_eq!(insecure.validate(), Ok(()));
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let no_shards = CollectorConfig {
            shards: 0,
            ..CollectorConfig::new("data")
        };
        assert!(matches!(
            no_shards.validate(),
            Err(ConfigError::Invalid {
                setting: "shards",
                ..
            })
        ));
        let spaced = CollectorConfig {
            token: Some("two words".into()),
            ..CollectorConfig::new("data")
        };
        assert!(matches!(
            spaced.validate(),
            Err(ConfigError::Invalid {
                setting: "token",
                ..
            })
        ));
    }
}
