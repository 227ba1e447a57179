//! Collector and pages in this process, on ports that the system chooses, with data in a temporary directory.

use fusebox_collector::{Collector, CollectorConfig};
use fusebox_dashboard::serve;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A running stack; it stops when dropped.
#[derive(Debug)]
pub struct Stack {
    /// Base URL of pages and API.
    pub web: String,
    /// Base URL of OTLP over HTTP.
    pub otlp_http: String,
    /// Base URL of OTLP over gRPC.
    pub otlp_grpc: String,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
    data: Option<TempDir>,
}

impl Stack {
    /// Starts an empty stack.
    pub async fn start() -> Self {
        Self::start_in(TempDir::new().expect("a temporary directory")).await
    }

    /// Starts a stack over existing data.
    pub async fn start_in(data: TempDir) -> Self {
        Self::start_with(CollectorConfig::for_test(data.path()), data).await
    }

    /// Starts a stack with these settings; it owns `data` until it stops.
    pub async fn start_with(config: CollectorConfig, data: TempDir) -> Self {
        let collector = Collector::bind(config).await.expect("a collector");
        let (stop, stopped) = oneshot::channel::<()>();
        let mut stack = Self {
            web: format!("http://{}", collector.web_addr()),
            otlp_http: format!("http://{}", collector.otlp_http_addr()),
            otlp_grpc: format!("http://{}", collector.otlp_grpc_addr()),
            stop: Some(stop),
            running: None,
            data: Some(data),
        };
        let router = serve::web_router(&collector);
        stack.running = Some(tokio::spawn(async move {
            let shutdown = async {
                stopped.await.ok();
            };
            collector
                .run(router, shutdown)
                .await
                .expect("the collector runs");
        }));
        stack
    }

    /// Returns one of the collector's own counters; `None` if it is not exported.
    pub async fn counter(&self, name: &str) -> Option<u64> {
        crate::wait::counter(&self.web, name).await
    }

    /// Stops the stack and returns its data, from which another can start.
    pub async fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            running.await.expect("the stack stops cleanly");
        }
        self.data
            .take()
            .expect("data is there until the stack stops")
    }
}
