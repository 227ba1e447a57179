//! The configuration of telemetry: the standard `OTEL_*` variables, overridden by code.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::KeyValue;
use percent_encoding::percent_decode_str;
use tracing_subscriber::filter::LevelFilter;

use super::InitError;
use crate::circuit_breaker::Registry;
use crate::propagation::Propagator;

/// Default address of an OTLP receiver (OTLP specification).
const DEFAULT_ENDPOINT: &str = "http://localhost:4318";
/// Timeout of one export (OTLP specification).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long spans wait to be sent in one batch. With the SDK's 5 s a live page would lag.
const DEFAULT_SPAN_DELAY: Duration = Duration::from_millis(500);
/// How often the application's own metrics are sent; the SDK's default is a minute.
const DEFAULT_METRIC_INTERVAL: Duration = Duration::from_secs(10);
/// How often circuit metrics are sent, and so the age of what the circuit wall shows.
const CIRCUIT_INTERVAL: Duration = Duration::from_secs(1);

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
    pub(super) timeout: Duration,
    pub(super) span_delay: Duration,
    pub(super) span_level: LevelFilter,
    pub(super) metric_interval: Duration,
    pub(super) circuit_interval: Duration,
    pub(super) propagator: Propagator,
    pub(super) registry: Registry,
    pub(super) log_filter: Option<String>,
}

/// Whether and where one of the three kinds of telemetry is sent.
#[derive(Debug, Clone)]
pub(super) struct Signal {
    pub(super) is_exported: bool,
    pub(super) endpoint: String,
}

impl TelemetryConfig {
    /// Reads the standard variables: `OTEL_SERVICE_NAME` (else `service_name`), `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_EXPORTER_OTLP_{ENDPOINT,HEADERS,TIMEOUT}` and `_{TRACES,METRICS,LOGS}_ENDPOINT`,
    /// `OTEL_{TRACES,METRICS,LOGS}_EXPORTER=none`, `OTEL_PROPAGATORS`, `OTEL_BSP_SCHEDULE_DELAY`,
    /// `OTEL_METRIC_EXPORT_INTERVAL`, `OTEL_SDK_DISABLED` and `RUST_LOG`. The SDK itself reads the others
    /// (`OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, limits). The protocol is always HTTP with protobuf.
    pub fn from_env(service_name: &str) -> Self {
        Self::from_variables(service_name, |name| std::env::var(name).ok())
    }

    fn from_variables(service_name: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        // An empty variable counts as unset, as OpenTelemetry specifies for all of them.
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let millis = |name: &str| Some(Duration::from_millis(variable(name)?.trim().parse().ok()?));
        let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let attributes = parse_list(&attributes, KeyValue::new);
        let headers = variable("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        let named = attributes
            .iter()
            .find(|attribute| attribute.key.as_str() == "service.name");
        let named = named.map(|attribute| attribute.value.to_string());
        Self {
            service_name: variable("OTEL_SERVICE_NAME")
                .or(named)
                .unwrap_or(service_name.to_owned()),
            attributes,
            disabled: variable("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")),
            traces: Signal::from_variables("TRACES", "/v1/traces", &variable),
            metrics: Signal::from_variables("METRICS", "/v1/metrics", &variable),
            logs: Signal::from_variables("LOGS", "/v1/logs", &variable),
            headers: parse_list(&headers, |name, value| (name, value)),
            timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT").unwrap_or(DEFAULT_TIMEOUT),
            span_delay: millis("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(DEFAULT_SPAN_DELAY),
            span_level: LevelFilter::INFO,
            metric_interval: millis("OTEL_METRIC_EXPORT_INTERVAL")
                .unwrap_or(DEFAULT_METRIC_INTERVAL),
            circuit_interval: CIRCUIT_INTERVAL,
            propagator: variable("OTEL_PROPAGATORS")
                .map_or_else(Propagator::default, |list| Propagator::from_list(&list)),
            registry: Registry::global().clone(),
            log_filter: variable("RUST_LOG"),
        }
    }

    /// Sets the name of the service, in place of the environment's.
    #[must_use]
    pub fn with_service_name(mut self, name: &str) -> Self {
        self.service_name = name.to_owned();
        self
    }

    /// Adds an attribute to the resource or replaces it; `service.instance.id` is random unless set.
    #[must_use]
    pub fn with_attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.retain(|known| known.key != attribute.key);
        self.attributes.push(attribute);
        self
    }

    /// Sends everything to an OTLP receiver, for example `http://127.0.0.1:4318`.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: &str) -> Self {
        self.traces.endpoint = join(endpoint, "/v1/traces");
        self.metrics.endpoint = join(endpoint, "/v1/metrics");
        self.logs.endpoint = join(endpoint, "/v1/logs");
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

