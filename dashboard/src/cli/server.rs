//! The flags of the collector, its pages and its InfluxDB, and the settings that they become.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use fusebox_collector::model::{Network, TailSampling, parse_duration};
use fusebox_collector::store::influxdb::{InfluxdbOptions, InfluxdbUrl};
use fusebox_collector::{CollectorConfig, HystrixSource, ListenAddr, ProxyUsers, Secret, TlsFiles};

use crate::error::Error;
use crate::pages::log_link;

/// Settings of the collector and its pages.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collector")]
pub(super) struct ServerArgs {
    /// Address of the pages and every query API [default: 127.0.0.1:9411].
    #[arg(long, global = true, env = "FUSEBOX_LISTEN", value_name = "ADDR")]
    pub(super) listen: Option<ListenAddr>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317].
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_OTLP_GRPC_LISTEN",
        value_name = "ADDR"
    )]
    pub(super) otlp_grpc_listen: Option<ListenAddr>,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318].
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_OTLP_HTTP_LISTEN",
        value_name = "ADDR"
    )]
    pub(super) otlp_http_listen: Option<ListenAddr>,
    /// Where data is kept [default: the platform's data directory].
    #[arg(long, global = true, env = "FUSEBOX_DATA_DIR", value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// How long data is kept, such as 168h.
    #[arg(long, global = true, env = "FUSEBOX_RETENTION", default_value = "168h", value_parser = duration, value_name = "TIME")]
    retention: Duration,
    /// How long every trace is kept, such as 24h; after that only traces with an error, traces that are slow for their
    /// operation, traces in which a circuit breaker acted, and --keep-share of the others are kept [default: for the
    /// retention].
    #[arg(long, global = true, env = "FUSEBOX_KEEP_AFTER", value_parser = duration, value_name = "TIME")]
    keep_after: Option<Duration>,
    /// The share of the other traces that is kept longer than --keep-after, 0 to 1.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_KEEP_SHARE",
        default_value_t = 0.1,
        value_name = "SHARE"
    )]
    keep_share: f64,
    /// Disk budget for spans and log records, in GiB; beyond it the oldest are deleted.
    #[arg(long, global = true, env = "FUSEBOX_DISK_GIB", default_value_t = 20, value_name = "N", value_parser = disk_gib)]
    disk_gib: u64,
    /// Space for traces kept beyond the retention, in MiB, in addition to the disk budget.
    #[arg(long, global = true, env = "FUSEBOX_KEPT_MIB", default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1 << 30))]
    kept_mib: u64,
    /// Ingest shards [default: one per core].
    #[arg(long, global = true, env = "FUSEBOX_SHARDS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// Bearer token that senders and readers must send, at least 16 characters. Other users of this machine can see it
    /// in the list of processes: prefer --token-file. A non-loopback address requires one of the two.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,
    /// File of tokens, one per line: `TOKEN`, or `ROLE,ROLE:TOKEN` with the roles `send`, `read`, `operate`. It is read
    /// again when it changes.
    #[arg(long, global = true, env = "FUSEBOX_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file with the certificate of all listeners and its intermediate certificates; they then use TLS. It is read
    /// again when it changes, as are the key and the client authorities.
    #[arg(long, global = true, env = "FUSEBOX_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, global = true, env = "FUSEBOX_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// PEM file of certificate authorities for clients: every client must have a certificate of one of them.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_TLS_CLIENT_CA",
        value_name = "FILE"
    )]
    tls_client_ca: Option<PathBuf>,
    /// Origin whose pages may send telemetry from browsers, such as `https://shop.example`, or `*`; repeatable.
    #[arg(
        long = "cors-allowed-origin",
        global = true,
        env = "FUSEBOX_CORS_ALLOWED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    cors_allowed_origins: Vec<String>,
    /// A `hystrix.stream` or `turbine.stream` to read, such as `shop=http://127.0.0.1:8081/hystrix.stream`; repeatable.
    #[arg(
        long = "hystrix-stream",
        global = true,
        env = "FUSEBOX_HYSTRIX_STREAM",
        value_name = "SERVICE=URL",
        value_delimiter = ','
    )]
    hystrix_streams: Vec<HystrixSource>,
    /// Address or network (such as `10.0.0.0/8`) of a reverse proxy whose `X-Forwarded-For` and `Forwarded` are
    /// trusted; repeatable.
    #[arg(
        long = "trusted-proxy",
        global = true,
        env = "FUSEBOX_TRUSTED_PROXIES",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    trusted_proxies: Vec<Network>,
    /// Address or network (such as `10.0.0.0/8`) of registered instances whose actuators are read and changed;
    /// repeatable. Whoever may send may register any address, so nothing is contacted outside of these.
    #[arg(
        long = "actuator-network",
        global = true,
        env = "FUSEBOX_ACTUATOR_NETWORKS",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    actuator_networks: Vec<Network>,
    /// Port at which actuators are read and changed; repeatable. Every port if none is named.
    #[arg(
        long = "actuator-port",
        global = true,
        env = "FUSEBOX_ACTUATOR_PORTS",
        value_name = "PORT",
        value_delimiter = ','
    )]
    actuator_ports: Vec<u16>,
    /// Header in which a trusted proxy names the user that it has identified, such as `X-Forwarded-User`. Needs
    /// `--trusted-proxy`, and `--proxy-operator` or `--proxy-viewer`.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_PROXY_USER_HEADER",
        value_name = "NAME"
    )]
    proxy_user_header: Option<String>,
    /// User of the proxy who may switch circuits and see everything; `*` for every user; repeatable.
    #[arg(
        long = "proxy-operator",
        global = true,
        env = "FUSEBOX_PROXY_OPERATORS",
        value_name = "USER",
        value_delimiter = ','
    )]
    proxy_operators: Vec<String>,
    /// User of the proxy who may see everything; `*` for every user; repeatable.
    #[arg(
        long = "proxy-viewer",
        global = true,
        env = "FUSEBOX_PROXY_VIEWERS",
        value_name = "USER",
        value_delimiter = ','
    )]
    proxy_viewers: Vec<String>,
    /// File with the targets that are notified when circuits open, instances go down or the collector fails; JSON, see
    /// NOTIFY.md. It is read again when it changes.
    #[arg(long, global = true, env = "FUSEBOX_NOTIFY_FILE", value_name = "FILE")]
    notify_file: Option<PathBuf>,
    /// File that describes metrics of other libraries about circuit breakers; JSON, see API.md. It is read again when
    /// it changes.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_CIRCUIT_MAPPING",
        value_name = "FILE"
    )]
    circuit_mapping: Option<PathBuf>,
    /// Folder of Zipkin's own pages (Lens), served at `/zipkin/`: the contents of the jar `zipkin-lens`.
    #[arg(long, global = true, env = "FUSEBOX_ZIPKIN_LENS", value_name = "DIR")]
    zipkin_lens: Option<PathBuf>,
    /// Address of a trace's log records in another system, to which the page of a trace links. `{trace}` is replaced by
    /// the id, `{start}` and `{end}` by the trace's times in Unix milliseconds.
    #[arg(long, global = true, env = "FUSEBOX_LOG_LINK", value_name = "URL", value_parser = log_link::checked)]
    log_link: Option<String>,
    /// Path in front of every path of the web port, such as `/fusebox`, behind a reverse proxy that does not remove it.
    #[arg(long, global = true, env = "FUSEBOX_PATH_PREFIX", value_name = "PATH")]
    path_prefix: Option<String>,
    /// Allows non-loopback addresses and any host name without a token.
    #[arg(long, global = true, env = "FUSEBOX_INSECURE", value_parser = BoolishValueParser::new())]
    insecure: bool,
    /// The InfluxDB to store in, if any.
    #[command(flatten)]
    influxdb: InfluxdbArgs,
}

