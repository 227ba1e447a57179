//! Events as Zipkin's annotations, and attributes as text.

use serde::Serialize;
use serde_json::{Map, json};

use crate::model::{Event, Value};

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Annotation {
    timestamp: u64,
    pub(super) value: String,
}

/// Returns the annotations of a span's events, earliest first.
pub(super) fn of_events(events: &[Event]) -> Vec<Annotation> {
    let mut events: Vec<&Event> = events.iter().collect();
    // By the nanosecond, which Zipkin does not have: it sorts those of one microsecond by their text.
    events.sort_by_key(|event| event.time_unix_nanos);
    events.into_iter().map(Annotation::from_event).collect()
}

impl Annotation {
    /// Returns the annotation of an event: its name, or `"name": {attributes}`.
    fn from_event(event: &Event) -> Self {
        let value = if event.attributes.is_empty() {
            event.name.clone()
        } else {
            let name = json!(event.name);
            format!("{name}: {}", json_object(&event.attributes))
        };
        Self {
            timestamp: event.time_unix_nanos / 1_000,
            value,
        }
    }
}

/// Returns a value as text: lists and maps as JSON, bytes in hex, all else as a search of ours reads it.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Map(_) => json_of(value).to_string(),
        _ => value.to_string(),
    }
}

/// Returns attributes as one JSON object.
pub(super) fn json_object(attributes: &[(String, Value)]) -> serde_json::Value {
    let entries = attributes.iter();
    let object: Map<_, _> = entries
        .map(|(key, value)| (key.clone(), json_of(value)))
        .collect();
    object.into()
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Empty => serde_json::Value::Null,
        Value::String(text) => json!(text),
        Value::Bool(truth) => json!(truth),
        Value::Int(number) => json!(number),
        // JSON has no NaN and no infinities.
        Value::Double(number) if !number.is_finite() => json!(number.to_string()),
        Value::Double(number) => json!(number),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => json_object(entries),
        Value::Bytes(_) => json!(value.to_string()),
    }
}
