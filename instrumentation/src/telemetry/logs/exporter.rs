//! The thread that sends log records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;

use super::layer::RecordLayer;
use super::queue::{Line, Queue};
use crate::telemetry::otlp_client::OtlpClient;
use crate::telemetry::{InitError, TelemetryConfig};

/// Most records per request: a few hundred kilobytes.
const RECORDS_PER_REQUEST: usize = 512;
/// Bytes after which a request ends: gRPC receivers accept 4 MiB by default, and would refuse a larger one every time.
const REQUEST_BYTES: usize = 1 << 20;
/// Timeout of the last request, shorter than the limit of the whole flush.
const LAST_SEND_LIMIT: Duration = Duration::from_millis(900);

/// Sends log records until it is stopped.
#[derive(Debug)]
pub(in crate::telemetry) struct LogExporter {
    queue: Arc<Queue>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl LogExporter {
    /// Starts the thread.
    pub(in crate::telemetry) fn start(
        config: &TelemetryConfig,
        client: &OtlpClient,
        resource: &opentelemetry_sdk::Resource,
    ) -> Result<Self, InitError> {
        let queue = Arc::<Queue>::default();
        let (running, ended) = channel();
        let attributes = ResourceAttributesWithSchema::from(resource).attributes.0;
        let worker = Worker {
            queue: Arc::clone(&queue),
            config: config.clone(),
            client: client.clone(),
            resource: Resource {
                attributes,
                ..Resource::default()
            },
            _running: running,
        };
        let thread = std::thread::Builder::new().name("fusebox-logs".into());
        thread
            .spawn(move || worker.run())
            .map_err(InitError::Thread)?;
        Ok(Self { queue, ended })
    }

    /// Returns the layer that fills the queue.
    pub(in crate::telemetry) fn layer(&self) -> RecordLayer {
        RecordLayer(Arc::clone(&self.queue))
    }

    /// Makes the thread send the queue and end.
    pub(in crate::telemetry) fn stop(&self) {
        self.queue.stop();
    }

    /// Waits for the end of the thread for at most `limit`.
    pub(in crate::telemetry) fn wait(&self, limit: Duration) {
        let _ = self.ended.recv_timeout(limit); // Nothing is ever sent.
    }
}

struct Worker {
    queue: Arc<Queue>,
    config: TelemetryConfig,
    client: OtlpClient,
    resource: Resource,
    _running: Sender<()>,
}

impl Worker {
    fn run(self) {
        let _suppressed = Context::enter_telemetry_suppressed_scope();
        loop {
            let is_end = self.queue.sleep(self.config.span_delay);
            let limit = match is_end {
                true => LAST_SEND_LIMIT,
                false => Duration::MAX,
            };
            let is_sent = self.send(limit);
            if is_end {
                return;
            }
            if !is_sent {
                // Many waiting lines would otherwise wake it again immediately.
                std::thread::sleep(self.config.span_delay);
            }
        }
    }

    /// Sends the queue; returns whether the collector accepted it or will never accept it.
    fn send(&self, limit: Duration) -> bool {
        loop {
            let lines = self.queue.take(RECORDS_PER_REQUEST, REQUEST_BYTES);
            if lines.is_empty() {
                return true;
            }
            let request = request(&self.resource, &lines);
            match self.client.send(&self.config.logs, &request, limit) {
                Ok(()) => self.report_dropped(),
                Err(error) if error.is_retryable() => {
                    self.queue.put_back(lines);
                    return false;
                }
                Err(_) => {} // They would be rejected again; the client has logged it.
            }
        }
    }

    fn report_dropped(&self) {
        let dropped = self.queue.take_dropped();
        if dropped > 0 {
            self.client.log(|| {
                tracing::warn!(target: "fusebox", dropped, "dropped log records because the queue was full");
            });
        }
    }
}

/// Creates a request of lines, grouped by target.
fn request(resource: &Resource, lines: &[Line]) -> ExportLogsServiceRequest {
    let mut scopes: BTreeMap<&str, ScopeLogs> = BTreeMap::new();
    for line in lines {
        let scope = scopes.entry(line.target).or_insert_with(|| ScopeLogs {
            scope: Some(InstrumentationScope {
                name: line.target.to_owned(),
                ..InstrumentationScope::default()
            }),
            ..ScopeLogs::default()
        });
        scope.log_records.push(line.record.clone());
    }
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource.clone()),
            scope_logs: scopes.into_values().collect(),
            ..ResourceLogs::default()
        }],
    }
}
