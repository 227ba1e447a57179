//! Starts the collector and its pages in one process and prints their addresses.

use axum::Router;
use fusebox_collector::api;
use fusebox_collector::{Collector, CollectorConfig};
use tracing::{Subscriber, info};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::util::SubscriberInitExt;

use crate::error::Error;
use crate::pages::{self, AppState, NavEntry};
use crate::terminal::{print, printable};

/// The exit status after a second signal, the same as after SIGTERM.
const STOPPED_AT_ONCE: i32 = 143;

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
    let scheme = collector.scheme();
    let state = AppState {
        more_nav,
        query: collector.query(),
        ingest: collector.ingest(),
        counters: collector.counters(),
        otlp_http: format!("{scheme}://{}", collector.otlp_http_addr()),
        otlp_grpc: format!("{scheme}://{}", collector.otlp_grpc_addr()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: collector.config().effective(),
        log_link: collector.config().log_link.clone(),
        influxdb: collector.influxdb(),
        notifier: collector.notifier(),
        stop: collector.stop(),
    };
    let api = api::router(collector.api_state());
    let pages = pages::router(state).merge(api);
    api::bounded(pages, collector.query(), pages::busy)
}

/// Prints the addresses, and the settings for services that send here.
pub fn announce(collector: &Collector) {
    let (web, otlp) = (collector.web_addr(), collector.otlp_http_addr());
    let scheme = collector.scheme();
    print(format_args!("Fusebox {}", env!("CARGO_PKG_VERSION")));
    print(format_args!("  Pages      {scheme}://{web}"));
    print(format_args!("  OTLP/HTTP  {scheme}://{otlp}"));
    print(format_args!(
        "  OTLP/gRPC  {scheme}://{}",
        collector.otlp_grpc_addr()
    ));
    print(format_args!(
        "  Data       {}\n",
        collector.config().data_dir.display()
    ));
    print("Point a service at it:");
    print(format_args!(
        "  export OTEL_EXPORTER_OTLP_ENDPOINT={scheme}://{otlp}"
    ));
    print("  export OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n");
}

/// Writes the program's own logs to standard error, filtered by `RUST_LOG`.
///
/// # Errors
/// Returns an error if logging was already initialised.
pub fn init_logs() -> Result<(), Error> {
    logs_to(std::io::stderr).try_init()?;
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    Ok(())
}

/// Returns the logger. Its output contains no control characters other than its own, even if a field does: errors may
/// contain text from senders and from InfluxDB.
fn logs_to<W>(writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let fields = debug_fn(|writer, field, value| {
        let shown = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", printable(&shown)),
            name => write!(writer, "{name}={}", printable(&shown)),
        }
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields.delimited(" "))
        // A closed standard error must not stop the process.
        .log_internal_errors(false)
        .with_writer(writer)
        .finish()
}

/// Resolves when the process is asked to stop (Ctrl-C, SIGTERM). A second signal ends the process immediately, because
/// acknowledged data is durable.
pub async fn shutdown_signal() {
    asked_to_stop().await;
    tokio::spawn(async {
        asked_to_stop().await;
        tracing::warn!("asked to stop a second time: ending immediately");
        std::process::exit(STOPPED_AT_ONCE);
    });
}

async fn asked_to_stop() {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_logged_moves_no_cursor() {
        let memory = Memory::default();
        let writer = memory.clone();
        tracing::subscriber::with_default(logs_to(move || writer.clone()), || {
            let error = "\u{1b}]0;pwned\u{7}\r\nfake line \u{202e}";
            tracing::error!(%error, listed = ?[error], "{error}");
        });
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text:?}");
        for obeyed in ["\u{1b}]", "\u{7}", "\r", "\u{202e}"] {
            assert!(!text.contains(obeyed), "{text:?}");
        }
        assert_eq!(text.matches("pwned").count(), 3, "{text:?}");
    }
}
