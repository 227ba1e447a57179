//! The environment variables of telemetry. An invalid value is replaced by its default and described in a sentence,
//! which is logged at the start and listed by `fusebox::doctor`. No invalid value stops a service.

use std::fmt::Display;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// Values of `OTEL_TRACES_SAMPLER` that the SDK supports.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// Values of `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
const TEMPORALITIES: [&str; 3] = ["cumulative", "delta", "lowmemory"];

/// Numbers that the SDK reads itself, and silently ignores if they are invalid.
const NUMBERS_OF_SDK: [&str; 5] = [
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_METRIC_EXPORT_TIMEOUT",
];

/// Standard variables that would change what is sent, but that neither this crate nor the SDK reads.
const UNSUPPORTED: [&str; 31] = [
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BLRP_EXPORT_TIMEOUT",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_METRICS_EXEMPLAR_FILTER",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_METRICS_INSECURE",
    "OTEL_EXPORTER_OTLP_LOGS_INSECURE",
    "OTEL_LOG_LEVEL",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_LOGS_CLIENT_CERTIFICATE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_CONFIG_FILE",
];

/// Variables that configure a proxy for HTTP clients; exports use no proxy.
const PROXIES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Reads variables and collects their problems.
pub(super) struct Environment<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<String>,
}

impl<'a> Environment<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            variable,
            problems: Vec::new(),
        }
    }

    /// Returns a variable; an empty one counts as unset, as OpenTelemetry specifies.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    pub(super) fn problem(&mut self, name: &str, value: &str, what: impl Display) {
        self.problems.push(format!("{name}={value:?}: {what}"));
    }

    /// Reads a duration in milliseconds.
    pub(super) fn millis(&mut self, name: &str, default: Duration) -> Duration {
        let used = format!("{default:?} is used");
        self.millis_or(name, &used).unwrap_or(default)
    }

    /// As [`millis`](Self::millis), from a variable that overrides a common one.
    pub(super) fn own_millis(&mut self, name: &str) -> Option<Duration> {
        self.millis_or(name, "it is ignored")
    }

    fn millis_or(&mut self, name: &str, otherwise: &str) -> Option<Duration> {
        let value = self.get(name)?;
        let millis = value.parse().map(Duration::from_millis);
        if millis.is_err() {
            let what = format!("no whole number of milliseconds; {otherwise}");
            self.problem(name, &value, what);
        }
        millis.ok()
    }

    /// Reads a number from 1 to `most`; the nearest of them is used for one that is outside.
    pub(super) fn count(&mut self, name: &str, default: usize, most: usize) -> usize {
        let Some(value) = self.get(name) else {
            return default;
        };
        let (used, is_right) = match value.parse::<usize>() {
            Ok(number) => (number.clamp(1, most), (1..=most).contains(&number)),
            // Beyond any number.
            Err(_) if value.bytes().all(|byte| byte.is_ascii_digit()) => (most, false),
            Err(_) => (default, false),
        };
        if !is_right {
            let what = format!("no whole number from 1 to {most}; {used} is used");
            self.problem(name, &value, what);
        }
        used
    }

    /// Reads `true` or `false`; anything else is false.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let Some(value) = self.get(name) else {
            return false;
        };
        let is_true = value.eq_ignore_ascii_case("true");
        if !is_true && !value.eq_ignore_ascii_case("false") {
            self.problem(name, &value, "neither true nor false; false is used");
        }
        is_true
    }

    /// Reads one of several values, in any case as OpenTelemetry specifies; `None` if it is unset or unknown.
    pub(super) fn choice<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        unknown: &str,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = parse(&value.to_ascii_lowercase());
        if found.is_none() {
            self.problem(name, &value, unknown);
        }
        found
    }

    /// Reads `key=value,key=value` with percent-encoded values.
    pub(super) fn pairs(&mut self, name: &str) -> Vec<(String, String)> {
        let list = self.get(name).unwrap_or_default();
        let mut pairs = Vec::new();
        for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) if !key.trim().is_empty() => {
                    let value = percent_decode_str(value.trim()).decode_utf8_lossy();
                    pairs.push((key.trim().to_owned(), value.into_owned()));
                }
                // The value may be a credential, so only its position is reported.
                _ => self.problems.push(format!(
                    "{name}: entry {} is no key=value and is left out",
                    pairs.len() + 1
                )),
            }
        }
        pairs
    }

    /// Checks the variables that the SDK reads itself.
    pub(super) fn check_sdk(&mut self) {
        for name in NUMBERS_OF_SDK {
            if let Some(value) = self.get(name)
                && value.parse::<u64>().is_err()
            {
                self.problem(name, &value, "no whole number; the SDK's default is used");
            }
        }
        let known = |name: &str| SAMPLERS.contains(&name).then_some(());
        let unknown = "no sampler of OpenTelemetry; every trace is sampled";
        self.choice("OTEL_TRACES_SAMPLER", known, unknown);
        let is_ratio = |ratio: &str| {
            let ratio = ratio.parse::<f64>().ok()?;
            (0.0..=1.0).contains(&ratio).then_some(())
        };
        let unknown = "no number from 0 to 1; every trace is sampled";
        self.choice("OTEL_TRACES_SAMPLER_ARG", is_ratio, unknown);
        let unknown = "neither gzip nor none; nothing is compressed";
        self.choice("OTEL_EXPORTER_OTLP_COMPRESSION", gzip, unknown);
        let known = |name: &str| TEMPORALITIES.contains(&name).then_some(());
        let unknown = "neither cumulative, delta nor lowmemory; cumulative is used";
        let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        self.choice(name, known, unknown);
        for name in UNSUPPORTED {
            if let Some(value) = self.get(name) {
                self.problem(name, &value, "not supported, and ignored");
            }
        }
        for name in PROXIES {
            // The value may hold credentials.
            if self.get(name).is_some() {
                let what = "exports use no proxy; they go to the endpoint directly";
                self.problems.push(format!("{name}: {what}"));
            }
        }
    }
}