/// The InfluxDB to store everything in. Ids are explicit, because the flags of all structs share one namespace.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "InfluxDB")]
pub(super) struct InfluxdbArgs {
    /// Stores everything in the InfluxDB (1.x, 2.x, 3 or openGemini) at this address; the data directory becomes a
    /// buffer in front of it.
    #[arg(
        id = "influxdb",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB",
        value_name = "URL"
    )]
    url: Option<String>,
    /// PEM file of the certificate authorities to trust for an https address, in place of the system's.
    #[arg(
        id = "influxdb-ca-file",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB_CA_FILE",
        value_name = "FILE"
    )]
    ca_file: Option<PathBuf>,
    /// Token for InfluxDB; for 1.x with authentication `user:password`.
    #[arg(
        id = "influxdb-token",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,
    /// File that holds the token; it is read again when InfluxDB refuses the current one.
    #[arg(
        id = "influxdb-token-file",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "influxdb-token"
    )]
    token_file: Option<PathBuf>,
    /// Organisation in InfluxDB 2.
    #[arg(
        id = "influxdb-org",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB_ORG",
        default_value = "fusebox",
        value_name = "NAME"
    )]
    org: String,
    /// Bucket; in InfluxDB 1.x and 3 the database.
    #[arg(
        id = "influxdb-bucket",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB_BUCKET",
        default_value = "fusebox",
        value_name = "NAME"
    )]
    bucket: String,
    /// Onboards a fresh InfluxDB 2: first user, organisation, bucket and a token, which is stored in the data directory.
    #[arg(
        id = "influxdb-onboard",
        long,
        global = true,
        env = "FUSEBOX_INFLUXDB_ONBOARD",
        value_parser = BoolishValueParser::new()
    )]
    onboard: bool,
    /// How long spans and log records stay in the data directory after they were sent to InfluxDB.
    #[arg(id = "influxdb-local", long, global = true, env = "FUSEBOX_INFLUXDB_LOCAL", default_value = "1h", value_parser = duration, value_name = "TIME")]
    local: Duration,
}

