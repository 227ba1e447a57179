//! Sets up log lines, spans, metrics and circuit events over OTLP.
//!
//! Log lines go to standard error with the ids of their trace, and to an OTLP receiver as log records. Spans made with
//! `tracing`, the metrics of the global meter provider, and the counts and events of every registered breaker are sent
//! to the receiver by separate threads: calls never wait for an export or fail because of one, and no runtime is
//! needed. While the receiver is unreachable, spans are lost after a few retries; metrics are cumulative, so the next
//! export makes up for lost ones; transitions of breakers are queued and sent again.

mod circuits;
mod config;
mod control;
mod environment;
mod levels;
mod link;
mod log_format;
mod logs;
mod otlp_client;
mod outputs;
mod pipeline;
mod protocol;
#[cfg(feature = "actuator")]
pub(crate) mod recent;
mod resource;
mod transport;

use std::fmt;
use std::io::{IsTerminal, Write};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Dispatch, Subscriber};
use tracing_subscriber::filter::{Directive, EnvFilter, FilterExt, LevelFilter};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry};

pub use config::TelemetryConfig;
pub use levels::{LEVEL_EXPIRY_MAX, LevelError, LogLevels, Logger, ROOT};
#[cfg(feature = "registry")]
pub(crate) use link::{Link, LinkError, pause, unless};
use log_format::Formatter;
pub use log_format::LogFormat;
use outputs::Outputs;
use pipeline::Pipeline;
pub use protocol::Protocol;
#[cfg(feature = "actuator")]
pub(crate) use transport::Transport;

/// Why telemetry could not be set up. Invalid settings are not an error: they are replaced by defaults and logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A thread could not be started.
    #[error("could not start an export thread")]
    Thread(#[source] std::io::Error),
    /// The process already has a `tracing` subscriber.
    #[error(
        "a tracing subscriber is already installed; fusebox::telemetry::layers() returns layers for it"
    )]
    AlreadyInstalled,
}

/// Running telemetry. Dropping it sends the queued data and announces the end of this instance, for at most two
/// seconds. A process that ends without the drop (killed, or by `std::process::exit`) is reported as missing by the
/// collector.
#[derive(Debug)]
#[must_use = "telemetry ends when it is dropped: keep it until the end of main"]
pub struct Telemetry {
    dispatch: Dispatch,
    pipeline: Option<Pipeline>,
    handles: Handles,
    #[cfg(any(feature = "actuator", feature = "registry"))]
    config: TelemetryConfig,
}

/// The parts that are accessible while telemetry runs.
#[derive(Debug, Clone, Default)]
struct Handles {
    levels: LogLevels,
    #[cfg(feature = "actuator")]
    recent: recent::Recent,
}

impl Handles {
    /// Returns the writer of log lines.
    #[cfg(feature = "actuator")]
    fn writer(&self) -> recent::Lines {
        self.recent.lines.clone()
    }

    #[cfg(not(feature = "actuator"))]
    fn writer(&self) -> fn() -> std::io::Stderr {
        std::io::stderr
    }
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
/// Returns an error if the process already has a subscriber or a thread cannot be started. Invalid settings and an
/// unreachable collector are not errors; both are logged.
pub fn init(config: TelemetryConfig) -> Result<Telemetry, InitError> {
    let (mut config, pipeline, handles) = build(&config)?;
    let mut telemetry = Telemetry::of(&mut config, pipeline, handles);
    tracing::dispatcher::set_global_default(telemetry.dispatch.clone())
        .map_err(|_| InitError::AlreadyInstalled)?;
    // Only now, so that a failed start does not announce an instance that never ran.
    telemetry.install(&config)?;
    report(&config);
    Ok(telemetry)
}

/// Sets up telemetry for the whole process as [`init`] does, but returns the layers for spans and log lines instead of
/// installing a subscriber.
///
/// ```no_run
/// use fusebox::TelemetryConfig;
/// use tracing_subscriber::layer::SubscriberExt;
/// use tracing_subscriber::util::SubscriberInitExt;
///
/// fn main() -> Result<(), fusebox::InitError> {
///     let config = TelemetryConfig::from_env("product-page");
///     let (layers, _telemetry) = fusebox::telemetry::layers(config)?;
///     let mine = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
///     tracing_subscriber::registry().with(layers).with(mine).init();
///     Ok(())
/// }
/// ```
///
/// # Errors
/// Returns an error if no thread can be started.
pub fn layers<S>(config: TelemetryConfig) -> Result<(Layers<S>, Telemetry), InitError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    let (mut config, pipeline, handles) = build(&config)?;
    let spans = pipeline
        .as_ref()
        .map(|pipeline| span_layer(&pipeline.traces, &config).boxed());
    let logs = log_layer(&mut config, &handles).boxed();
    let records = pipeline
        .as_ref()
        .and_then(|pipeline| record_layer(pipeline, &mut config, &handles))
        .map(Layer::boxed);
    #[cfg(feature = "http")]
    let spans = spans.into_iter().chain(
        pipeline
            .as_ref()
            .map(|pipeline| durations_layer(pipeline).boxed()),
    );
    let mut telemetry = Telemetry {
        dispatch: Dispatch::none(),
        pipeline,
        handles,
        #[cfg(any(feature = "actuator", feature = "registry"))]
        config: config.clone(),
    };
    telemetry.install(&config)?;
    // There is no subscriber yet that could log them.
    let mut lines = std::io::stderr().lock();
    for problem in config.problems.iter().filter(|_| !config.disabled) {
        let _ = writeln!(lines, "fusebox: {problem}");
    }
    let layers = spans.into_iter().chain([logs]).chain(records);
    Ok((layers.collect(), telemetry))
}

