//! Attributes as tags, and the tags that Jaeger derives from kind, status, scope and trace state.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

use super::answer::{KeyValue, TagValue, ValueType};
use crate::model::{
    EVENT_NAME, Event, SCOPE_NAME, SCOPE_VERSION, Span, SpanKind, StatusCode, Value,
};

/// The largest integer that JavaScript represents exactly.
const JAVASCRIPT_MAX: i64 = (1 << 53) - 1;
pub(super) const ERROR: &str = "error";

/// Tags that Jaeger derives from a span.
pub(super) const KIND: &str = "span.kind";
pub(super) const STATUS_CODE: &str = "otel.status_code";
pub(super) const STATUS_DESCRIPTION: &str = "otel.status_description";
pub(super) const TRACE_STATE: &str = "w3c.tracestate";

/// Returns the tags of a span in Jaeger's order: scope, attributes, kind, status, trace state.
pub(super) fn of_span(span: &Span) -> Vec<KeyValue<'_>> {
    let mut tags = Vec::with_capacity(span.attributes.len() + 7);
    push(&mut tags, SCOPE_NAME, &span.scope.name);
    push(&mut tags, SCOPE_VERSION, &span.scope.version);
    tags.extend(of_attributes(&span.attributes));
    if span.kind != SpanKind::Unspecified {
        tags.push(text(KIND, span.kind.as_str()));
    }
    match span.status.code {
        StatusCode::Unset => {}
        StatusCode::Ok => tags.push(text(STATUS_CODE, "OK")),
        StatusCode::Error => {
            tags.push(text(STATUS_CODE, "ERROR"));
            // Attributes of OpenTracing's and Zipkin's clients already say so.
            if !tags.iter().any(|tag| tag.key == ERROR) {
                tags.push(KeyValue {
                    key: ERROR,
                    value_type: ValueType::Bool,
                    value: TagValue::Bool(true),
                });
            }
        }
    }
    push(&mut tags, STATUS_DESCRIPTION, &span.status.message);
    push(&mut tags, TRACE_STATE, &span.trace_state);
    tags
}

pub(super) fn of_attributes(attributes: &[(String, Value)]) -> impl Iterator<Item = KeyValue<'_>> {
    attributes.iter().map(|(key, value)| tag(key, value))
}

/// Returns an event as fields: its name as `event`, unless an attribute has that key.
pub(super) fn of_event(event: &Event) -> Vec<KeyValue<'_>> {
    let is_named = event.attributes.iter().any(|(key, _)| key == EVENT_NAME);
    let mut fields = Vec::with_capacity(event.attributes.len() + 1);
    if !is_named {
        push(&mut fields, EVENT_NAME, &event.name);
    }
    fields.extend(of_attributes(&event.attributes));
    fields
}

pub(super) fn sort(tags: &mut [KeyValue<'_>]) {
    tags.sort_by(|a, b| a.key.cmp(b.key));
}

/// Sorts fields by key, `event` first.
pub(super) fn sort_fields(fields: &mut [KeyValue<'_>]) {
    let is_rest =
        |field: &KeyValue<'_>| field.key != EVENT_NAME || field.value_type != ValueType::String;
    fields.sort_by(|a, b| (is_rest(a), a.key).cmp(&(is_rest(b), b.key)));
}

fn push<'t>(tags: &mut Vec<KeyValue<'t>>, key: &'t str, value: &'t str) {
    if !value.is_empty() {
        tags.push(text(key, value));
    }
}

fn text<'t>(key: &'t str, value: impl Into<Cow<'t, str>>) -> KeyValue<'t> {
    KeyValue {
        key,
        value_type: ValueType::String,
        value: TagValue::Text(value.into()),
    }
}

fn tag<'t>(key: &'t str, value: &'t Value) -> KeyValue<'t> {
    let (value_type, value) = match value {
        Value::Empty => return text(key, ""),
        Value::String(value) => return text(key, value),
        Value::Array(_) | Value::Map(_) => return text(key, plain_json(value).to_string()),
        Value::Bool(truth) => (ValueType::Bool, TagValue::Bool(*truth)),
        Value::Int(number) => (ValueType::Int64, int(*number)),
        Value::Double(number) => (ValueType::Float64, double(*number)),
        Value::Bytes(bytes) => {
            let base64 = STANDARD.encode(bytes);
            (ValueType::Binary, TagValue::Text(base64.into()))
        }
    };
    KeyValue {
        key,
        value_type,
        value,
    }
}

fn int(number: i64) -> TagValue<'static> {
    if (-JAVASCRIPT_MAX..=JAVASCRIPT_MAX).contains(&number) {
        TagValue::Int(number)
    } else {
        TagValue::Text(number.to_string().into())
    }
}

/// JSON has no NaN and infinities; Jaeger fails to answer if there is one.
fn double(number: f64) -> TagValue<'static> {
    if number.is_finite() {
        TagValue::Double(number)
    } else {
        TagValue::Text(number.to_string().into())
    }
}

/// Returns a list or map as plain JSON, for a string tag.
fn plain_json(value: &Value) -> Json {
    match value {
        Value::Empty => Json::Null,
        Value::String(text) => text.as_str().into(),
        Value::Bool(truth) => (*truth).into(),
        Value::Int(number) => (*number).into(),
        // Go writes integral numbers without a fraction.
        Value::Double(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
            (*number as i64).into()
        }
        Value::Double(number) if number.is_finite() => (*number).into(),
        Value::Double(number) => number.to_string().into(),
        Value::Array(items) => items.iter().map(plain_json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter();
            Json::Object(
                entries
                    .map(|(key, value)| (key.clone(), plain_json(value)))
                    .collect(),
            )
        }
        Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
    }
}
