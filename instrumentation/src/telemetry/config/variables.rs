//! Reads the configuration from the environment, with its defaults.

use std::time::Duration;

use opentelemetry::KeyValue;
use tracing_subscriber::filter::LevelFilter;

use super::super::environment::Environment;
use super::super::log_format::LogFormat;
use super::TelemetryConfig;
use super::signal::Signal;
use crate::circuit_breaker::Registry;
use crate::propagation::{Propagator, sampler_from_variables};
use crate::resilience;

/// Timeout of one export (OTLP specification).
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long spans wait to be sent in a batch. With the SDK's 5 s a live page would lag.
pub(super) const DEFAULT_SPAN_DELAY: Duration = Duration::from_millis(500);
/// How often the application's own metrics are sent; the SDK's default is a minute.
const DEFAULT_METRIC_INTERVAL: Duration = Duration::from_secs(10);
/// How often circuit metrics are sent, and so the age of the data on the circuit wall.
const CIRCUIT_INTERVAL: Duration = Duration::from_secs(1);

/// Length of the queue of spans: half a second at 16,000 spans a second.
const SPAN_QUEUE: usize = 8_192;
/// Longest queue of spans; its memory, about 50 MB, is allocated at the start.
pub(super) const SPAN_QUEUE_MAX: usize = 131_072;
/// Spans per request, as specified.
const SPAN_BATCH: usize = 512;

impl TelemetryConfig {
    /// Reads the standard variables: `OTEL_SERVICE_NAME` (else `service_name`), `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_EXPORTER_OTLP_{ENDPOINT,PROTOCOL,HEADERS,TIMEOUT,COMPRESSION,CERTIFICATE}` and, of one signal instead,
    /// `OTEL_EXPORTER_OTLP_{TRACES,METRICS,LOGS}_{ENDPOINT,PROTOCOL,HEADERS,TIMEOUT,COMPRESSION}`, `OTEL_{TRACES,METRICS,LOGS}_EXPORTER=none`, `OTEL_PROPAGATORS`, `OTEL_BSP_SCHEDULE_DELAY`,
    /// `OTEL_BSP_MAX_{QUEUE,EXPORT_BATCH}_SIZE`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SDK_DISABLED` and `RUST_LOG`; and
    /// `FUSEBOX_LOG_FORMAT=json`, `FUSEBOX_LOG_RECORDS=off` (or a filter) and `FUSEBOX_CONTROL=off`. The SDK itself
    /// reads the others (`OTEL_TRACES_SAMPLER`, limits). An invalid value is replaced by its default and logged at the
    /// start; [`doctor`](crate::doctor) lists them.
    pub fn from_env(service_name: &str) -> Self {
        Self::from_variables(service_name, &|name| std::env::var(name).ok())
    }

    pub(in crate::telemetry) fn from_variables(
        default_name: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Self {
        let mut env = Environment::new(variable);
        let attributes = env.pairs("OTEL_RESOURCE_ATTRIBUTES");
        let named = attributes.iter().find(|(key, _)| key == "service.name");
        let named = named.map(|(_, name)| name.clone());
        let service_name = env.get("OTEL_SERVICE_NAME").or(named);
        let mut config = Self {
            service_name: service_name.unwrap_or_else(|| default_name.to_owned()),
            attributes: attributes
                .into_iter()
                .map(|(key, value)| KeyValue::new(key, value))
                .collect(),
            disabled: env.flag("OTEL_SDK_DISABLED"),
            traces: Signal::read("traces", &mut env),
            metrics: Signal::read("metrics", &mut env),
            logs: Signal::read("logs", &mut env),
            headers: env.pairs("OTEL_EXPORTER_OTLP_HEADERS"),
            ca_file: env.get("OTEL_EXPORTER_OTLP_CERTIFICATE"),
            timeout: env.millis("OTEL_EXPORTER_OTLP_TIMEOUT", DEFAULT_TIMEOUT),
            span_delay: env.millis("OTEL_BSP_SCHEDULE_DELAY", DEFAULT_SPAN_DELAY),
            span_queue: env.count("OTEL_BSP_MAX_QUEUE_SIZE", SPAN_QUEUE, SPAN_QUEUE_MAX),
            span_batch: env.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", SPAN_BATCH, SPAN_QUEUE_MAX),
            span_level: LevelFilter::INFO,
            metric_interval: env.millis("OTEL_METRIC_EXPORT_INTERVAL", DEFAULT_METRIC_INTERVAL),
            circuit_interval: CIRCUIT_INTERVAL,
            propagator: read_propagator(&mut env),
            sampler: sampler_from_variables(
                env.get("OTEL_TRACES_SAMPLER").as_deref(),
                env.get("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            ),
            registry: Registry::global().clone(),
            policies: resilience::Registry::global().clone(),
            control: env
                .choice(
                    "FUSEBOX_CONTROL",
                    on_or_off,
                    "neither on nor off; on is used",
                )
                .unwrap_or(true),
            log_filter: env.get("RUST_LOG"),
            log_format: env
                .choice(
                    "FUSEBOX_LOG_FORMAT",
                    LogFormat::parse,
                    "neither text nor json; text is used",
                )
                .unwrap_or_default(),
            record_filter: env.get("FUSEBOX_LOG_RECORDS"),
            problems: Vec::new(),
        };
        env.check_sdk();
        config.problems = env.problems;
        config
    }
}

fn on_or_off(word: &str) -> Option<bool> {
    match word {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Parses `OTEL_PROPAGATORS`; unknown names are left out.
fn read_propagator(env: &mut Environment<'_>) -> Propagator {
    let name = "OTEL_PROPAGATORS";
    let Some(list) = env.get(name) else {
        return Propagator::default();
    };
    for item in list.split(',').map(str::trim) {
        if !Propagator::NAMES.contains(&item) {
            env.problem(
                name,
                item,
                "no propagator that is supported; it is left out",
            );
        }
    }
    Propagator::from_list(&list)
}
