//! Starts the collector and its pages in one process and prints their addresses.

use axum::Router;
use fusebox_collector::api;
use fusebox_collector::{Collector, CollectorConfig};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::error::Error;
use crate::pages::{self, AppState, NavEntry};

/// Runs collector and pages until the process is asked to stop.
///
/// # Errors
/// Returns why it could not start.
pub async fn run(config: CollectorConfig) -> Result<(), Error> {
    init_logs()?;
    let collector = Collector::bind(config).await?;
    announce(&collector);
    let router = web_router(&collector);
    collector.run(router, shutdown_signal()).await?;
    Ok(())
}

/// Returns pages and API on one router.
pub fn web_router(collector: &Collector) -> Router {
    web_router_with(collector, &[])
}

/// Returns pages and API on one router, with more entries in the navigation.
pub(crate) fn web_router_with(collector: &Collector, more_nav: &'static [NavEntry]) -> Router {
    let state = AppState {
        more_nav,
        query: collector.query(),
        ingest: collector.ingest(),
        counters: collector.counters(),
        otlp_http: format!("http://{}", collector.otlp_http_addr()),
        otlp_grpc: format!("http://{}", collector.otlp_grpc_addr()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: collector.config().effective(),
        influxdb: collector.influxdb(),
        stop: collector.stop(),
    };
    let api = api::router(collector.api_state());
    pages::router(state).merge(api)
}

/// Prints the addresses, and the settings of a service that sends here.
#[expect(
    clippy::print_stdout,
    reason = "the addresses are what a person starts this program for"
)]
pub fn announce(collector: &Collector) {
    println!("Fusebox {}", env!("CARGO_PKG_VERSION"));
    println!("  Pages      http://{}", collector.web_addr());
    println!("  OTLP/HTTP  http://{}", collector.otlp_http_addr());
    println!("  OTLP/gRPC  http://{}", collector.otlp_grpc_addr());
    println!("  Data       {}", collector.config().data_dir.display());
    println!();
    println!("Point a service at it:");
    println!(
        "  export OTEL_EXPORTER_OTLP_ENDPOINT=http://{}",
        collector.otlp_http_addr()
    );
    println!("  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf");
    println!();
}

/// Writes the program's own logs to standard error, filtered by `RUST_LOG`.
///
/// # Errors
/// When logging was initialised before.
pub fn init_logs() -> Result<(), Error> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()?;
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    Ok(())
}

/// Resolves when the process is asked to stop (Ctrl-C, SIGTERM).
pub async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
            return;
        }
    }
    interrupt.await.ok();
}