/// Layers for a subscriber of the application: spans, unless the SDK is disabled, and log lines.
pub type Layers<S> = Vec<Box<dyn Layer<S> + Send + Sync>>;

/// Checks the environment variables of telemetry; a program may print the result.
///
/// ```
/// let diagnosis = fusebox::doctor();
/// if !diagnosis.problems().is_empty() {
///     eprintln!("{diagnosis}");
/// }
/// ```
pub fn doctor() -> Diagnosis {
    let mut config = TelemetryConfig::from_env("unknown_service").resolved();
    let headers = otlp_client::COMMON_HEADERS;
    environment::header_map(&config.headers, headers, &mut config.problems);
    let authorities = config.ca_file.as_deref().map(transport::roots_of_file);
    config.problems.extend(authorities.and_then(Result::err));
    log_filter(&mut config);
    filter(RECORDS, config.record_filter.clone(), &mut config);
    Diagnosis(config.problems)
}

/// The problems that [`doctor`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis(Vec<String>);

impl Diagnosis {
    /// Returns a sentence for each problem: the variable, its value, what is wrong, and the value used instead.
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("nothing is wrong with the environment"),
            problems => f.write_str(&problems.join("\n")),
        }
    }
}

/// Starts the exporters, unless the SDK is disabled; then the other problems do not matter.
fn build(
    config: &TelemetryConfig,
) -> Result<(TelemetryConfig, Option<Pipeline>, Handles), InitError> {
    let handles = Handles::default();
    if config.disabled {
        return Ok((config.clone(), None, handles));
    }
    let mut config = config.resolved();
    let pipeline = Pipeline::start(&mut config, &handles)?;
    Ok((config, Some(pipeline), handles))
}

impl Telemetry {
    /// Starts telemetry without installing it for the process, for several services in one process, as in tests.
    ///
    /// # Errors
    /// See [`init`].
    pub fn start(config: &TelemetryConfig) -> Result<Self, InitError> {
        let (mut config, pipeline, handles) = build(config)?;
        let mut telemetry = Self::of(&mut config, pipeline, handles);
        telemetry.watch_circuits(&config)?;
        tracing::dispatcher::with_default(&telemetry.dispatch, || report(&config));
        Ok(telemetry)
    }

    fn of(config: &mut TelemetryConfig, pipeline: Option<Pipeline>, handles: Handles) -> Self {
        let dispatch = match &pipeline {
            Some(pipeline) => {
                let spans = span_layer(&pipeline.traces, config);
                let subscriber = Registry::default().with(spans);
                #[cfg(feature = "http")]
                let subscriber = subscriber.with(crate::http::Durations::new(&pipeline.meter()));
                let (lines, filter) = log_lines(config, &handles);
                let outputs = Outputs::new(config.span_level).with(lines, filter);
                let outputs = match records(pipeline, config, &handles) {
                    Some((records, filter)) => outputs.with(records, filter),
                    None => outputs,
                };
                Dispatch::new(subscriber.with(outputs))
            }
            None => Dispatch::new(Registry::default().with(log_layer(config, &handles))),
        };
        if let Some(pipeline) = &pipeline {
            pipeline.client.set_dispatch(&dispatch);
        }
        Self {
            dispatch,
            pipeline,
            handles,
            #[cfg(any(feature = "actuator", feature = "registry"))]
            config: config.clone(),
        }
    }

    /// Installs everything except the subscriber for the process.
    fn install(&mut self, config: &TelemetryConfig) -> Result<(), InitError> {
        self.watch_circuits(config)?;
        config.propagator.configure();
        opentelemetry::global::set_text_map_propagator(config.propagator);
        if let Some(pipeline) = &self.pipeline {
            pipeline.install();
        }
        Ok(())
    }

