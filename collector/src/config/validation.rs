//! The rules of the settings that their types cannot express.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{CollectorConfig, ConfigError};
use crate::api::prefix;
use crate::receivers::{HYSTRIX_STREAMS_MAX, HystrixSource, check as check_token, check_origin};
use crate::secret::Secret;

/// Whether a rule holds, the setting that it is about, and what to say when it is broken.
type Rule = (bool, &'static str, &'static str);

impl CollectorConfig {
    /// Checks the rules that the types cannot express.
    ///
    /// # Errors
    /// Reports the first invalid setting, or the listener that would be open without a token.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_exposure()?;
        if let Some(token) = &self.token {
            check_token(token.expose())?;
        }
        let rules = [
            self.bounds(),
            self.sampling(),
            self.web(),
            self.streams(),
            self.influxdb(),
        ];
        match rules.into_iter().flatten().find(|(holds, ..)| !holds) {
            Some((_, setting, problem)) => Err(ConfigError::Invalid { setting, problem }),
            None => Ok(()),
        }
    }

    /// Rejects listeners beyond loopback without a token.
    fn validate_exposure(&self) -> Result<(), ConfigError> {
        if self.insecure || self.token.is_some() || self.token_file.is_some() {
            return Ok(());
        }
        let listeners = [
            ("web", self.web_addr),
            ("OTLP gRPC", self.otlp_grpc_addr),
            ("OTLP HTTP", self.otlp_http_addr),
        ];
        match listeners.iter().find(|(_, addr)| !addr.is_loopback()) {
            Some(&(listener, addr)) => Err(ConfigError::OpenWithoutToken { listener, addr }),
            None => Ok(()),
        }
    }

    fn bounds(&self) -> Vec<Rule> {
        vec![
            (
                (1..=SHARDS_MAX).contains(&self.shards),
                "shards",
                "must be 1 to 64, about one per core",
            ),
            (
                (QUEUE_BYTES_MIN..=BYTES_MAX).contains(&self.queue_bytes),
                "queue_bytes",
                "must be 1 MiB, so that ordinary requests fit, to 4 GiB",
            ),
            (
                (1..=BYTES_MAX).contains(&self.body_bytes_max),
                "body_bytes_max",
                "must be 1 byte to 4 GiB, the longest message of gRPC",
            ),
            (
                (RETENTION_MIN..=RETENTION_MAX).contains(&self.retention),
                "retention",
                "must be at least 1 h, as segments are deleted whole, and at most 87600 h (10 years)",
            ),
            (
                self.disk_budget_bytes >= DISK_BUDGET_BYTES_MIN,
                "disk_budget_bytes",
                "must be at least 64 MiB, the size of one segment",
            ),
        ]
    }

    fn sampling(&self) -> Vec<Rule> {
        let Some(rule) = self.tail_sampling else {
            return Vec::new();
        };
        vec![
            (
                (SAMPLED_AFTER_MIN..self.retention).contains(&rule.after),
                "keep-after",
                "must be at least 2 h, as traces are compared with those of their hour, and shorter than the retention",
            ),
            (
                (0.0..=1.0).contains(&rule.share),
                "keep-share",
                "must be a share from 0 to 1",
            ),
            (
                self.influxdb.is_none(),
                "keep-after",
                "needs the data directory as the store: InfluxDB keeps what it was sent",
            ),
        ]
    }

    /// Rules about who may ask, and where.
    fn web(&self) -> Vec<Rule> {
        let origins = self.cors_allowed_origins.iter();
        let origins = origins.filter_map(|origin| check_origin(origin).err());
        let users = self.proxy_users.as_ref();
        let prefix = self.path_prefix.as_deref().and_then(prefix::problem);
        let broken = |setting| move |problem| (false, setting, problem);
        let mut rules: Vec<Rule> = origins.map(broken("cors-allowed-origin")).collect();
        rules.extend(
            users
                .and_then(|users| users.problem())
                .map(broken("proxy-user-header")),
        );
        rules.push((
            users.is_none() || !self.trusted_proxies.is_empty(),
            "proxy-user-header",
            "needs --trusted-proxy: the header is believed only from those addresses",
        ));
        rules.extend(prefix.map(broken("path-prefix")));
        rules
    }

    fn streams(&self) -> Vec<Rule> {
        let instances = self.hystrix_streams.iter().map(HystrixSource::instance);
        let instances: BTreeSet<_> = instances.collect();
        vec![
            (
                self.hystrix_streams.len() <= HYSTRIX_STREAMS_MAX,
                "hystrix-stream",
                "must be at most 64 streams; Turbine joins those of a cluster",
            ),
            (
                instances.len() == self.hystrix_streams.len(),
                "hystrix-stream",
                "must not have a service twice at one host and port, as each call would count twice; give each stream a \
                 service of its own",
            ),
        ]
    }

    fn influxdb(&self) -> Vec<Rule> {
        let Some(influxdb) = &self.influxdb else {
            return Vec::new();
        };
        let token = influxdb.token.as_ref().map(Secret::expose);
        vec![
            (
                (INFLUXDB_LOCAL_MIN..=self.retention).contains(&self.influxdb_local),
                "influxdb-local",
                "must be at least 1 ms, and not longer than the retention",
            ),
            (
                token.is_none_or(is_header_value),
                "influxdb-token",
                "must be one or more characters without line breaks or other control characters, at most 4096",
            ),
            (
                is_name(&influxdb.bucket),
                "influxdb-bucket",
                "must be 1 to 100 letters, digits, or one of `_ - .`",
            ),
            (
                is_name(&influxdb.org),
                "influxdb-org",
                "must be 1 to 100 letters, digits, or one of `_ - .`",
            ),
            (
                influxdb.ca_file.is_none() || influxdb.url.is_https(),
                "influxdb-ca-file",
                "needs an address that begins with https://; over http:// nothing is encrypted",
            ),
        ]
    }
}

/// Returns whether a token is allowed in the header `Authorization`.
fn is_header_value(token: &str) -> bool {
    !token.trim().is_empty() && token.len() <= 4_096 && !token.chars().any(char::is_control)
}

/// Returns whether a name needs no quoting anywhere.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().count() <= 100 && text.chars().all(plain)
}

/// More shards than this are a typing mistake; each is a thread with an open segment.
const SHARDS_MAX: usize = 64;

/// Shortest retention: segments are deleted whole, and one grows for some ten minutes.
const RETENTION_MIN: Duration = Duration::from_secs(3_600);

/// The shortest time that every trace is kept where old ones are sampled: an hour must be over before its slow traces are known.
const SAMPLED_AFTER_MIN: Duration = Duration::from_secs(2 * 3_600);

/// Longest retention. More is a typing mistake, and times before 1970 cannot be represented.
const RETENTION_MAX: Duration = Duration::from_secs(87_600 * 3_600);

/// Shortest time that spans stay here beside InfluxDB. Less is a typing mistake: segments are deleted whole,
/// and one grows for some ten minutes.
const INFLUXDB_LOCAL_MIN: Duration = Duration::from_millis(1);

/// Largest request, and largest total of waiting ones: gRPC encodes the length of a message in 32 bits.
const BYTES_MAX: usize = u32::MAX as usize;

/// Smallest disk budget: a segment grows to 64 MiB before it can be deleted.
const DISK_BUDGET_BYTES_MIN: u64 = 64 << 20;

/// Smallest useful queue: SDK batches of 512 spans are up to 370 kB (JSON of Node's exporter).
const QUEUE_BYTES_MIN: usize = 1 << 20;
