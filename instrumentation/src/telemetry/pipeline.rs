//! The exporters and their shutdown: spans and the application's metrics through the SDK, circuits on a separate
//! thread, all through one client.

use std::sync::mpsc;
use std::time::Duration;

use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::time::Instant;

use super::circuits::CircuitExporter;
use super::control::ControlChannel;
use super::logs::LogExporter;
use super::otlp_client::OtlpClient;
use super::{Handles, InitError, LogLevels, TelemetryConfig, resource};
use crate::propagation::CallerDecides;

/// How long the last export may delay the end of the process.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
    /// `None` until [`watch_circuits`](Self::watch_circuits).
    circuits: Option<CircuitExporter>,
    control: Option<ControlChannel>,
    /// `None` if log records are off.
    pub(super) logs: Option<LogExporter>,
    pub(super) client: OtlpClient,
    pub(super) resource: Resource,
}

impl Pipeline {
    /// Starts the exporters; one that cannot be built is left out and reported as a problem of the configuration.
    pub(super) fn start(
        config: &mut TelemetryConfig,
        handles: &Handles,
    ) -> Result<Self, InitError> {
        let client = OtlpClient::new(config)?;
        let resource = resource::build(config);
        let start = || LogExporter::start(config, &client, &resource);
        let logs = config.sends_log_records().then(start);
        Ok(Self {
            logs: logs.transpose()?,
            traces: tracer_provider(config, &client, &resource, handles),
            metrics: meter_provider(config, &client, &resource, handles),
            circuits: None,
            control: None,
            client,
            resource,
        })
    }

    /// Starts the export of breakers and the control channel.
    pub(super) fn watch_circuits(
        &mut self,
        config: &TelemetryConfig,
        levels: &LogLevels,
    ) -> Result<(), InitError> {
        let exporter = CircuitExporter::start(config, &self.client, &self.resource)?;
        self.circuits = Some(exporter);
        self.control = ControlChannel::open(config, &self.client, &self.resource, levels)?;
        Ok(())
    }

    /// Returns the meter of this crate's own instruments.
    #[cfg(feature = "http")]
    pub(super) fn meter(&self) -> opentelemetry::metrics::Meter {
        use opentelemetry::metrics::MeterProvider;
        self.metrics.meter("fusebox")
    }

    /// Installs the providers for the process.
    pub(super) fn install(&self) {
        opentelemetry::global::set_tracer_provider(self.traces.clone());
        opentelemetry::global::set_meter_provider(self.metrics.clone());
    }
}

#[cfg_attr(
    not(feature = "actuator"),
    expect(unused_variables, reason = "it keeps spans")
)]
fn tracer_provider(
    config: &mut TelemetryConfig,
    client: &OtlpClient,
    resource: &Resource,
    handles: &Handles,
) -> SdkTracerProvider {
    let provider = SdkTracerProvider::builder()
        .with_resource(resource.clone())
        .with_sampler(CallerDecides(config.sampler.clone()));
    let processor = span_processor(config, client);
    #[cfg(feature = "actuator")]
    let processor = Some(super::recent::ExchangeProcessor {
        exchanges: handles.recent.exchanges.clone(),
        next: processor,
    });
    match processor {
        Some(processor) => provider.with_span_processor(processor).build(),
        // Spans still need ids for headers and log lines.
        None => provider.build(),
    }
}

fn span_processor(config: &mut TelemetryConfig, client: &OtlpClient) -> Option<BatchSpanProcessor> {
    config.traces.is_exported.then_some(())?;
    let client = client.of(&config.traces);
    let timeout = client.timeout();
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.traces.url())
        .with_timeout(timeout)
        .build();
    let note = |error| config.problems.push(format!("no spans are sent: {error}"));
    let exporter = exporter.map_err(note).ok()?;
    // The SDK would read both itself: a queue of 0 loses every span, a very long one aborts the process.
    let batch = BatchConfigBuilder::default()
        .with_scheduled_delay(config.span_delay)
        .with_max_queue_size(config.span_queue)
        .with_max_export_batch_size(config.span_batch);
    let processor = BatchSpanProcessor::builder(exporter);
    Some(processor.with_batch_config(batch.build()).build())
}

#[cfg_attr(
    not(feature = "actuator"),
    expect(unused_variables, reason = "it keeps metrics")
)]
fn meter_provider(
    config: &mut TelemetryConfig,
    client: &OtlpClient,
    resource: &Resource,
    handles: &Handles,
) -> SdkMeterProvider {
    let provider = SdkMeterProvider::builder().with_resource(resource.clone());
    let exporter = metric_exporter(config, client);
    #[cfg(feature = "actuator")]
    let exporter = Some(super::recent::MeterExporter {
        meters: handles.recent.meters.clone(),
        next: exporter,
    });
    let Some(exporter) = exporter else {
        return provider.build();
    };
    let reader = PeriodicReader::builder(exporter)
        .with_interval(config.metric_interval)
        .build();
    provider.with_reader(reader).build()
}

fn metric_exporter(config: &mut TelemetryConfig, client: &OtlpClient) -> Option<MetricExporter> {
    config.metrics.is_exported.then_some(())?;
    let client = client.of(&config.metrics);
    let timeout = client.timeout();
    let exporter = MetricExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(config.metrics.url())
        .with_timeout(timeout)
        .build();
    let note = |error| {
        config
            .problems
            .push(format!("no metrics are sent: {error}"))
    };
    exporter.map_err(note).ok()
}

impl Drop for Pipeline {
    /// Flushes each exporter on its own thread and does not wait for those that take too long.
    fn drop(&mut self) {
        self.control = None;
        if let Some(circuits) = &self.circuits {
            circuits.stop();
        }
        if let Some(logs) = &self.logs {
            logs.stop();
        }
        let (done, ended) = mpsc::channel::<()>();
        let deadline = Instant::now() + FLUSH_LIMIT;
        let (traces, metrics) = (self.traces.clone(), self.metrics.clone());
        let flushes: [Box<dyn FnOnce() + Send>; 2] = [
            Box::new(move || drop(traces.shutdown_with_timeout(FLUSH_LIMIT))),
            Box::new(move || drop(metrics.shutdown_with_timeout(FLUSH_LIMIT))),
        ];
        for flush in flushes {
            let done = done.clone();
            let thread = std::thread::Builder::new().name("fusebox-flush".into());
            let _ = thread.spawn(move || {
                flush();
                drop(done);
            });
        }
        drop(done);
        // Nothing is ever sent: the channel closes when the last flush has ended.
        let _ = ended.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(circuits) = &self.circuits {
            circuits.wait(deadline.saturating_duration_since(Instant::now()));
        }
        if let Some(logs) = &self.logs {
            logs.wait(deadline.saturating_duration_since(Instant::now()));
        }
    }
}
