//! Log events of breakers: a record for each transition, with the trace of the call that caused it, and one
//! for settings.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::{number, scope, text, unix_nanos};
use crate::circuit_breaker::{CircuitBreaker, EffectiveState, Transition};
use crate::semconv;

/// Makes the record of a transition; to open is a warning.
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
    let record = record(
        semconv::EVENT_TRANSITION,
        severity,
        transition.time,
        attributes,
    );
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

/// Makes the record of the settings of a breaker and of what is forced on it.
pub(super) fn settings(breaker: &CircuitBreaker) -> LogRecord {
    let mut attributes = identity(breaker.name(), breaker.group());
    let settings = serde_json::to_string(&*breaker.settings());
    attributes.push(text(
        semconv::SETTINGS,
        settings.expect("settings are plain data"),
    ));
    if let Some(forced) = breaker.current_override() {
        attributes.push(text(semconv::OVERRIDE_KIND, forced.kind.as_str()));
        attributes.push(text(semconv::OVERRIDE_REASON, forced.reason));
        let expires = forced
            .expires
            .map(|time| number(semconv::OVERRIDE_EXPIRES, unix_nanos(time)));
        attributes.extend(expires);
    }
    record(
        semconv::EVENT_SETTINGS,
        SeverityNumber::Info,
        SystemTime::now(),
        attributes,
    )
}

/// Puts records into a request.
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

fn identity(name: &str, group: &str) -> Vec<KeyValue> {
    vec![
        text(semconv::BREAKER_NAME, name),
        text(semconv::BREAKER_GROUP, group),
    ]
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