    /// Sets how long spans wait to be sent in one batch. Default 500 ms.
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

    /// Exports the breakers of `registry` instead of the global registry's.
    #[must_use]
    pub fn with_registry(mut self, registry: &Registry) -> Self {
        self.registry = registry.clone();
        self
    }

    /// Sets which log lines are written, in the syntax of `RUST_LOG`. Default `info`.
    #[must_use]
    pub fn with_log_filter(mut self, filter: &str) -> Self {
        self.log_filter = Some(filter.to_owned());
        self
    }

    /// Checks what the exporters would notice only later.
    pub(super) fn check(&self) -> Result<(), InitError> {
        for signal in [&self.traces, &self.metrics, &self.logs] {
            let is_http = |uri: Uri| uri.scheme_str() == Some("http") && uri.authority().is_some();
            if !signal.endpoint.parse().is_ok_and(is_http) {
                return Err(InitError::Endpoint(signal.endpoint.clone()));
            }
        }
        self.header_map().map(drop)
    }

    pub(super) fn header_map(&self) -> Result<HeaderMap, InitError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let invalid = || InitError::Header(name.clone());
            let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
            headers.insert(HeaderName::try_from(name).map_err(|_| invalid())?, value);
        }
        Ok(headers)
    }
}

impl Signal {
    fn from_variables(
        signal: &str,
        path: &str,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Self {
        let base = || variable("OTEL_EXPORTER_OTLP_ENDPOINT");
        Self {
            is_exported: variable(&format!("OTEL_{signal}_EXPORTER")).as_deref() != Some("none"),
            // The variable of one signal is used unchanged; the signal's path is added to the common one.
            endpoint: variable(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"))
                .unwrap_or_else(|| join(base().as_deref().unwrap_or(DEFAULT_ENDPOINT), path)),
        }
    }
}

fn join(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

/// Parses `key=value,key=value` with percent-encoded values.
fn parse_list<T>(list: &str, make: impl Fn(String, String) -> T) -> Vec<T> {
    let pairs = list.split(',').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let (key, value) = (key.trim(), percent_decode_str(value.trim()));
        let value = value.decode_utf8_lossy().into_owned();
        (!key.is_empty()).then(|| make(key.to_owned(), value))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> TelemetryConfig {
        TelemetryConfig::from_variables("shop", |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn the_default_is_the_local_collector() {
        let config = config(&[]);
        assert_eq!(config.service_name, "shop");
        assert_eq!(config.traces.endpoint, "http://localhost:4318/v1/traces");
        assert_eq!(config.span_delay, DEFAULT_SPAN_DELAY);
        assert!(!config.disabled && config.traces.is_exported);
        config.check().unwrap();
    }

    #[test]
    fn the_standard_variables_are_honoured() {
        let config = config(&[
            ("OTEL_SERVICE_NAME", "price"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=x, deployment.environment.name=a%20b",
            ),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there:1/base/"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://here:2/as/it/is",
            ),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20a,x=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_PROPAGATORS", "b3"),
            ("OTEL_BSP_SCHEDULE_DELAY", ""),
        ]);
        assert_eq!(config.service_name, "price");
        assert_eq!(
            config.attributes[1],
            KeyValue::new("deployment.environment.name", "a b")
        );
        assert_eq!(config.traces.endpoint, "http://here:2/as/it/is");
        assert_eq!(config.logs.endpoint, "http://there:1/base/v1/logs");
        assert_eq!(config.header_map().unwrap()["authorization"], "Bearer a");
        assert_eq!(config.timeout, Duration::from_millis(250));
        assert!(config.disabled && !config.metrics.is_exported);
        assert_eq!(config.propagator, Propagator::from_list("b3"));
        assert_eq!(config.span_delay, DEFAULT_SPAN_DELAY);
    }

    #[test]
    fn code_wins_over_the_environment() {
        let variables = [
            ("OTEL_SERVICE_NAME", "a"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://a/logs"),
        ];
        let config = config(&variables)
            .with_service_name("b")
            .with_endpoint("http://b:1");
        assert_eq!(config.service_name, "b");
        assert_eq!(config.logs.endpoint, "http://b:1/v1/logs");
    }

    #[test]
    fn an_invalid_configuration_is_rejected() {
        let check = |endpoint| config(&[]).with_endpoint(endpoint).check();
        for endpoint in ["https://there:1", "there:1", "", "http://"] {
            assert!(
                matches!(check(endpoint), Err(InitError::Endpoint(_))),
                "{endpoint}"
            );
        }
        let config = config(&[]).with_header("bad name", "1");
        assert!(matches!(config.check(), Err(InitError::Header(_))));
    }
}
