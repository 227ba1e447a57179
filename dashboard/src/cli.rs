//! The command line: flags and `FUSEBOX_*` environment variables become one validated `CollectorConfig`,
//! and each subcommand goes to its module.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fusebox_collector::model::{now_unix_nanos, parse_duration};
use fusebox_collector::store::influxdb::InfluxdbOptions;
use fusebox_collector::{CollectorConfig, Secret};

use crate::demo::DemoOptions;
use crate::load::LoadOptions;
use crate::shop::ShopOptions;
use crate::{demo, load, serve, shop};

/// What may go wrong in a subcommand; each says what was being done.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Fusebox: which circuit breakers are open, and where one request went through all services.
///
/// Without a subcommand it starts the collector and its pages on loopback; nothing need be installed.
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
    /// Starts the collector, its pages and a small shop with real traffic, real faults and real breakers.
    Demo(DemoArgs),
    /// Sends generated, realistic traces to any OTLP endpoint and prints spans/s, latency and refusals.
    Load(LoadArgs),
    /// Runs one service of the demo shop; `demo` starts these by itself.
    #[command(hide = true)]
    Shop(ShopArgs),
}

/// Settings of the collector and its pages.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Address of the pages and every query API.
    #[arg(
        long,
        env = "FUSEBOX_LISTEN",
        default_value = "127.0.0.1:9411",
        value_name = "ADDR"
    )]
    pub listen: SocketAddr,
    /// Address of OTLP over gRPC.
    #[arg(
        long,
        env = "FUSEBOX_OTLP_GRPC_LISTEN",
        default_value = "127.0.0.1:4317",
        value_name = "ADDR"
    )]
    pub otlp_grpc_listen: SocketAddr,
    /// Address of OTLP over HTTP.
    #[arg(
        long,
        env = "FUSEBOX_OTLP_HTTP_LISTEN",
        default_value = "127.0.0.1:4318",
        value_name = "ADDR"
    )]
    pub otlp_http_listen: SocketAddr,
    /// Where data is kept [default: the platform's data directory].
    #[arg(long, env = "FUSEBOX_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How long data is kept, such as 168h.
    #[arg(long, env = "FUSEBOX_RETENTION", default_value = "168h", value_parser = duration, value_name = "TIME")]
    pub retention: Duration,
    /// Oldest spans are deleted beyond so many GiB on disk.
    #[arg(long, env = "FUSEBOX_DISK_GIB", default_value_t = 20, value_name = "N")]
    pub disk_gib: u64,
    /// Ingest shards [default: one per core].
    #[arg(long, env = "FUSEBOX_SHARDS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: Option<u16>,
    /// Bearer token that senders and readers must show; needed for an address that is not loopback.
    #[arg(
        long,
        env = "FUSEBOX_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub token: Option<Secret>,
    /// Allows an address that is not loopback without a token.
    #[arg(long, env = "FUSEBOX_INSECURE")]
    pub insecure: bool,
    /// The InfluxDB behind it, if any.
    #[command(flatten)]
    pub influxdb: InfluxdbArgs,
}

/// Where the week is kept, if not in the data directory. Names are given whole, as those of all flags share one space.
#[derive(Debug, Clone, Args)]
pub struct InfluxdbArgs {
    /// Keeps everything in the InfluxDB (1.x, 2.x, 3 or openGemini) at that address; the data directory is the journal
    /// in front of it.
    #[arg(id = "influxdb", long, env = "FUSEBOX_INFLUXDB", value_name = "URL")]
    url: Option<String>,
    /// Token for InfluxDB; for 1.x with authentication `user:password`.
    #[arg(
        id = "influxdb-token",
        long,
        env = "FUSEBOX_INFLUXDB_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,
    /// File with the token, read again when InfluxDB refuses the one in use.
    #[arg(
        id = "influxdb-token-file",
        long,
        env = "FUSEBOX_INFLUXDB_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "influxdb-token"
    )]
    token_file: Option<PathBuf>,
    /// Organisation in InfluxDB 2.
    #[arg(
        id = "influxdb-org",
        long,
        env = "FUSEBOX_INFLUXDB_ORG",
        default_value = "fusebox",
        value_name = "NAME"
    )]
    org: String,
    /// Bucket; in InfluxDB 1.x and 3 the database.
    #[arg(
        id = "influxdb-bucket",
        long,
        env = "FUSEBOX_INFLUXDB_BUCKET",
        default_value = "fusebox",
        value_name = "NAME"
    )]
    bucket: String,
    /// Sets up an InfluxDB 2 that never was: first user, organisation, bucket and a token, which the data directory keeps.
    #[arg(id = "influxdb-onboard", long, env = "FUSEBOX_INFLUXDB_ONBOARD")]
    onboard: bool,
    /// How long spans stay in the data directory once they are in InfluxDB.
    #[arg(id = "influxdb-local", long, env = "FUSEBOX_INFLUXDB_LOCAL", default_value = "1h", value_parser = duration, value_name = "TIME")]
    local: Duration,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Requests a second that the shop's customers make.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
    rate: u32,
    /// Lets faults come and go only from the page, not by themselves.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Where to send: `http://127.0.0.1:4318`, or `http://127.0.0.1:4317` with --grpc.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Spans in all.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    spans: u64,
    /// Connections that send at the same time.
    #[arg(long, default_value_t = 4, value_name = "N")]
    connections: usize,
    /// Sends over gRPC.
    #[arg(long)]
    grpc: bool,
    /// Compresses the requests.
    #[arg(long)]
    gzip: bool,
    /// Spans in one request.
    #[arg(long, default_value_t = 500, value_name = "N")]
    spans_per_request: usize,
    /// Spans a second at most [default: as fast as it goes].
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Seed of the generated traces [default: the clock]; the same seed makes the same trace ids.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct ShopArgs {
    /// Which service.
    service: String,
    /// Its address.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Which of its instances.
    #[arg(long, default_value = "1")]
    instance: String,
    /// Base URLs of the services it calls: `name=url`, repeated for several instances.
    #[arg(long = "peer", value_parser = peer)]
    peers: Vec<(String, String)>,
}

