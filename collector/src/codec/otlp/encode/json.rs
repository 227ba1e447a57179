//! OTLP/JSON: ids in lower-case hex, 64-bit numbers as strings, enums as numbers, defaults left out.

use serde_json::{Map, Value as Json, json};

use super::groups;
use crate::model::{Event, Link, Resource, Scope, Span, StatusCode, Trace, Value};

/// Returns a trace as an `ExportTraceServiceRequest` (or `TracesData`, which is the same) in OTLP/JSON.
pub fn trace_to_json(trace: &Trace) -> Json {
    let resource_spans: Vec<Json> = groups(trace)
        .into_iter()
        .map(|(resource, scopes)| {
            let scope_spans: Vec<Json> = scopes
                .into_iter()
                .map(|(scope, spans)| {
                    let spans: Vec<Json> = spans.into_iter().map(span_to_json).collect();
                    json!({"scope": scope_to_json(scope), "spans": spans})
                })
                .collect();
            json!({"resource": resource_to_json(resource), "scopeSpans": scope_spans})
        })
        .collect();
    json!({"resourceSpans": resource_spans})
}

fn resource_to_json(resource: &Resource) -> Json {
    json!({"attributes": attributes_to_json(&resource.attributes)})
}

fn scope_to_json(scope: &Scope) -> Json {
    let mut object = Map::new();
    put_text(&mut object, "name", &scope.name);
    put_text(&mut object, "version", &scope.version);
    Json::Object(object)
}

fn span_to_json(span: &Span) -> Json {
    let mut object = Map::new();
    let mut put = |name: &str, value: Json| object.insert(name.to_owned(), value);
    put("traceId", json!(span.trace_id.to_string()));
    put("spanId", json!(span.span_id.to_string()));
    if let Some(parent) = span.parent_span_id {
        put("parentSpanId", json!(parent.to_string()));
    }
    put("flags", json!(span.flags));
    put("name", json!(span.name));
    put("kind", json!(span.kind.as_otlp()));
    put("startTimeUnixNano", json!(span.start.to_string()));
    put("endTimeUnixNano", json!(span.end.to_string()));
    put("attributes", attributes_to_json(&span.attributes));
    put("status", status_to_json(span));
    put_text(&mut object, "traceState", &span.trace_state);
    put_list(&mut object, "events", &span.events, event_to_json);
    put_list(&mut object, "links", &span.links, link_to_json);
    for (name, count) in [
        ("droppedAttributesCount", span.dropped_attributes_count),
        ("droppedEventsCount", span.dropped_events_count),
        ("droppedLinksCount", span.dropped_links_count),
    ] {
        if count > 0 {
            object.insert(name.to_owned(), json!(count));
        }
    }
    Json::Object(object)
}

fn status_to_json(span: &Span) -> Json {
    let mut object = Map::new();
    if span.status.code != StatusCode::Unset {
        object.insert("code".to_owned(), json!(span.status.code.as_otlp()));
    }
    put_text(&mut object, "message", &span.status.message);
    Json::Object(object)
}

fn event_to_json(event: &Event) -> Json {
    json!({
        "timeUnixNano": event.time.to_string(),
        "name": event.name,
        "attributes": attributes_to_json(&event.attributes),
    })
}

fn link_to_json(link: &Link) -> Json {
    json!({
        "traceId": link.trace_id.to_string(),
        "spanId": link.span_id.to_string(),
        "attributes": attributes_to_json(&link.attributes),
    })
}

fn attributes_to_json(attributes: &[(String, Value)]) -> Json {
    attributes
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value_to_json(value)}))
        .collect()
}

fn value_to_json(value: &Value) -> Json {
    match value {
        Value::Empty => json!({}),
        Value::String(text) => json!({"stringValue": text}),
        Value::Bool(truth) => json!({"boolValue": truth}),
        Value::Int(number) => json!({"intValue": number.to_string()}),
        Value::Double(number) => json!({"doubleValue": double_to_json(*number)}),
        Value::Array(items) => {
            let values: Vec<Json> = items.iter().map(value_to_json).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Map(entries) => json!({"kvlistValue": {"values": attributes_to_json(entries)}}),
        Value::Bytes(bytes) => json!({"bytesValue": base64(bytes)}),
    }
}

/// JSON has no digits for NaN and the infinities; proto3 gives them names.
fn double_to_json(number: f64) -> Json {
    if number.is_nan() {
        json!("NaN")
    } else if number.is_infinite() {
        json!(if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        })
    } else {
        json!(number)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..=group.len() {
            let digit = bits >> (18 - 6 * index) & 0x3f;
            text.push(char::from(DIGITS[digit as usize]));
        }
        text.extend(std::iter::repeat_n('=', 3 - group.len()));
    }
    text
}

fn put_text(object: &mut Map<String, Json>, name: &str, text: &str) {
    if !text.is_empty() {
        object.insert(name.to_owned(), json!(text));
    }
}

fn put_list<T>(object: &mut Map<String, Json>, name: &str, items: &[T], each: fn(&T) -> Json) {
    if !items.is_empty() {
        object.insert(name.to_owned(), items.iter().map(each).collect());
    }
}
