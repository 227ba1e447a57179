//! The configuration of telemetry: the standard `OTEL_*` variables, overridden by code. An invalid value is replaced by
//! its default and reported in a sentence.

mod resolve;
mod signal;
mod variables;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::Sampler;
use tracing_subscriber::filter::LevelFilter;

pub(super) use signal::Signal;

use self::signal::Address;
use super::log_format::LogFormat;
use super::protocol::Protocol;
use crate::circuit_breaker::Registry;
use crate::propagation::Propagator;
use crate::resilience;

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
        for signal in [&mut self.traces, &mut self.metrics, &mut self.logs] {
            signal.set_header(name, value);
        }
        self
    }

    /// Sets the timeout of one export. Default 10 s.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        for signal in [&mut self.traces, &mut self.metrics, &mut self.logs] {
            signal.timeout = None;
        }
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

    /// Sets which events are sent as OTLP log records, in the syntax of `RUST_LOG` and independent of the log filter; `off`
    /// sends none. Default `info`.
    #[must_use]
    pub fn with_log_records(mut self, filter: &str) -> Self {
        self.record_filter = Some(filter.to_owned());
        self
    }

    /// Sets which log lines are written, in the syntax of `RUST_LOG`. Default `info`.
    #[must_use]
    pub fn with_log_filter(mut self, filter: &str) -> Self {
        self.log_filter = Some(filter.to_owned());
        self
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

#[cfg(test)]
mod tests;