    fn watch_circuits(&mut self, config: &TelemetryConfig) -> Result<(), InitError> {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.watch_circuits(config, &self.handles.levels),
            None => Ok(()),
        }
    }

    /// Returns the subscriber, to be used with `tracing::dispatcher::with_default`.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Returns the levels of loggers, to change them while the process runs.
    pub fn log_levels(&self) -> &LogLevels {
        &self.handles.levels
    }
}

#[cfg(feature = "registry")]
impl Telemetry {
    /// Returns the link to a path of the collector; `None` if nothing is sent.
    pub(crate) fn link(&self, path: &str, grpc_path: &str) -> Option<Link> {
        let pipeline = self.pipeline.as_ref()?;
        let (client, resource) = (&pipeline.client, &pipeline.resource);
        Link::new(&self.config, client, resource, path, grpc_path)
    }
}

#[cfg(feature = "actuator")]
impl Telemetry {
    /// Returns `service.instance.id` of the resource; `None` if nothing is sent.
    pub(crate) fn instance(&self) -> Option<String> {
        let resource = &self.pipeline.as_ref()?.resource;
        let id = resource.get(&opentelemetry::Key::from_static_str("service.instance.id"));
        id.map(|id| id.to_string())
    }

    pub(crate) fn recent(&self) -> &recent::Recent {
        &self.handles.recent
    }

    pub(crate) fn config(&self) -> &TelemetryConfig {
        &self.config
    }
}

/// Carries the HTTP instruments in the subscriber, where the server and client layers find them. As a layer it is off:
/// it receives no events and enables none for other layers.
#[cfg(feature = "http")]
fn durations_layer<S>(pipeline: &Pipeline) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    crate::http::Durations::new(&pipeline.meter()).with_filter(LevelFilter::OFF)
}

#[cfg(feature = "http")]
impl<S: Subscriber> Layer<S> for crate::http::Durations {}

/// Logs the problems of the configuration.
fn report(config: &TelemetryConfig) {
    for problem in config.problems.iter().filter(|_| !config.disabled) {
        tracing::warn!(target: "fusebox", "{problem}");
    }
}

/// Writes events, but not spans, to standard error.
fn log_layer<S>(config: &mut TelemetryConfig, handles: &Handles) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (lines, filter) = log_lines(config, handles);
    lines.with_filter(filter)
}

/// Returns the layer of log lines, and its filter.
fn log_lines<S>(
    config: &mut TelemetryConfig,
    handles: &Handles,
) -> (impl Layer<S> + use<S>, impl Filter<S> + use<S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = handles.levels.reloadable(log_filter(config));
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Formatter {
            service_name: config.service_name.clone(),
            format: config.log_format,
        })
        .with_ansi(std::io::stderr().is_terminal() && config.log_format == LogFormat::Text)
        .with_writer(handles.writer());
    // Without spans, because the formatter would format the fields of each and this format prints none.
    (lines, handles.levels.events().and(filter))
}

/// Sends events, but not spans, as log records; `None` if log records are off.
fn record_layer<S>(
    pipeline: &Pipeline,
    config: &mut TelemetryConfig,
    handles: &Handles,
) -> Option<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (records, filter) = records(pipeline, config, handles)?;
    Some(records.with_filter(filter))
}

/// As [`record_layer`], with the filter beside it.
fn records<S>(
    pipeline: &Pipeline,
    config: &mut TelemetryConfig,
    handles: &Handles,
) -> Option<(impl Layer<S> + use<S>, impl Filter<S> + use<S>)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = pipeline.logs.as_ref()?.layer();
    let filter = filter(RECORDS, config.record_filter.clone(), config);
    let filter = handles.levels.reloadable(filter);
    Some((layer, handles.levels.events().and(filter)))
}

/// Parses the log filter.
fn log_filter(config: &mut TelemetryConfig) -> EnvFilter {
    let name = "log filter (with_log_filter or RUST_LOG)";
    filter(name, config.log_filter.clone(), config)
}

/// The name of the filter of log records in problems.
const RECORDS: &str = "filter of log records (with_log_records or FUSEBOX_LOG_RECORDS)";

/// Parses a filter; if it has a mistake, the valid parts are used, and `info` for the rest.
fn filter(what: &str, text: Option<String>, config: &mut TelemetryConfig) -> EnvFilter {
    let text = text.as_deref().unwrap_or("info");
    EnvFilter::builder().parse(text).unwrap_or_else(|error| {
        let problem = format!("{what} {text:?}: {error}; info is used where it cannot be read");
        config.problems.push(problem);
        let directives = text
            .split(',')
            .filter(|part| part.parse::<Directive>().is_ok());
        let directives: Vec<_> = directives.collect();
        EnvFilter::builder()
            .with_default_directive(LevelFilter::INFO.into())
            .parse_lossy(directives.join(","))
    })
}

/// Converts `tracing` spans to OpenTelemetry's, without attributes that the bridge would add at a cost: source
/// location, thread, busy and idle times.
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
