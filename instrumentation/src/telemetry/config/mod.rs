//! The configuration of telemetry: the standard `OTEL_*` variables, overridden by code. An invalid value is replaced by
//! its default and reported in a sentence.

mod signal;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::Sampler;
use tracing_subscriber::filter::LevelFilter;

pub(super) use signal::Signal;

use self::signal::Address;
use super::environment::Environment;
use super::log_format::LogFormat;
use super::protocol::Protocol;
use crate::circuit_breaker::Registry;
use crate::propagation::{Propagator, sampler_from_variables};
use crate::resilience;
use crate::time::MAX_DURATION;

/// Timeout of one export (OTLP specification).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long spans wait to be sent in a batch. With the SDK's 5 s a live page would lag.
const DEFAULT_SPAN_DELAY: Duration = Duration::from_millis(500);
/// How often the application's own metrics are sent; the SDK's default is a minute.
const DEFAULT_METRIC_INTERVAL: Duration = Duration::from_secs(10);
/// How often circuit metrics are sent, and so the age of the data on the circuit wall.
const CIRCUIT_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest delay, interval and timeout: with 0 a thread would send without a pause, or always time out.
const SHORTEST: Duration = Duration::from_millis(10);

/// Length of the queue of spans: half a second at 16,000 spans a second.
const SPAN_QUEUE: usize = 8_192;
/// Longest queue of spans; its memory, about 50 MB, is allocated at the start.
const SPAN_QUEUE_MAX: usize = 131_072;
/// Spans per request, as specified.
const SPAN_BATCH: usize = 512;

/// The configuration of `fusebox::init`.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    pub(super) service_name: String,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) disabled: bool,
    pub(super) traces: Signal,
    pub(super) metrics: Signal,
    pub(super) logs: Signal,
    pub(super) headers: Vec<(String, String)>,
    pub(super) ca_file: Option<String>,
    pub(super) timeout: Duration,
    pub(super) span_delay: Duration,
    pub(super) span_queue: usize,
    pub(super) span_batch: usize,
    pub(super) span_level: LevelFilter,
    pub(super) metric_interval: Duration,
    pub(super) circuit_interval: Duration,
    pub(super) propagator: Propagator,
    pub(super) sampler: Sampler,
    pub(super) registry: Registry,
    pub(super) policies: resilience::Registry,
    pub(super) control: bool,
    pub(super) log_filter: Option<String>,
    pub(super) log_format: LogFormat,
    pub(super) record_filter: Option<String>,
    /// The problems of the environment and of the settings, in sentences.
    pub(super) problems: Vec<String>,
}

impl TelemetryConfig {
    /// Reads the standard variables: `OTEL_SERVICE_NAME` (else `service_name`), `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_EXPORTER_OTLP_{ENDPOINT,PROTOCOL,HEADERS,TIMEOUT,CERTIFICATE}`, `_{TRACES,METRICS,LOGS}_{ENDPOINT,PROTOCOL}`,
    /// `OTEL_{TRACES,METRICS,LOGS}_EXPORTER=none`, `OTEL_PROPAGATORS`, `OTEL_BSP_SCHEDULE_DELAY`,
    /// `OTEL_BSP_MAX_{QUEUE,EXPORT_BATCH}_SIZE`, `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SDK_DISABLED` and `RUST_LOG`; and
    /// `FUSEBOX_LOG_FORMAT=json`, `FUSEBOX_LOG_RECORDS=off` (or a filter) and `FUSEBOX_CONTROL=off`. The SDK itself
    /// reads the others (`OTEL_TRACES_SAMPLER`, limits). An invalid value is replaced by its default and logged at the
    /// start; [`doctor`](crate::doctor) lists them.
    pub fn from_env(service_name: &str) -> Self {
        Self::from_variables(service_name, &|name| std::env::var(name).ok())
    }

    fn from_variables(default_name: &str, variable: &dyn Fn(&str) -> Option<String>) -> Self {
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

    /// Sets the name of the service, overriding the environment.
    #[must_use]
    pub fn with_service_name(mut self, name: &str) -> Self {
        self.service_name = name.to_owned();
        self
    }

    /// Adds or replaces an attribute of the resource; `service.instance.id` is random unless set.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.retain(|known| known.key != attribute.key);
        self.attributes.push(attribute);
        self
    }