/// Parses the name of a compression in lower case.
pub(super) fn gzip(name: &str) -> Option<bool> {
    match name {
        "gzip" => Some(true),
        "none" => Some(false),
        _ => None,
    }
}

/// Builds the headers of exports; an invalid one is left out and reported without its value, with what set it.
pub(super) fn header_map(
    headers: &[(String, String)],
    set_by: &str,
    problems: &mut Vec<String>,
) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        match (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(map.insert(name, value)),
            _ => problems.push(format!(
                "export header {name:?} ({set_by}): no valid name and value; it is left out"
            )),
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_used_become_sentences() {
        let variable = |name: &str| {
            let value = match name {
                "DELAY" => "5s",
                "FLAG" => "yes",
                "PAIRS" => "a=1, secret, b=%20x",
                "OTEL_TRACES_SAMPLER" => "sometimes",
                "OTEL_TRACES_SAMPLER_ARG" => "1.5",
                "OTEL_SPAN_LINK_COUNT_LIMIT" => "-1",
                "COUNT" => "many",
                "NONE" => "0",
                "HUGE" => "99999999999999999999999",
                "OTEL_EXPORTER_OTLP_COMPRESSION" => "zip",
                "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" => "Sometimes",
                "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE" => "logs.pem",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let mut environment = Environment::new(&variable);
        let second = Duration::from_secs(1);
        assert_eq!(environment.millis("DELAY", second), second);
        assert_eq!(environment.count("COUNT", 512, 1_000), 512);
        assert_eq!(environment.count("NONE", 512, 1_000), 1);
        assert_eq!(environment.count("HUGE", 512, 1_000), 1_000);
        assert_eq!(environment.count("UNSET", 512, 1_000), 512);
        assert!(!environment.flag("FLAG"));
        let pairs = environment.pairs("PAIRS");
        assert_eq!(pairs, [("a".into(), "1".into()), ("b".into(), " x".into())]);
        environment.check_sdk();
        assert_eq!(environment.problems.len(), 12, "{:?}", environment.problems);
        let text = environment.problems.join("\n");
        assert!(text.contains("DELAY=\"5s\": no whole number of milliseconds; 1s is used"));
        assert!(text.contains("LOGS_CERTIFICATE=\"logs.pem\": not supported, and ignored"));
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(environment.millis("UNSET", second), second);
    }

    #[test]
    fn an_invalid_header_is_left_out_without_its_value() {
        let mut problems = Vec::new();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = [pair("bad name", "token"), pair("authorization", "Bearer a")];
        let map = header_map(&headers, "VARIABLE", &mut problems);
        assert_eq!(
            (map.len(), &map["authorization"]),
            (1, &HeaderValue::from_static("Bearer a"))
        );
        assert!(problems[0].contains("\"bad name\" (VARIABLE)") && !problems[0].contains("token"));
    }
}
