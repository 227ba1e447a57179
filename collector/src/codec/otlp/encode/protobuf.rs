//! OTLP protobuf.

use super::super::write;
use super::groups;
use crate::model::{EntityRef, Event, Link, Span, Trace, Value};

/// Encodes a trace as an `ExportTraceServiceRequest` (or `TracesData`, which has the same form) in protobuf.
pub fn trace_to_protobuf(trace: &Trace) -> Vec<u8> {
    let mut out = Vec::new();
    for (resource, scopes) in groups(trace) {
        write::message(&mut out, 1, |out| {
            write::message(out, 1, |out| {
                attributes(out, 1, &resource.attributes);
                count(out, 2, resource.dropped_attributes_count);
                for one in &resource.entities {
                    write::message(out, 3, |out| entity(out, one));
                }
            });
            for (scope, spans) in scopes {
                write::message(out, 2, |out| {
                    write::message(out, 1, |out| {
                        write::text(out, 1, &scope.name);
                        write::text(out, 2, &scope.version);
                        attributes(out, 3, &scope.attributes);
                        count(out, 4, scope.dropped_attributes_count);
                    });
                    for at in spans {
                        write::message(out, 2, |out| span(out, &trace.spans[at as usize]));
                    }
                    write::text(out, 3, &scope.schema_url);
                });
            }
            write::text(out, 3, &resource.schema_url);
        });
    }
    out
}

fn span(out: &mut Vec<u8>, span: &Span) {
    write::bytes(out, 1, &span.trace_id.to_bytes());
    write::bytes(out, 2, &span.span_id.to_bytes());
    write::text(out, 3, &span.trace_state);
    if let Some(parent) = span.parent_span_id {
        write::bytes(out, 4, &parent.to_bytes());
    }
    write::text(out, 5, &span.name);
    count(out, 6, u32::from(span.kind.as_otlp()));
    write::fixed64(out, 7, span.start.get());
    write::fixed64(out, 8, span.end.get());
    attributes(out, 9, &span.attributes);
    let here = &span.dropped_here;
    let missing = |sender: u32, limit: u32| sender.saturating_add(limit);
    count(
        out,
        10,
        missing(span.dropped_attributes_count, here.attributes),
    );
    for one in &span.events {
        write::message(out, 11, |out| event(out, one));
    }
    count(out, 12, missing(span.dropped_events_count, here.events));
    for one in &span.links {
        write::message(out, 13, |out| link(out, one));
    }
    count(out, 14, missing(span.dropped_links_count, here.links));
    write::message(out, 15, |out| {
        write::text(out, 2, &span.status.message);
        count(out, 3, u32::from(span.status.code.as_otlp()));
    });
    if span.flags != 0 {
        write::fixed32(out, 16, span.flags);
    }
}

pub(crate) fn event(out: &mut Vec<u8>, event: &Event) {
    write::fixed64(out, 1, event.time.get());
    write::text(out, 2, &event.name);
    attributes(out, 3, &event.attributes);
    count(out, 4, event.dropped_attributes_count);
}

/// Writes the content of a `Span.Link`.
pub(crate) fn link(out: &mut Vec<u8>, link: &Link) {
    write::bytes(out, 1, &link.trace_id.to_bytes());
    write::bytes(out, 2, &link.span_id.to_bytes());
    write::text(out, 3, &link.trace_state);
    attributes(out, 4, &link.attributes);
    count(out, 5, link.dropped_attributes_count);
    if link.flags != 0 {
        write::fixed32(out, 6, link.flags);
    }
}

pub(crate) fn entity(out: &mut Vec<u8>, entity: &EntityRef) {
    write::text(out, 1, &entity.schema_url);
    write::text(out, 2, &entity.kind);
    for (field, keys) in [(3, &entity.id_keys), (4, &entity.description_keys)] {
        for key in keys {
            write::bytes(out, field, key.as_bytes());
        }
    }
}

fn attributes(out: &mut Vec<u8>, field: u32, attributes: &[(String, Value)]) {
    for (key, one) in attributes {
        write::message(out, field, |out| {
            write::text(out, 1, key);
            write::message(out, 2, |out| value(out, one));
        });
    }
}

/// Writes the content of an `AnyValue`.
pub(crate) fn value(out: &mut Vec<u8>, any: &Value) {
    match any {
        Value::Empty => {}
        Value::String(text) => write::bytes(out, 1, text.as_bytes()),
        Value::Bool(truth) => write::varint(out, 2, u64::from(*truth)),
        Value::Int(number) => write::varint(out, 3, number.cast_unsigned()),
        Value::Double(number) => write::fixed64(out, 4, number.to_bits()),
        Value::Array(items) => write::message(out, 5, |out| {
            for item in items {
                write::message(out, 1, |out| value(out, item));
            }
        }),
        Value::Map(entries) => write::message(out, 6, |out| attributes(out, 1, entries)),
        Value::Bytes(bytes) => write::bytes(out, 7, bytes),
    }
}

/// Writes a number unless it is zero.
fn count(out: &mut Vec<u8>, field: u32, count: u32) {
    if count > 0 {
        write::varint(out, field, u64::from(count));
    }
}
