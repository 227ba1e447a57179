//! OTLP/JSON: ids in lower-case hex, 64-bit numbers as strings, enums as numbers, defaults omitted.

use serde_json::{Map, Value as Json, json};

use super::groups;
use crate::model::{EntityRef, Event, Link, Resource, Scope, Span, StatusCode, Trace, Value};

pub(super) const DROPPED_ATTRIBUTES: &str = "droppedAttributesCount";

/// Encodes a trace as an `ExportTraceServiceRequest` (or `TracesData`, which has the same form) in OTLP/JSON.
pub fn trace_to_json(trace: &Trace) -> Json {
    let mut pieces = ResourceSpans::of(trace);
    let mut text = b"{\"resourceSpans\":[".to_vec();
    while pieces.write(trace, &mut text) {}
    text.extend_from_slice(b"]}");
    serde_json::from_slice(&text).expect("what was just serialised is JSON")
}

/// The elements of a trace's `resourceSpans`, written span by span.
#[derive(Debug)]
pub struct ResourceSpans {
    /// The spans by resource and scope, in reverse order.
    steps: Vec<Step>,
    /// What was written last and must be closed.
    after: After,
}

/// What is written next: the head of a span's resource, of its scope, or the span itself.
#[derive(Debug, Clone, Copy)]
enum Step {
    Resource(u32),
    Scope(u32),
    Span(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Resource,
    Scope,
    Span,
}

impl ResourceSpans {
    /// Returns the elements of a trace.
    pub fn of(trace: &Trace) -> Self {
        let mut steps = Vec::with_capacity(trace.spans.len() + 8);
        for (_, scopes) in groups(trace) {
            let of_resource = steps.len();
            for (_, spans) in scopes {
                if steps.len() == of_resource {
                    steps.push(Step::Resource(spans[0]));
                }
                steps.push(Step::Scope(spans[0]));
                steps.extend(spans.into_iter().map(Step::Span));
            }
        }
        steps.reverse();
        let after = After::Nothing;
        Self { steps, after }
    }

