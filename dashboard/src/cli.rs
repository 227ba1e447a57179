//! The command line: flags and `FUSEBOX_*` environment variables become one validated `CollectorConfig`,
//! and each subcommand goes to its module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use fusebox_collector::model::{Network, TailSampling, UnixNanos, parse_duration};
use fusebox_collector::store::influxdb::{InfluxdbOptions, InfluxdbUrl};
use fusebox_collector::{CollectorConfig, HystrixSource, ListenAddr, ProxyUsers, Secret, TlsFiles};

use crate::demo::DemoOptions;
use crate::error::Error;
use crate::load::LoadOptions;
use crate::pages::log_link;
use crate::shop::ShopOptions;
use crate::terminal::print;
use crate::{demo, load, serve, shop};

/// Shows which circuit breakers are open, and the path of each request through all services.
///
/// Without a subcommand it starts the collector and its pages on loopback, without configuration.
#[derive(Debug, Parser)]
#[command(name = "fusebox", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts the collector, its pages and a small shop with real traffic, faults and breakers.
    Demo(DemoArgs),
    /// Sends generated, realistic traces to any OTLP endpoint and prints spans/s, latency and refusals.
    Load(LoadArgs),
    /// Runs one service of the demo shop; `demo` starts these by itself.
    #[command(hide = true)]
    Shop(ShopArgs),
}

