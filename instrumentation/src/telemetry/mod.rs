//! Sets up log lines, spans, metrics and circuit events over OTLP.
//!
//! Log lines go to standard error with the ids of their trace. Spans made with `tracing`, the metrics of the global meter
//! provider, and the counts and events of every registered breaker go to an OTLP receiver from threads of their own: no
//! call waits for an export or fails with it, and no runtime is needed. While the receiver is unreachable, spans are lost
//! after a few retries; metrics are cumulative, so the next export makes up for the lost ones; transitions of breakers
//! are queued and sent again.

mod circuits;
mod config;
mod log_format;
mod otlp_client;
mod pipeline;
mod resource;

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

pub use config::TelemetryConfig;
use log_format::LogFormat;
use pipeline::Pipeline;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The endpoint is not an `http://` URL.
    #[error("not an http:// endpoint: {0:?}")]
    Endpoint(String),
    /// A header for exports has no valid name or value.
    #[error("not a valid export header: {0:?}")]
    Header(String),
    /// The log filter cannot be parsed.
    #[error("not a valid log filter")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    /// The HTTP client could not be built.
    #[error("could not build the export client")]
    Client(#[source] reqwest::Error),
    /// The OTLP exporter could not be built.
    #[error("could not build an exporter")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A thread could not be started.
    #[error("could not start an export thread")]
    Thread(#[source] std::io::Error),
    /// The process already has a `tracing` subscriber.
    #[error("a tracing subscriber is already installed")]
    AlreadyInstalled,
}

/// Running telemetry; dropping it sends what is still queued, for at most two seconds.
#[derive(Debug)]
#[must_use = "telemetry ends when it is dropped: keep it until the end of main"]
pub struct Telemetry {
    dispatch: Dispatch,
    pipeline: Option<Pipeline>,
}

/// Sets up telemetry for the whole process: subscriber, propagator, tracer and meter provider.
///
/// ```no_run
/// use fusebox::TelemetryConfig;
///
/// fn main() -> Result<(), fusebox::InitError> {
///     let _telemetry = fusebox::init(TelemetryConfig::from_env("product-page"))?;
///     tracing::info!("started");
///     Ok(())
/// }
/// ```
///
/// # Errors
/// Returns an error if the configuration is invalid or the process already has a subscriber. An unreachable collector
/// is not an error.
pub fn init(config: TelemetryConfig) -> Result<Telemetry, InitError> {
    let mut telemetry = Telemetry::build(&config)?;
    tracing::dispatcher::set_global_default(telemetry.dispatch.clone())
        .map_err(|_| InitError::AlreadyInstalled)?;
    // Only now, so that a failed start does not show the collector an instance that never ran.
    telemetry.watch_circuits(&config)?;
    config.propagator.configure();
    opentelemetry::global::set_text_map_propagator(config.propagator);
    if let Some(pipeline) = &telemetry.pipeline {
        pipeline.install();
    }
    Ok(telemetry)
}

impl Telemetry {
    /// Starts telemetry without installing it for the process: for several services in one process, as in tests.
    ///
    /// # Errors
    /// See [`init`].
    pub fn start(config: &TelemetryConfig) -> Result<Self, InitError> {
        let mut telemetry = Self::build(config)?;
        telemetry.watch_circuits(config)?;
        Ok(telemetry)
    }

    fn build(config: &TelemetryConfig) -> Result<Self, InitError> {
        config.check()?;
        if config.disabled {
            let dispatch = Dispatch::new(Registry::default().with(log_layer(config)?));
            return Ok(Self {
                dispatch,
                pipeline: None,
            });
        }
        let pipeline = Pipeline::start(config)?;
        let spans = span_layer(&pipeline.traces, config);
        let dispatch = Dispatch::new(Registry::default().with(spans).with(log_layer(config)?));
        pipeline.client.set_dispatch(&dispatch);
        Ok(Self {
            dispatch,
            pipeline: Some(pipeline),
        })
    }

    fn watch_circuits(&mut self, config: &TelemetryConfig) -> Result<(), InitError> {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.watch_circuits(config),
            None => Ok(()),
        }
    }

    /// Returns the subscriber, to be used with `tracing::dispatcher::with_default`.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }
}

/// Writes events, but not spans, to standard error.
fn log_layer<S>(config: &TelemetryConfig) -> Result<impl Layer<S> + use<S>, InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::builder().parse(config.log_filter.as_deref().unwrap_or("info"))?;
    // Without spans, because the formatter would format the fields of each and this format prints none.
    let events = filter_fn(|metadata| metadata.is_event()).with_max_level_hint(LevelFilter::TRACE);
    Ok(tracing_subscriber::fmt::layer()
        .event_format(LogFormat {
            service_name: config.service_name.clone(),
        })
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(events.and(filter)))
}

/// Converts `tracing` spans to OpenTelemetry's, without what the bridge would add to each at a cost: source location,
/// thread, busy and idle times.
fn span_layer<S>(provider: &SdkTracerProvider, config: &TelemetryConfig) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("fusebox"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(config.span_level)
}