    /// Appends the next piece of the trace; returns false after the last.
    pub fn write(&mut self, trace: &Trace, out: &mut Vec<u8>) -> bool {
        let next = self.steps.pop();
        let closing: &[u8] = match (self.after, next) {
            (After::Span, Some(Step::Span(_))) => b",",
            (After::Span, Some(Step::Scope(_))) => b"]},",
            (After::Span, Some(Step::Resource(_))) => b"]}]},",
            (After::Span, None) => b"]}]}",
            _ => b"",
        };
        out.extend_from_slice(closing);
        let span = |at: u32| &trace.spans[at as usize];
        self.after = match next {
            None => return false,
            Some(Step::Resource(at)) => {
                out.extend_from_slice(b"{\"resource\":");
                let resource = &span(at).resource;
                put(out, &resource_to_json(resource));
                put_schema(out, &resource.schema_url);
                out.extend_from_slice(b",\"scopeSpans\":[");
                After::Resource
            }
            Some(Step::Scope(at)) => {
                out.extend_from_slice(b"{\"scope\":");
                let scope = &span(at).scope;
                put(out, &scope_to_json(scope));
                put_schema(out, &scope.schema_url);
                out.extend_from_slice(b",\"spans\":[");
                After::Scope
            }
            Some(Step::Span(at)) => {
                put(out, &span_to_json(span(at)));
                After::Span
            }
        };
        true
    }
}

/// Writes the schema URL of a resource or scope.
pub(super) fn put_schema(out: &mut Vec<u8>, url: &str) {
    if !url.is_empty() {
        out.extend_from_slice(b",\"schemaUrl\":");
        put(out, &json!(url));
    }
}

pub(super) fn put(out: &mut Vec<u8>, json: &Json) {
    serde_json::to_writer(out, json).expect("a JSON value is JSON");
}

pub(super) fn resource_to_json(resource: &Resource) -> Json {
    let mut object = Map::new();
    object.insert(
        "attributes".to_owned(),
        attributes_to_json(&resource.attributes),
    );
    put_count(
        &mut object,
        DROPPED_ATTRIBUTES,
        resource.dropped_attributes_count,
    );
    put_list(
        &mut object,
        "entityRefs",
        &resource.entities,
        entity_to_json,
    );
    Json::Object(object)
}

fn entity_to_json(entity: &EntityRef) -> Json {
    let mut object = Map::new();
    put_text(&mut object, "schemaUrl", &entity.schema_url);
    put_text(&mut object, "type", &entity.kind);
    put_list(&mut object, "idKeys", &entity.id_keys, |key| json!(key));
    let keys = &entity.description_keys;
    put_list(&mut object, "descriptionKeys", keys, |key| json!(key));
    Json::Object(object)
}

pub(super) fn scope_to_json(scope: &Scope) -> Json {
    let mut object = Map::new();
    put_text(&mut object, "name", &scope.name);
    put_text(&mut object, "version", &scope.version);
    if !scope.attributes.is_empty() {
        let attributes = attributes_to_json(&scope.attributes);
        object.insert("attributes".to_owned(), attributes);
    }
    put_count(
        &mut object,
        DROPPED_ATTRIBUTES,
        scope.dropped_attributes_count,
    );
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
    put("startTimeUnixNano", json!(span.start.get().to_string()));
    put("endTimeUnixNano", json!(span.end.get().to_string()));
    put("attributes", attributes_to_json(&span.attributes));
    put("status", status_to_json(span));
    put_text(&mut object, "traceState", &span.trace_state);
    put_list(&mut object, "events", &span.events, event_to_json);
    put_list(&mut object, "links", &span.links, link_to_json);
    put_dropped(&mut object, span);
    Json::Object(object)
}

/// Writes the dropped counts, and how many of them a limit of the collector dropped.
fn put_dropped(object: &mut Map<String, Json>, span: &Span) {
    let here = &span.dropped_here;
    let mut ours = Map::new();
    for (name, our_name, sender, limit) in [
        (
            DROPPED_ATTRIBUTES,
            "attributes",
            span.dropped_attributes_count,
            here.attributes,
        ),
        (
            "droppedEventsCount",
            "events",
            span.dropped_events_count,
            here.events,
        ),
        (
            "droppedLinksCount",
            "links",
            span.dropped_links_count,
            here.links,
        ),
    ] {
        put_count(object, name, sender.saturating_add(limit));
        put_count(&mut ours, our_name, limit);
    }
    if !ours.is_empty() {
        object.insert("droppedByCollector".to_owned(), Json::Object(ours));
    }
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
    let mut object = Map::new();
    object.insert(
        "timeUnixNano".to_owned(),
        json!(event.time.get().to_string()),
    );
    object.insert("name".to_owned(), json!(event.name));
    let attributes = attributes_to_json(&event.attributes);
    object.insert("attributes".to_owned(), attributes);
    put_count(
        &mut object,
        DROPPED_ATTRIBUTES,
        event.dropped_attributes_count,
    );
    Json::Object(object)
}

fn link_to_json(link: &Link) -> Json {
    let mut object = Map::new();
    object.insert("traceId".to_owned(), json!(link.trace_id.to_string()));
    object.insert("spanId".to_owned(), json!(link.span_id.to_string()));
    put_text(&mut object, "traceState", &link.trace_state);
    let attributes = attributes_to_json(&link.attributes);
    object.insert("attributes".to_owned(), attributes);
    put_count(
        &mut object,
        DROPPED_ATTRIBUTES,
        link.dropped_attributes_count,
    );
    put_count(&mut object, "flags", link.flags);
    Json::Object(object)
}

pub(super) fn attributes_to_json(attributes: &[(String, Value)]) -> Json {
    attributes
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value_to_json(value)}))
        .collect()
}

pub(super) fn value_to_json(value: &Value) -> Json {
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

/// JSON has no NaN and infinities; proto3 represents them by names.
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

pub(super) fn put_text(object: &mut Map<String, Json>, name: &str, text: &str) {
    if !text.is_empty() {
        object.insert(name.to_owned(), json!(text));
    }
}

pub(super) fn put_count(object: &mut Map<String, Json>, name: &str, count: u32) {
    if count > 0 {
        object.insert(name.to_owned(), json!(count));
    }
}

fn put_list<T>(object: &mut Map<String, Json>, name: &str, items: &[T], each: fn(&T) -> Json) {
    if !items.is_empty() {
        object.insert(name.to_owned(), items.iter().map(each).collect());
    }
}