/// Settings of the collector and its pages.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Collector")]
pub struct ServerArgs {
    /// Address of the pages and every query API [default: 127.0.0.1:9411].
    #[arg(long, global = true, env = "FUSEBOX_LISTEN", value_name = "ADDR")]
    pub listen: Option<ListenAddr>,
    /// Address of OTLP over gRPC [default: 127.0.0.1:4317].
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_OTLP_GRPC_LISTEN",
        value_name = "ADDR"
    )]
    pub otlp_grpc_listen: Option<ListenAddr>,
    /// Address of OTLP over HTTP [default: 127.0.0.1:4318].
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_OTLP_HTTP_LISTEN",
        value_name = "ADDR"
    )]
    pub otlp_http_listen: Option<ListenAddr>,
    /// Where data is kept [default: the platform's data directory].
    #[arg(long, global = true, env = "FUSEBOX_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How long data is kept, such as 168h.
    #[arg(long, global = true, env = "FUSEBOX_RETENTION", default_value = "168h", value_parser = duration, value_name = "TIME")]
    pub retention: Duration,
    /// How long every trace is kept, such as 24h; after that only traces with an error, traces that are slow for their
    /// operation, traces in which a circuit breaker acted, and --keep-share of the others are kept [default: for the
    /// retention].
    #[arg(long, global = true, env = "FUSEBOX_KEEP_AFTER", value_parser = duration, value_name = "TIME")]
    pub keep_after: Option<Duration>,
    /// The share of the other traces that is kept longer than --keep-after, 0 to 1.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_KEEP_SHARE",
        default_value_t = 0.1,
        value_name = "SHARE"
    )]
    pub keep_share: f64,
    /// Disk budget for spans and log records, in GiB; beyond it the oldest are deleted.
    #[arg(long, global = true, env = "FUSEBOX_DISK_GIB", default_value_t = 20, value_name = "N", value_parser = disk_gib)]
    pub disk_gib: u64,
    /// Space for traces kept beyond the retention, in MiB, in addition to the disk budget.
    #[arg(long, global = true, env = "FUSEBOX_KEPT_MIB", default_value_t = 1024, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1 << 30))]
    pub kept_mib: u64,
    /// Ingest shards [default: one per core].
    #[arg(long, global = true, env = "FUSEBOX_SHARDS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// Bearer token that senders and readers must send, at least 16 characters. Other users of this machine can see it
    /// in the list of processes: prefer --token-file. A non-loopback address requires one of the two.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<Secret>,
    /// File of tokens, one per line: `TOKEN`, or `ROLE,ROLE:TOKEN` with the roles `send`, `read`, `operate`. It is read
    /// again when it changes.
    #[arg(long, global = true, env = "FUSEBOX_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the certificate of all listeners and its intermediate certificates; they then use TLS. It is read
    /// again when it changes, as are the key and the client authorities.
    #[arg(long, global = true, env = "FUSEBOX_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, global = true, env = "FUSEBOX_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// PEM file of certificate authorities for clients: every client must have a certificate of one of them.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_TLS_CLIENT_CA",
        value_name = "FILE"
    )]
    pub tls_client_ca: Option<PathBuf>,
    /// Origin whose pages may send telemetry from browsers, such as `https://shop.example`, or `*`; repeatable.
    #[arg(
        long = "cors-allowed-origin",
        global = true,
        env = "FUSEBOX_CORS_ALLOWED_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_allowed_origins: Vec<String>,
    /// A `hystrix.stream` or `turbine.stream` to read, such as `shop=http://127.0.0.1:8081/hystrix.stream`; repeatable.
    #[arg(
        long = "hystrix-stream",
        global = true,
        env = "FUSEBOX_HYSTRIX_STREAM",
        value_name = "SERVICE=URL",
        value_delimiter = ','
    )]
    pub hystrix_streams: Vec<HystrixSource>,
    /// Address or network (such as `10.0.0.0/8`) of a reverse proxy whose `X-Forwarded-For` and `Forwarded` are
    /// trusted; repeatable.
    #[arg(
        long = "trusted-proxy",
        global = true,
        env = "FUSEBOX_TRUSTED_PROXIES",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<Network>,
    /// Address or network (such as `10.0.0.0/8`) of registered instances whose actuators are read and changed;
    /// repeatable. Whoever may send may register any address, so nothing is contacted outside of these.
    #[arg(
        long = "actuator-network",
        global = true,
        env = "FUSEBOX_ACTUATOR_NETWORKS",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub actuator_networks: Vec<Network>,
    /// Port at which actuators are read and changed; repeatable. Every port if none is named.
    #[arg(
        long = "actuator-port",
        global = true,
        env = "FUSEBOX_ACTUATOR_PORTS",
        value_name = "PORT",
        value_delimiter = ','
    )]
    pub actuator_ports: Vec<u16>,
    /// Header in which a trusted proxy names the user that it has identified, such as `X-Forwarded-User`. Needs
    /// `--trusted-proxy`, and `--proxy-operator` or `--proxy-viewer`.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_PROXY_USER_HEADER",
        value_name = "NAME"
    )]
    pub proxy_user_header: Option<String>,
    /// User of the proxy who may switch circuits and see everything; `*` for every user; repeatable.
    #[arg(
        long = "proxy-operator",
        global = true,
        env = "FUSEBOX_PROXY_OPERATORS",
        value_name = "USER",
        value_delimiter = ','
    )]
    pub proxy_operators: Vec<String>,
    /// User of the proxy who may see everything; `*` for every user; repeatable.
    #[arg(
        long = "proxy-viewer",
        global = true,
        env = "FUSEBOX_PROXY_VIEWERS",
        value_name = "USER",
        value_delimiter = ','
    )]
    pub proxy_viewers: Vec<String>,
    /// File with the targets that are notified when circuits open, instances go down or the collector fails; JSON, see
    /// NOTIFY.md. It is read again when it changes.
    #[arg(long, global = true, env = "FUSEBOX_NOTIFY_FILE", value_name = "FILE")]
    pub notify_file: Option<PathBuf>,
    /// File that describes metrics of other libraries about circuit breakers; JSON, see API.md. It is read again when
    /// it changes.
    #[arg(
        long,
        global = true,
        env = "FUSEBOX_CIRCUIT_MAPPING",
        value_name = "FILE"
    )]
    pub circuit_mapping: Option<PathBuf>,
    /// Folder of Zipkin's own pages (Lens), served at `/zipkin/`: the contents of the jar `zipkin-lens`.
    #[arg(long, global = true, env = "FUSEBOX_ZIPKIN_LENS", value_name = "DIR")]
    pub zipkin_lens: Option<PathBuf>,
    /// Address of a trace's log records in another system, to which the page of a trace links. `{trace}` is replaced by
    /// the id, `{start}` and `{end}` by the trace's times in Unix milliseconds.
    #[arg(long, global = true, env = "FUSEBOX_LOG_LINK", value_name = "URL", value_parser = log_link::checked)]
    pub log_link: Option<String>,
    /// Path in front of every path of the web port, such as `/fusebox`, behind a reverse proxy that does not remove it.
    #[arg(long, global = true, env = "FUSEBOX_PATH_PREFIX", value_name = "PATH")]
    pub path_prefix: Option<String>,
    /// Allows non-loopback addresses and any host name without a token.
    #[arg(long, global = true, env = "FUSEBOX_INSECURE", value_parser = BoolishValueParser::new())]
    pub insecure: bool,
    /// The InfluxDB to store in, if any.
    #[command(flatten)]
    pub influxdb: InfluxdbArgs,
}

