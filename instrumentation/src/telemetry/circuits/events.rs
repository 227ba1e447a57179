//! Log events of breakers: one record for each transition, with the trace of the call that caused it, one for settings,
//! and one for the end of the process.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{identity, number, scope, text, unix_nanos};
use crate::circuit_breaker::{CircuitBreaker, EffectiveState, Transition};
use crate::semconv;

/// Creates the record of a transition; a transition to open is a warning.
pub(super) fn transition(transition: &Transition) -> LogRecord {
    let mut attributes = identity(&transition.breaker, &transition.group);
    attributes.extend([
        text(semconv::TRANSITION_FROM, transition.from.as_str()),
        text(semconv::TRANSITION_TO, transition.to.as_str()),
        text(semconv::TRANSITION_REASON, &*transition.reason),
    ]);
    if let Some(until) = transition.open_until {
        attributes.push(number(semconv::OPEN_UNTIL, unix_nanos(until)));
    }
    let severity = match transition.to {
        EffectiveState::Open | EffectiveState::ForcedOpen => SeverityNumber::Warn,
        _ => SeverityNumber::Info,
    };
    let (name, time) = (semconv::EVENT_TRANSITION, transition.time);
    let record = record(name, severity, time, attributes);
    match &transition.trace {
        Some(span) if span.is_valid() => LogRecord {
            trace_id: span.trace_id().to_bytes().to_vec(),
            span_id: span.span_id().to_bytes().to_vec(),
            flags: u32::from(span.trace_flags().to_u8()),
            ..record
        },
        _ => record,
    }
}

/// Creates the record of a breaker's settings and override.
pub(super) fn settings(breaker: &CircuitBreaker) -> LogRecord {
    let mut attributes = identity(breaker.name(), breaker.group());
    let settings = serde_json::to_string(&*breaker.settings());
    let settings = settings.expect("settings serialise to JSON");
    attributes.push(text(semconv::SETTINGS, settings));
    let origins = serde_json::to_string(&breaker.setting_origins());
    let origins = origins.expect("names serialise to JSON");
    attributes.push(text(semconv::SETTINGS_ORIGINS, origins));
    if let Some(forced) = breaker.current_override() {
        attributes.push(text(semconv::OVERRIDE_KIND, forced.kind.as_str()));
        attributes.push(text(semconv::OVERRIDE_REASON, forced.reason));
        if let Some(time) = forced.expires {
            attributes.push(number(semconv::OVERRIDE_EXPIRES, unix_nanos(time)));
        }
    }
    let (severity, now) = (SeverityNumber::Info, SystemTime::now());
    record(semconv::EVENT_SETTINGS, severity, now, attributes)
}

/// Creates the record of the end of this instance.
pub(super) fn ended() -> LogRecord {
    let (severity, now) = (SeverityNumber::Info, SystemTime::now());
    record(semconv::EVENT_ENDED, severity, now, Vec::new())
}