impl Cli {
    /// Runs the subcommand until it is done or the process is asked to stop.
    ///
    /// # Errors
    /// Returns what kept it from starting or running, in words for the person at the terminal.
    pub fn run(self) -> Result<(), Error> {
        match self.command {
            None => runtime()?.block_on(serve::run(self.server.config()?)),
            Some(Command::Demo(args)) => {
                let options = DemoOptions {
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
                listen: args.listen,
                instance: args.instance,
                peers: args.peers,
            }),
        }
    }
}

/// Runs the load and prints its report: the one place of this program that writes a result to standard output.
#[expect(clippy::print_stdout, reason = "the report is the command's result")]
fn load_and_report(options: LoadOptions) -> Result<(), Error> {
    let report = runtime()?.block_on(load::run(options))?;
    println!("{report}");
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
            web_addr: self.listen,
            otlp_grpc_addr: self.otlp_grpc_listen,
            otlp_http_addr: self.otlp_http_listen,
            retention: self.retention,
            disk_budget_bytes: self.disk_gib << 30,
            shards: self.shards.map_or(defaults.shards, usize::from),
            token: self
                .token
                .clone()
                .filter(|token| !token.expose().is_empty()),
            insecure: self.insecure,
            influxdb: self.influxdb.options(),
            influxdb_local: self.influxdb.local,
            ..defaults
        })
    }
}

impl InfluxdbArgs {
    /// Returns where the InfluxDB is; `None` without an address.
    fn options(&self) -> Option<InfluxdbOptions> {
        let url = self.url.clone().filter(|url| !url.is_empty())?;
        Some(InfluxdbOptions {
            token: self
                .token
                .clone()
                .filter(|token| !token.expose().is_empty()),
            token_file: self.token_file.clone(),
            org: self.org.clone(),
            bucket: self.bucket.clone(),
            onboard: self.onboard,
            ..InfluxdbOptions::new(url)
        })
    }
}

impl LoadArgs {
    /// Returns the options of the load generator.
    fn options(self) -> LoadOptions {
        let default = if self.grpc {
            "http://127.0.0.1:4317"
        } else {
            "http://127.0.0.1:4318"
        };
        LoadOptions {
            endpoint: self.endpoint.unwrap_or_else(|| default.to_owned()),
            spans: self.spans,
            connections: self.connections,
            grpc: self.grpc,
            gzip: self.gzip,
            spans_per_request: self.spans_per_request,
            seed: self.seed.unwrap_or_else(now_unix_nanos),
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

/// Reads a duration argument.
fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .map(Duration::from_nanos)
        .ok_or_else(|| "wanted a number and a unit, such as 168h, 30m or 90s".to_owned())
}

/// Reads `name=url`.
fn peer(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("wanted name=url")?;
    Ok((name.to_owned(), url.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_have_names_of_their_own() {
        Cli::command().debug_assert();
        let args = [
            "fusebox",
            "--token",
            "a",
            "--influxdb",
            "http://127.0.0.1:8086",
        ];
        let args = args.into_iter().chain(["--influxdb-token", "b"]);
        let config = Cli::parse_from(args).server.config().unwrap();
        assert_eq!(config.token, Some("a".into()));
        assert_eq!(config.influxdb.unwrap().token, Some("b".into()));
    }
}
