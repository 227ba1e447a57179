//! The settings of a collector, validated once; the binary reads them from flags and environment variables.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::api::prefix;
use crate::codec::otlp::Limits;
use crate::model::{Network, TailSampling, format_duration, nanos};
use crate::receivers::{
    HYSTRIX_STREAMS_MAX, HystrixSource, ListenAddr, ProxyUsers, TlsFiles, TokenError,
    check as check_token, check_origin,
};
use crate::secret::Secret;
use crate::store::influxdb::InfluxdbOptions;

/// The settings of a collector.
#[derive(Debug, Clone)]
pub struct CollectorConfig {
    /// Address of pages, query dialects and `/metrics`. Default `127.0.0.1:9411`.
    pub web_addr: ListenAddr,
    /// Address of OTLP over gRPC. Default `127.0.0.1:4317`.
    pub otlp_grpc_addr: ListenAddr,
    /// Address of OTLP over HTTP. Default `127.0.0.1:4318`.
    pub otlp_http_addr: ListenAddr,
    /// Directory of segments and series.
    pub data_dir: PathBuf,
    /// Data older than this is deleted, in whole segments. Default one week.
    pub retention: Duration,
    /// Which traces are kept once they are old. Default: all, for the retention.
    pub tail_sampling: Option<TailSampling>,
    /// Disk budget, bytes; beyond it, the oldest segments are deleted. Log records take an eighth of it.
    /// Default 20 GiB.
    pub disk_budget_bytes: u64,
    /// Limit of the size of traces kept beyond the retention, bytes, in addition to the disk budget. Default
    /// 1 GiB.
    pub kept_bytes: u64,
    /// Number of ingest shards. Default: one per core.
    pub shards: usize,
    /// Total bytes of requests that wait for a shard. Default 64 MiB.
    pub queue_bytes: usize,
    /// Largest request body, before and after decompression. Default 64 MiB (OTLP 1.11, recommended).
    pub body_bytes_max: usize,
    /// Limits of one span; what exceeds them is cut and counted.
    pub limits: Limits,
    /// Bearer token with every role, for senders and readers; `None` on loopback.
    pub token: Option<Secret>,
    /// File of tokens, one a line, as `TOKEN` or `ROLE,ROLE:TOKEN`; reloaded when it changes.
    pub token_file: Option<PathBuf>,
    /// Additional token for sending only, used if another one is set; the demo's services send it. Default
    /// none.
    pub sender_token: Option<Secret>,
    /// Certificate of every listener. Default none: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Origins whose pages may send from browsers, as `https://shop.example`, or `*`. Default none.
    pub cors_allowed_origins: Vec<String>,
    /// Hystrix and Turbine streams to pull. Default none.
    pub hystrix_streams: Vec<HystrixSource>,
    /// Reverse proxies that are trusted to name their clients' addresses. Default none.
    pub trusted_proxies: Vec<Network>,
    /// Addresses of registered instances whose actuators may be read and changed. Default none.
    pub actuator_networks: Vec<Network>,
    /// Users whom a trusted proxy names in a header. Default none: everybody uses tokens.
    pub proxy_users: Option<ProxyUsers>,
    /// File of notification targets; reloaded when it changes. Default none.
    pub notify_file: Option<PathBuf>,
    /// A file that says which metrics of other libraries are about circuit breakers, beside those that are known; it is read
    /// again when it changes. Default none.
    pub circuit_mapping: Option<PathBuf>,
    /// The folder of Zipkin's own pages (Lens), which are then served at `/zipkin/`. Default none.
    pub zipkin_lens: Option<PathBuf>,
    /// The address of a trace's log records in another system, as a template for the pages. Default none.
    pub log_link: Option<String>,
    /// A path in front of every path of the web listener, such as `/fusebox`. Default none.
    pub path_prefix: Option<String>,
    /// Allow listening beyond loopback, and any host name, without a token. Default no.
    pub insecure: bool,
    /// The InfluxDB to store everything in. Default none: the data directory is the store.
    pub influxdb: Option<InfluxdbOptions>,
    /// How long spans shipped to InfluxDB also stay in the data directory. Default one hour.
    pub influxdb_local: Duration,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Anyone on the network could write and read.
    #[error(
        "{listener} would listen on {addr}, open to the network, without a token; set a token, bind to loopback, or allow it with --insecure"
    )]
    OpenWithoutToken {
        /// The listener.
        listener: &'static str,
        /// Its address.
        addr: ListenAddr,
    },
    /// A setting has an invalid value.
    #[error("{setting}: {problem}")]
    Invalid {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The token is invalid.
    #[error("token: {0}")]
    Token(#[from] TokenError),
    /// The certificate cannot be used.
    #[error("tls: {0}")]
    Tls(String),
    /// The file of notification targets cannot be used.
    #[error("notify-file: {0}")]
    NotifyFile(String),
    /// The file of metrics of circuit breakers cannot be used.
    #[error("circuit-mapping: {0}")]
    CircuitMapping(String),
    /// The folder of Zipkin's pages cannot be used.
    #[error("zipkin-lens: {0}")]
    ZipkinLens(String),
    /// The file of tokens cannot be used.
    #[error("token-file: {0}")]
    TokenFile(String),
}

impl CollectorConfig {
    /// Returns the defaults, with data in the given directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            web_addr: loopback(9411),
            otlp_grpc_addr: loopback(4317),
            otlp_http_addr: loopback(4318),
            data_dir: data_dir.into(),
            retention: Duration::from_secs(7 * 24 * 3600),
            tail_sampling: None,
            disk_budget_bytes: 20 << 30,
            kept_bytes: 1 << 30,
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            queue_bytes: 64 << 20,
            body_bytes_max: 64 << 20,
            limits: Limits::default(),
            token: None,
            token_file: None,
            sender_token: None,
            tls: None,
            cors_allowed_origins: Vec::new(),
            hystrix_streams: Vec::new(),
            trusted_proxies: Vec::new(),
            actuator_networks: Vec::new(),
            proxy_users: None,
            notify_file: None,
            circuit_mapping: None,
            zipkin_lens: None,
            log_link: None,
            path_prefix: None,
            insecure: false,
            influxdb: None,
            influxdb_local: Duration::from_secs(3600),
        }
    }

    /// Returns settings for a test: ports chosen by the system, two shards.
    pub fn for_test(data_dir: impl Into<PathBuf>) -> Self {
        let any = loopback(0);
        Self {
            web_addr: any,
            otlp_grpc_addr: any,
            otlp_http_addr: any,
            shards: 2,
            ..Self::new(data_dir)
        }
    }

    /// Returns the settings in use as names and values for display; secrets are only shown as set or none.
    pub fn effective(&self) -> Vec<(String, String)> {
        let mib = |bytes: usize| format!("{} MiB", bytes >> 20);
        let duration = |time: Duration| format_duration(nanos(time));
        let set = |token: bool| if token { "set" } else { "none" }.to_owned();
        let origins = listed(&self.cors_allowed_origins);
        let streams = listed(&self.hystrix_streams);
        let proxies = listed(&self.trusted_proxies);
        let users = self.proxy_users.clone().unwrap_or_default();
        let header: Vec<_> = self.proxy_users.iter().map(|it| &it.header).collect();
        let mut settings: Vec<(&str, String)> = vec![
            ("listen", self.web_addr.to_string()),
            ("otlp-grpc-listen", self.otlp_grpc_addr.to_string()),
            ("otlp-http-listen", self.otlp_http_addr.to_string()),
            ("data-dir", self.data_dir.display().to_string()),
            (
                "retention",
                format!("{} h", self.retention.as_secs() / 3600),
            ),
            (
                "keep-after",
                match self.tail_sampling {
                    Some(rule) => duration(rule.after),
                    None => "none".to_owned(),
                },
            ),
            (
                "keep-share",
                self.tail_sampling
                    .map_or(1.0, |rule| rule.share)
                    .to_string(),
            ),
            ("disk-gib", (self.disk_budget_bytes >> 30).to_string()),
            ("kept-mib", (self.kept_bytes >> 20).to_string()),
            ("shards", self.shards.to_string()),
            ("queue", mib(self.queue_bytes)),
            ("largest request", mib(self.body_bytes_max)),
            ("token", set(self.token.is_some())),
            ("token-file", set(self.token_file.is_some())),
            ("tls-cert", set(self.tls.is_some())),
            ("cors-allowed-origin", origins),
            ("hystrix-stream", streams),
            ("trusted-proxy", proxies),
            ("actuator-network", listed(&self.actuator_networks)),
            ("proxy-user-header", listed(header.as_slice())),
            ("proxy-operator", listed(&users.operators)),
            ("proxy-viewer", listed(&users.viewers)),
            ("notify-file", set(self.notify_file.is_some())),
            ("circuit-mapping", set(self.circuit_mapping.is_some())),
            ("zipkin-lens", set(self.zipkin_lens.is_some())),
            ("log-link", set(self.log_link.is_some())),
            ("path-prefix", listed(self.path_prefix.as_slice())),
            ("insecure", self.insecure.to_string()),
        ];
        match &self.influxdb {
            None => settings.push(("influxdb", "none".to_owned())),
            Some(influxdb) => settings.extend([
                ("influxdb", influxdb.url.to_string()),
                ("influxdb-ca-file", set(influxdb.ca_file.is_some())),
                ("influxdb-token", set(influxdb.has_token())),
                ("influxdb-org", influxdb.org.clone()),
                ("influxdb-bucket", influxdb.bucket.clone()),
                ("influxdb-onboard", influxdb.onboard.to_string()),
                ("influxdb-local", duration(self.influxdb_local)),
            ]),
        }
        let settings = settings.into_iter();
        settings
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Checks the rules that the types cannot express.
    ///
    /// # Errors
    /// Reports the first invalid setting, or the listener that would be open without a token.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_exposure()?;
        let token = self.token.as_ref();
        token.map_or(Ok(()), |token| check_token(token.expose()))?;
        check(
            (1..=SHARDS_MAX).contains(&self.shards),
            "shards",
            "must be 1 to 64, about one per core",
        )?;
        check(
            (QUEUE_BYTES_MIN..=BYTES_MAX).contains(&self.queue_bytes),
            "queue_bytes",
            "must be 1 MiB, so that ordinary requests fit, to 4 GiB",
        )?;
        check(
            (1..=BYTES_MAX).contains(&self.body_bytes_max),
            "body_bytes_max",
            "must be 1 byte to 4 GiB, the longest message of gRPC",
        )?;
        check(
            (RETENTION_MIN..=RETENTION_MAX).contains(&self.retention),
            "retention",
            "must be at least 1 h, as segments are deleted whole, and at most 87600 h (10 years)",
        )?;
        check(
            self.disk_budget_bytes >= DISK_BUDGET_BYTES_MIN,
            "disk_budget_bytes",
            "must be at least 64 MiB, the size of one segment",
        )?;
        self.validate_sampling()?;
        self.validate_origins()?;
        self.validate_proxy_users()?;
        self.validate_path_prefix()?;
        check(
            self.hystrix_streams.len() <= HYSTRIX_STREAMS_MAX,
            "hystrix-stream",
            "must be at most 64 streams; Turbine joins those of a cluster",
        )?;
        let instances = self.hystrix_streams.iter().map(HystrixSource::instance);
        check(
            instances.collect::<BTreeSet<_>>().len() == self.hystrix_streams.len(),
            "hystrix-stream",
            "must not have a service twice at one host and port, as each call would count twice; give each stream a service of \
             its own",
        )?;
        let Some(influxdb) = &self.influxdb else {
            return Ok(());
        };
        check(
            (INFLUXDB_LOCAL_MIN..=self.retention).contains(&self.influxdb_local),
            "influxdb-local",
            "must be at least 1 ms, and not longer than the retention",
        )?;
        validate_influxdb(influxdb)
    }

    fn validate_sampling(&self) -> Result<(), ConfigError> {
        let Some(rule) = self.tail_sampling else {
            return Ok(());
        };
        check(
            (SAMPLED_AFTER_MIN..self.retention).contains(&rule.after),
            "keep-after",
            "must be at least 2 h, as traces are compared with those of their hour, and shorter than the retention",
        )?;
        check(
            (0.0..=1.0).contains(&rule.share),
            "keep-share",
            "must be a share from 0 to 1",
        )?;
        check(
            self.influxdb.is_none(),
            "keep-after",
            "needs the data directory as the store: InfluxDB keeps what it was sent",
        )
    }

    fn validate_proxy_users(&self) -> Result<(), ConfigError> {
        let Some(users) = &self.proxy_users else {
            return Ok(());
        };
        let setting = "proxy-user-header";
        if let Some(problem) = users.problem() {
            return Err(ConfigError::Invalid { setting, problem });
        }
        check(
            !self.trusted_proxies.is_empty(),
            setting,
            "needs --trusted-proxy: the header is believed only from those addresses",
        )
    }

    fn validate_path_prefix(&self) -> Result<(), ConfigError> {
        let problem = self.path_prefix.as_deref().and_then(prefix::problem);
        let setting = "path-prefix";
        problem.map_or(Ok(()), |problem| {
            Err(ConfigError::Invalid { setting, problem })
        })
    }

    fn validate_origins(&self) -> Result<(), ConfigError> {
        self.cors_allowed_origins.iter().try_for_each(|origin| {
            check_origin(origin).map_err(|problem| ConfigError::Invalid {
                setting: "cors-allowed-origin",
                problem,
            })
        })
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
}