pub(super) fn request(
    resource: &Resource,
    log_records: Vec<LogRecord>,
) -> ExportLogsServiceRequest {
    let scope_logs = ScopeLogs {
        scope: Some(scope()),
        log_records,
        ..ScopeLogs::default()
    };
    let resource_logs = ResourceLogs {
        resource: Some(resource.clone()),
        scope_logs: vec![scope_logs],
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest {
        resource_logs: vec![resource_logs],
    }
}

fn record(
    name: &str,
    severity: SeverityNumber,
    time: SystemTime,
    attributes: Vec<KeyValue>,
) -> LogRecord {
    LogRecord {
        time_unix_nano: unix_nanos(time),
        observed_time_unix_nano: unix_nanos(SystemTime::now()),
        severity_number: severity.into(),
        event_name: name.to_owned(),
        attributes,
        ..LogRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use serde_json::json;

    use super::*;
    use crate::circuit_breaker::{Registry, Settings, WindowSettings};

    fn sent(settings: Settings) -> serde_json::Value {
        let registry = Registry::new();
        let builder = CircuitBreaker::builder("stock").registry(&registry);
        let record = super::settings(&builder.settings(settings).build());
        let mut attributes = record.attributes.into_iter();
        let sent = attributes.find(|attribute| attribute.key == semconv::SETTINGS);
        match sent.and_then(|attribute| attribute.value?.value) {
            Some(Value::StringValue(json)) => serde_json::from_str(&json).unwrap(),
            other => panic!("settings are sent as text: {other:?}"),
        }
    }

    #[test]
    fn origins_are_sent() {
        let registry = Registry::new();
        let settings = Settings {
            minimum_calls: 7,
            ..Settings::default()
        };
        let builder = CircuitBreaker::builder("stock").registry(&registry);
        let record = super::settings(&builder.settings(settings).build());
        let mut attributes = record.attributes.into_iter();
        let sent = attributes.find(|attribute| attribute.key == semconv::SETTINGS_ORIGINS);
        let sent = sent.and_then(|attribute| attribute.value?.value);
        let expected = r#"{"minimum_calls":"code"}"#.to_owned();
        assert_eq!(sent, Some(Value::StringValue(expected)));
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Guarantees: a new setting is a compile error here until it is named; none is sent under another name or left
    /// out.
    #[test]
    fn every_setting_is_sent() {
        let settings = Settings {
            window: WindowSettings::Count { calls: 30 },
            minimum_calls: 3,
            failure_rate_percent: 40.5,
            slow_call_duration: Some(seconds(5)),
            slow_call_rate_percent: 60.0,
            count_unfinished_slow_calls: true,
            open_duration: seconds(7),
            open_duration_factor: 1.5,
            open_duration_max: Some(seconds(70)),
            open_duration_jitter_percent: 25.0,
            automatic_half_open: true,
            half_open_max_duration: Some(seconds(80)),
            half_open_probes: 8,
            probe_lease: seconds(9),
            timeout: Some(seconds(10)),
            max_concurrent: 11,
            fallback_max_concurrent: 12,
            bulkhead_full_is_failure: true,
        };
        let Settings {
            window,
            minimum_calls,
            failure_rate_percent,
            slow_call_duration,
            slow_call_rate_percent,
            count_unfinished_slow_calls,
            open_duration,
            open_duration_factor,
            open_duration_max,
            open_duration_jitter_percent,
            automatic_half_open,
            half_open_max_duration,
            half_open_probes,
            probe_lease,
            timeout,
            max_concurrent,
            fallback_max_concurrent,
            bulkhead_full_is_failure,
        } = settings.clone();
        let expected = json!({
            "window": window,
            "minimum_calls": minimum_calls,
            "failure_rate_percent": failure_rate_percent,
            "slow_call_duration": slow_call_duration,
            "slow_call_rate_percent": slow_call_rate_percent,
            "count_unfinished_slow_calls": count_unfinished_slow_calls,
            "open_duration": open_duration,
            "open_duration_factor": open_duration_factor,
            "open_duration_max": open_duration_max,
            "open_duration_jitter_percent": open_duration_jitter_percent,
            "automatic_half_open": automatic_half_open,
            "half_open_max_duration": half_open_max_duration,
            "half_open_probes": half_open_probes,
            "probe_lease": probe_lease,
            "timeout": timeout,
            "max_concurrent": max_concurrent,
            "fallback_max_concurrent": fallback_max_concurrent,
            "bulkhead_full_is_failure": bulkhead_full_is_failure,
        });
        assert_eq!(sent(settings), expected);
    }

    /// Guarantees: a reader can distinguish the two kinds of window, and "off" from a duration.
    #[test]
    fn a_time_window_and_absent_limits_are_sent_as_such() {
        let settings = Settings {
            timeout: None,
            ..Settings::default()
        };
        let sent = sent(settings);
        let ten_seconds = json!({ "secs": 10, "nanos": 0 });
        assert_eq!(
            sent["window"],
            json!({ "time": { "duration": ten_seconds, "buckets": 10 } })
        );
        assert_eq!(sent["timeout"], json!(null));
        assert_eq!(sent["slow_call_duration"], json!(null));
    }
}