    /// Sends everything to an OTLP receiver, for example `http://127.0.0.1:4318`; `https` is supported too.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: &str) -> Self {
        for signal in [&mut self.traces, &mut self.metrics, &mut self.logs] {
            signal.address = Address::Receiver(endpoint.to_owned());
        }
        self
    }

    /// Sets the protocol of all signals. Default: HTTP with protobuf.
    #[must_use]
    pub fn with_protocol(mut self, protocol: Protocol) -> Self {
        for signal in [&mut self.traces, &mut self.metrics, &mut self.logs] {
            signal.protocol = protocol;
        }
        self
    }

    /// For https endpoints, trusts the certificate authorities of a PEM file instead of the system's.
    #[must_use]
    pub fn with_ca_file(mut self, path: &str) -> Self {
        self.ca_file = Some(path.to_owned());
        self
    }

    /// Sets whether log lines are text or JSON. Default: text.
    #[must_use]
    pub fn with_log_format(mut self, format: LogFormat) -> Self {
        self.log_format = format;
        self
    }

    /// Sends a header with every export.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the timeout of one export. Default 10 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long spans wait to be sent in a batch. Default 500 ms.
    #[must_use]
    pub fn with_span_delay(mut self, delay: Duration) -> Self {
        self.span_delay = delay;
        self
    }

    /// Exports spans and their events up to this level, independent of the log filter. Default `INFO`.
    #[must_use]
    pub fn with_span_level(mut self, level: LevelFilter) -> Self {
        self.span_level = level;
        self
    }

    /// Sets the propagator, and so the headers that carry the trace.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Propagator) -> Self {
        self.propagator = propagator;
        self
    }

    /// Exports the policies of `registry` instead of the global registry's.
    #[must_use]
    pub fn with_policies(mut self, registry: &resilience::Registry) -> Self {
        self.policies = registry.clone();
        self
    }

    /// Exports the breakers of `registry` instead of the global registry's.
    #[must_use]
    pub fn with_registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Sets whether the operators of the collector may change breakers and log levels of this process, for a limited
    /// time and with a reason. Default `true`. The process polls the collector with the connection settings of the
    /// exports. If the receiver has no such channel (another OTLP receiver), nothing changes.
    #[must_use]
    pub fn with_control(mut self, is_on: bool) -> Self {
        self.control = is_on;
        self
    }

    /// Returns protocol and address of the receiver: that of the first signal sent over HTTP, else of the first over gRPC;
    /// `None` if nothing is sent.
    pub(super) fn receiver(&self) -> Option<(Protocol, String)> {
        let signals = [&self.logs, &self.metrics, &self.traces];
        [Protocol::HttpProtobuf, Protocol::Grpc]
            .into_iter()
            .find_map(|protocol| {
                let spoken = signals.iter().filter(|signal| signal.protocol == protocol);
                let url = spoken.filter_map(|signal| signal.receiver()).next();
                Some((protocol, url?))
            })
    }

    /// Sets which events are sent as OTLP log records, in the syntax of `RUST_LOG` and independent of the log filter; `off`
    /// sends none. Default `info`.
    #[must_use]
    pub fn with_log_records(mut self, filter: &str) -> Self {
        self.record_filter = Some(filter.to_owned());
        self
    }

    /// Returns whether log records are sent.
    pub(super) fn sends_log_records(&self) -> bool {
        let filter = self.record_filter.as_deref().unwrap_or_default();
        self.logs.is_exported && !filter.trim().eq_ignore_ascii_case("off")
    }

    /// Sets which log lines are written, in the syntax of `RUST_LOG`. Default `info`.
    #[must_use]
    pub fn with_log_filter(mut self, filter: &str) -> Self {
        self.log_filter = Some(filter.to_owned());
        self
    }

    /// Returns the configuration with invalid values replaced and described in `problems`.
    pub(super) fn resolved(&self) -> Self {
        let mut config = self.clone();
        for signal in [&mut config.traces, &mut config.metrics, &mut config.logs] {
            if !signal.is_exported {
                continue;
            }
            if let Err(problem) = signal.check() {
                signal.is_exported &= problem.is_assumption;
                config.problems.push(problem.text);
            }
        }
        let periods = [
            ("delay of spans", &mut config.span_delay),
            ("interval of metrics", &mut config.metric_interval),
            ("timeout of exports", &mut config.timeout),
        ];
        for (name, period) in periods {
            let used = (*period).clamp(SHORTEST, MAX_DURATION);
            if *period != used {
                let what = if *period < used { "short" } else { "long" };
                let text = format!("{name} of {period:?}: too {what}; {used:?} is used");
                config.problems.push(text);
                *period = used;
            }
        }
        config
    }
}

#[cfg(feature = "actuator")]
impl TelemetryConfig {
    pub(crate) fn service_name(&self) -> &str {
        &self.service_name
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the settings in force, without secrets.
    pub(crate) fn properties(&self) -> serde_json::Value {
        let millis = |duration: Duration| duration.as_millis() as u64;
        let shown = |signal: &Signal| {
            let url = signal::without_credentials(&signal.url());
            signal.is_exported.then_some(url)
        };
        let headers = self.headers.iter().map(|(name, _)| name);
        serde_json::json!({
            "service-name": self.service_name,
            "disabled": self.disabled,
            "traces": shown(&self.traces),
            "metrics": shown(&self.metrics),
            "logs": shown(&self.logs),
            "header-names": headers.collect::<Vec<_>>(),
            "timeout-ms": millis(self.timeout),
            "span-delay-ms": millis(self.span_delay),
            "span-level": self.span_level.to_string(),
            "metric-interval-ms": millis(self.metric_interval),
            "control": self.control,
            "log-filter": self.log_filter,
            "log-records": self.record_filter,
            "problems": self.problems,
        })
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

#[cfg(test)]
mod tests;