fn loopback(port: u16) -> ListenAddr {
    SocketAddr::from(([127, 0, 0, 1], port)).into()
}

fn check(holds: bool, setting: &'static str, problem: &'static str) -> Result<(), ConfigError> {
    match holds {
        true => Ok(()),
        false => Err(ConfigError::Invalid { setting, problem }),
    }
}

fn validate_influxdb(influxdb: &InfluxdbOptions) -> Result<(), ConfigError> {
    let token = influxdb.token.as_ref().map(Secret::expose);
    let rules = [
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
    ];
    match rules.iter().find(|(holds, ..)| !holds) {
        Some((_, setting, problem)) => Err(ConfigError::Invalid { setting, problem }),
        None => Ok(()),
    }
}

/// Returns whether a token is allowed in the header `Authorization`.
pub(crate) fn is_header_value(token: &str) -> bool {
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

fn listed(values: &[impl ToString]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    match &values[..] {
        [] => "none".to_owned(),
        values => values.join(", "),
    }
}

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
        let addr = SocketAddr::from(([0, 0, 0, 0], 4318)).into();
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
            token: Some("s3cret-s3cret-s3cret".into()),
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
        let empty = CollectorConfig {
            token: Some("".into()),
            ..CollectorConfig::new("data")
        };
        assert!(matches!(
            empty.validate(),
            Err(ConfigError::Token(TokenError::Length(0)))
        ));
    }

    /// Guarantees: two streams that would appear as one instance are rejected.
    #[test]
    fn a_stream_is_pulled_once() {
        let validate = |streams: [&str; 2]| {
            let config = CollectorConfig {
                hystrix_streams: streams.map(|one| one.parse().unwrap()).into(),
                ..CollectorConfig::new("data")
            };
            config.validate().map_err(|refusal| refusal.to_string())
        };
        let a = "shop=http://turbine:8989/turbine.stream?cluster=a";
        let refusal = validate([a, "shop=http://turbine:8989/turbine.stream?cluster=b"]);
        assert!(refusal.unwrap_err().contains("hystrix-stream: must not"));
        let others = [
            "mail=http://turbine:8989/turbine.stream?cluster=b",
            "shop=http://turbine:8990/turbine.stream",
        ];
        for other in others {
            assert_eq!(validate([a, other]), Ok(()));
        }
    }

    #[test]
    fn certificate_authorities_need_an_https_address() {
        let config = |url: &str| CollectorConfig {
            influxdb: Some(InfluxdbOptions {
                ca_file: Some("ca.pem".into()),
                ..InfluxdbOptions::at(url)
            }),
            ..CollectorConfig::new("data")
        };
        assert_eq!(config("https://influxdb.example").validate(), Ok(()));
        let refusal = config("http://influxdb.example").validate().unwrap_err();
        assert!(refusal.to_string().contains("influxdb-ca-file: needs"));
    }

    #[test]
    fn sampling_needs_an_hour_that_is_over_and_a_store_of_its_own() {
        let config = |hours: u64, share| CollectorConfig {
            tail_sampling: Some(TailSampling {
                after: Duration::from_secs(hours * 3_600),
                share,
            }),
            ..CollectorConfig::new("data")
        };
        assert_eq!(config(24, 0.1).validate(), Ok(()));
        let shipped = CollectorConfig {
            influxdb: Some(InfluxdbOptions::at("http://127.0.0.1:8086")),
            ..config(24, 0.1)
        };
        for (config, says) in [
            (config(1, 0.1), "keep-after: must be at least 2 h"),
            (config(168, 0.1), "keep-after: must be at least 2 h"),
            (config(24, 1.5), "keep-share: must be a share"),
            (config(24, f64::NAN), "keep-share: must be a share"),
            (shipped, "keep-after: needs the data directory"),
        ] {
            let refusal = config.validate().unwrap_err().to_string();
            assert!(refusal.starts_with(says), "{refusal}");
        }
    }

    #[test]
    fn settings_that_would_delete_everything_are_refused() {
        let config = CollectorConfig::new("data");
        let brief = CollectorConfig {
            retention: Duration::from_nanos(1),
            ..config.clone()
        };
        let tiny = CollectorConfig {
            disk_budget_bytes: 0,
            ..config.clone()
        };
        let endless = CollectorConfig {
            retention: Duration::MAX,
            ..config.clone()
        };
        let with_influxdb = |token: &str, influxdb_local| CollectorConfig {
            influxdb: Some(InfluxdbOptions {
                token: Some(token.into()),
                ..InfluxdbOptions::at("http://127.0.0.1:8086")
            }),
            influxdb_local,
            ..config.clone()
        };
        let hour = Duration::from_secs(3_600);
        assert_eq!(with_influxdb("t0", hour).validate(), Ok(()));
        let cases = [
            (with_influxdb("t0", Duration::ZERO), "influxdb-local"),
            (with_influxdb("t0", Duration::MAX), "influxdb-local"),
            (with_influxdb("", hour), "influxdb-token"),
            (with_influxdb("a\nb", hour), "influxdb-token"),
            (endless, "retention"),
            (brief, "retention"),
            (tiny, "disk_budget_bytes"),
        ];
        for (config, named) in cases {
            let refusal = config.validate();
            assert!(
                matches!(refusal, Err(ConfigError::Invalid { setting, .. }) if setting == named)
            );
        }
    }
}