/// The InfluxDB to store everything in. Ids are explicit, because the flags of all structs share one namespace.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "InfluxDB")]
pub struct InfluxdbArgs {
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

#[derive(Debug, Args)]
struct DemoArgs {
    /// Requests per second of the shop's customers.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
    rate: u32,
    /// Injects no faults except those set on the Demo page.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Where to send: `http://127.0.0.1:4318`, or `http://127.0.0.1:4317` with --grpc.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Number of spans to send.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    spans: u64,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Sends over gRPC.
    #[arg(long)]
    grpc: bool,
    /// Compresses the requests.
    #[arg(long)]
    gzip: bool,
    /// Spans per request.
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    spans_per_request: u32,
    /// Most spans per second [default: unlimited].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rate: Option<u64>,
    /// Seed of the generated traces [default: the clock]; the same seed makes the same trace ids.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct ShopArgs {
    /// The name of the service.
    service: String,
    /// Its address. Not `--listen`, which is the collector's.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
    /// The number of the instance.
    #[arg(long, default_value = "1")]
    instance: String,
    /// Base URLs of the services it calls: `name=url`, repeated for several instances.
    #[arg(long = "peer", value_parser = peer)]
    peers: Vec<(String, String)>,
}

impl Cli {
    /// Runs the subcommand until it ends or the process is asked to stop.
    ///
    /// # Errors
    /// Returns why it could not start or continue, as a message for the terminal.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            None => runtime()?.block_on(serve::run(self.server.config()?)),
            Some(Command::Demo(args)) => {
                let given = &self.server;
                let options = DemoOptions {
                    addresses_given: [
                        given.listen.is_some(),
                        given.otlp_grpc_listen.is_some(),
                        given.otlp_http_listen.is_some(),
                    ],
                    server: self.server.config()?,
                    data_dir_given: self.server.data_dir.is_some(),
                    requests_per_second: args.rate,
                    faults_by_themselves: !args.quiet,
                };
                runtime()?.block_on(demo::run(options))
            }
            Some(Command::Load(args)) => load_and_report(args.options()),
            Some(Command::Shop(args)) => shop::run(ShopOptions {
                service: args.service,
                listen: args.address,
                instance: args.instance,
                peers: args.peers,
            }),
        }
    }
}

/// Runs the load and prints its report. This is the only result that the program writes to standard output.
fn load_and_report(options: LoadOptions) -> Result<(), Error> {
    let report = runtime()?.block_on(load::run(options))?;
    print(report);
    Ok(())
}

/// Returns a runtime with a worker per core.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

impl ServerArgs {
    /// Returns the collector's settings.
    fn config(&self) -> Result<CollectorConfig, Error> {
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
}

impl ServerArgs {
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

impl LoadArgs {
    fn options(self) -> LoadOptions {
        let default = if self.grpc {
            "http://127.0.0.1:4317"
        } else {
            "http://127.0.0.1:4318"
        };
        LoadOptions {
            endpoint: self.endpoint.unwrap_or_else(|| default.to_owned()),
            spans: self.spans,
            connections: usize::from(self.connections),
            grpc: self.grpc,
            gzip: self.gzip,
            spans_per_request: self.spans_per_request as usize,
            seed: self.seed.unwrap_or_else(|| UnixNanos::now().get()),
            rate: self.rate,
        }
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

fn peer(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("wanted name=url")?;
    Ok((name.to_owned(), url.to_owned()))
}

#[cfg(test)]
mod tests;