impl ServerArgs {
    /// Returns the collector's settings.
    pub(super) fn config(&self) -> Result<CollectorConfig, Error> {
        let data_dir = match &self.data_dir {
            Some(dir) => dir.clone(),
            None => default_data_dir()?,
        };
        let defaults = CollectorConfig::new(data_dir);
        Ok(CollectorConfig {
            web_addr: self.listen.unwrap_or(defaults.web_addr),
            otlp_grpc_addr: self.otlp_grpc_listen.unwrap_or(defaults.otlp_grpc_addr),
            otlp_http_addr: self.otlp_http_listen.unwrap_or(defaults.otlp_http_addr),
            retention: self.retention,
            tail_sampling: self.keep_after.map(|after| TailSampling {
                after,
                share: self.keep_share,
            }),
            disk_budget_bytes: self.disk_gib << 30,
            kept_bytes: self.kept_mib << 20,
            shards: self.shards.map_or(defaults.shards, usize::from),
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            tls: self.tls()?,
            cors_allowed_origins: self.cors_allowed_origins.clone(),
            hystrix_streams: self.hystrix_streams.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            actuator_networks: self.actuator_networks.clone(),
            actuator_ports: self.actuator_ports.clone(),
            proxy_users: self.proxy_users(),
            notify_file: self.notify_file.clone(),
            circuit_mapping: self.circuit_mapping.clone(),
            zipkin_lens: self.zipkin_lens.clone(),
            log_link: self.log_link.clone(),
            path_prefix: self.path_prefix.clone(),
            insecure: self.insecure,
            influxdb: self.influxdb.options()?,
            influxdb_local: self.influxdb.local,
            ..defaults
        })
    }

    /// Returns the users of a proxy; an incomplete set is refused when the settings are validated.
    fn proxy_users(&self) -> Option<ProxyUsers> {
        let users = ProxyUsers {
            header: self.proxy_user_header.clone().unwrap_or_default(),
            operators: self.proxy_operators.clone(),
            viewers: self.proxy_viewers.clone(),
        };
        (users != ProxyUsers::default()).then_some(users)
    }

    /// Returns the TLS files. An incomplete set is an error, because it must not result in plain HTTP.
    fn tls(&self) -> Result<Option<TlsFiles>, Error> {
        let client_ca = self.tls_client_ca.clone();
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles {
                cert,
                key,
                client_ca,
            })),
            (None, None) if client_ca.is_none() => Ok(None),
            _ => Err("TLS needs both --tls-cert and --tls-key".into()),
        }
    }
}

impl InfluxdbArgs {
    /// Returns the InfluxDB options; `None` without an address.
    fn options(&self) -> Result<Option<InfluxdbOptions>, Error> {
        let Some(url) = self.url.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        let url: InfluxdbUrl = url.parse().map_err(|error| format!("influxdb: {error}"))?;
        Ok(Some(InfluxdbOptions {
            ca_file: self.ca_file.clone(),
            token: self.token.clone(),
            token_file: self.token_file.clone(),
            org: self.org.clone(),
            bucket: self.bucket.clone(),
            onboard: self.onboard,
            ..InfluxdbOptions::new(url)
        }))
    }
}

/// Returns the platform's data directory for this program.
fn default_data_dir() -> Result<PathBuf, Error> {
    if let Some(dir) = std::env::var_os("XDG_DATA_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("fusebox"));
    }
    let home =
        std::env::home_dir().ok_or("no home directory: say where data is kept with --data-dir")?;
    let under = if cfg!(target_os = "macos") {
        "Library/Application Support"
    } else {
        ".local/share"
    };
    Ok(home.join(under).join("fusebox"))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .map(Duration::from_nanos)
        .ok_or_else(|| "wanted a number and a unit, such as 168h, 30m or 90s".to_owned())
}

/// The most GiB whose bytes fit 64 bits.
const DISK_GIB_MAX: u64 = u64::MAX >> 30;

fn disk_gib(text: &str) -> Result<u64, String> {
    let gib = text.parse().ok();
    gib.filter(|gib| (1..=DISK_GIB_MAX).contains(gib))
        .ok_or_else(|| format!("must be a whole number of GiB, from 1 to {DISK_GIB_MAX}"))
}
