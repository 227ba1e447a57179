//! The settings of a collector, validated once; the binary reads them from flags and environment variables.

mod validation;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::codec::otlp::Limits;
use crate::model::{Network, TailSampling, format_duration, nanos};
use crate::receivers::{HystrixSource, ListenAddr, ProxyUsers, TlsFiles, TokenError};
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
    /// Ports at which actuators may be read and changed. Default every port.
    pub actuator_ports: Vec<u16>,
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
            actuator_ports: Vec::new(),
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
            ("actuator-port", listed(&self.actuator_ports)),
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
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        settings.into_iter().map(owned).collect()
    }
}

fn loopback(port: u16) -> ListenAddr {
    SocketAddr::from(([127, 0, 0, 1], port)).into()
}

fn listed(values: &[impl ToString]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    match &values[..] {
        [] => "none".to_owned(),
        values => values.join(", "),
    }
}

#[cfg(test)]
mod tests;
