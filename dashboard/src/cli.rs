//! The command line: flags and `FUSEBOX_*` environment variables become one validated `CollectorConfig`,
//! and each subcommand goes to its module.

mod server;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use fusebox_collector::model::UnixNanos;

use self::server::ServerArgs;
use crate::demo::DemoOptions;
use crate::error::Error;
use crate::load::LoadOptions;
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

fn peer(text: &str) -> Result<(String, String), String> {
    let (name, url) = text.split_once('=').ok_or("wanted name=url")?;
    Ok((name.to_owned(), url.to_owned()))
}

#[cfg(test)]
mod tests;
