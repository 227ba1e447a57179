//! Log records in OTLP/JSON.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::json::{
    DROPPED_ATTRIBUTES, attributes_to_json, put, put_count, put_schema, put_text, resource_to_json,
    scope_to_json, value_to_json,
};
use crate::model::LogRecord;

/// Records written at once.
const RUN_MAX: usize = 64;

/// The elements of `resourceLogs`, written piece by piece in the order of the records.
#[derive(Debug, Default)]
pub struct ResourceLogs {
    written: usize,
}

impl ResourceLogs {
    /// Appends the next element, a run of records with one resource and scope; returns false after the last.
    pub fn write(&mut self, records: &[LogRecord], out: &mut Vec<u8>) -> bool {
        let rest = records.get(self.written..).unwrap_or_default();
        let Some(first) = rest.first() else {
            return false;
        };
        let is_same = |record: &&LogRecord| {
            Arc::ptr_eq(&record.resource, &first.resource)
                && Arc::ptr_eq(&record.scope, &first.scope)
        };
        let run = rest.iter().take_while(is_same).take(RUN_MAX).count();
        if self.written > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"resource\":");
        put(out, &resource_to_json(&first.resource));
        out.extend_from_slice(b",\"scopeLogs\":[{\"scope\":");
        put(out, &scope_to_json(&first.scope));
        out.extend_from_slice(b",\"logRecords\":");
        put(out, &rest[..run].iter().map(log_to_json).collect());
        put_schema(out, &first.scope.schema_url);
        out.extend_from_slice(b"}]");
        put_schema(out, &first.resource.schema_url);
        out.push(b'}');
        self.written += run;
        true
    }
}

/// Encodes a `LogRecord` in OTLP/JSON.
pub fn log_to_json(record: &LogRecord) -> Json {
    let mut object = Map::new();
    let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
    put("timeUnixNano", json!(record.time.get().to_string()));
    if record.observed.get() > 0 {
        let observed = record.observed.get().to_string();
        put("observedTimeUnixNano", json!(observed));
    }
    put("body", value_to_json(&record.body));
    put("attributes", attributes_to_json(&record.attributes));
    if let Some(trace) = record.trace_id {
        put("traceId", json!(trace.to_string()));
    }
    if let Some(span) = record.span_id {
        put("spanId", json!(span.to_string()));
    }
    let severity = u32::from(record.severity.as_otlp());
    put_count(&mut object, "severityNumber", severity);
    put_text(&mut object, "severityText", &record.severity_text);
    put_text(&mut object, "eventName", &record.event_name);
    put_count(&mut object, "flags", record.flags);
    let dropped = record.dropped_attributes_count;
    let dropped = dropped.saturating_add(record.dropped_here);
    put_count(&mut object, DROPPED_ATTRIBUTES, dropped);
    Json::Object(object)
}
