//! Decodes views, and stored bytes that a walk has checked, into owned values, events, links and spans.
//!
//! Nothing here fails: of unchecked bytes the readable part is returned.

use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::wire::{Malformed, Reader, fixed32_key, fixed64_key, length_key, varint_key};
use super::{AttributeView, Limits, ResourceView, ScopeView, SpanView, ValueView};
use crate::model::{
    EntityRef, Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode, UnixNanos, Value,
};

/// Returns an owned span; an end before the start becomes the start.
pub fn span(view: &SpanView<'_>, resource: &Arc<Resource>, scope: &Arc<Scope>) -> Span {
    let parent = SpanId::from_bytes(view.parent_span_id);
    Span {
        trace_id: TraceId::from_bytes(view.trace_id),
        span_id: SpanId::from_bytes(view.span_id),
        parent_span_id: (parent != SpanId::INVALID).then_some(parent),
        trace_state: view.trace_state.to_owned(),
        flags: view.flags,
        name: view.name.to_owned(),
        kind: SpanKind::from_otlp(u64::from(view.kind)),
        start: UnixNanos::new(view.start),
        end: UnixNanos::new(view.end.max(view.start)),
        status: Status {
            code: StatusCode::from_otlp(u64::from(view.status_code)),
            message: view.status_message.to_owned(),
        },
        resource: Arc::clone(resource),
        scope: Arc::clone(scope),
        attributes: attributes_to_values(view.attributes),
        events: view.events.iter().map(|bytes| event(bytes)).collect(),
        links: view.links.iter().map(|bytes| link(bytes)).collect(),
        dropped_attributes_count: view.dropped_attributes_count,
        dropped_events_count: view.dropped_events_count,
        dropped_links_count: view.dropped_links_count,
        dropped_here: view.dropped_here,
    }
}

/// Returns an owned resource.
pub fn resource(view: &ResourceView<'_>) -> Resource {
    Resource {
        service_name: view.service_name.to_owned(),
        instance_id: view.instance_id.to_owned(),
        attributes: attributes_to_values(view.attributes),
        dropped_attributes_count: view.dropped_attributes_count,
        schema_url: view.schema_url.to_owned(),
        entities: view.entities.iter().map(|bytes| entity(bytes)).collect(),
    }
}

/// Decodes an `EntityRef` message.
pub fn entity(message: &[u8]) -> EntityRef {
    let mut entity = EntityRef::default();
    each_field(Reader::new(message), |key, reader| {
        match key {
            _ if key == length_key(1) => entity.schema_url = string(reader)?,
            _ if key == length_key(2) => entity.kind = string(reader)?,
            _ if key == length_key(3) => entity.id_keys.push(string(reader)?),
            _ if key == length_key(4) => entity.description_keys.push(string(reader)?),
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    entity
}

/// Returns an owned scope.
pub fn scope(view: &ScopeView<'_>) -> Scope {
    Scope {
        name: view.name.to_owned(),
        version: view.version.to_owned(),
        attributes: attributes_to_values(view.attributes),
        dropped_attributes_count: view.dropped_attributes_count,
        schema_url: view.schema_url.to_owned(),
    }
}

/// Returns owned attributes in the same order.
pub fn attributes_to_values(views: &[AttributeView<'_>]) -> Vec<(String, Value)> {
    views.iter().copied().map(owned).collect()
}

fn owned(view: AttributeView<'_>) -> (String, Value) {
    (view.key.to_owned(), value_of_view(&view.value))
}

/// Returns an owned value.
pub fn value_of_view(view: &ValueView<'_>) -> Value {
    match *view {
        ValueView::Empty => Value::Empty,
        ValueView::String(text) => Value::String(text.to_owned()),
        ValueView::Bool(value) => Value::Bool(value),
        ValueView::Int(number) => Value::Int(number),
        ValueView::Double(number) => Value::Double(number),
        ValueView::Encoded(bytes) => value(bytes),
    }
}

/// Decodes an `AnyValue` message.
pub fn value(message: &[u8]) -> Value {
    nested_value(Reader::new(message), Limits::NESTING)
}

/// Decodes a `Span.Event` message.
pub fn event(message: &[u8]) -> Event {
    let (time, name) = event_head(message);
    Event {
        time: UnixNanos::new(time),
        name: name.to_owned(),
        attributes: event_attributes(message).map(owned).collect(),
        dropped_attributes_count: event_dropped(message),
    }
}

/// Decodes a `Span.Link` message.
pub fn link(message: &[u8]) -> Link {
    let (trace_id, span_id) = link_head(message);
    let rest = link_rest(message);
    Link {
        trace_id: TraceId::from_bytes(trace_id),
        span_id: SpanId::from_bytes(span_id),
        trace_state: rest.trace_state.to_owned(),
        flags: rest.flags,
        attributes: link_attributes(message).map(owned).collect(),
        dropped_attributes_count: rest.dropped,
    }
}

/// Returns time and name of a `Span.Event` message, borrowed; text that is not UTF-8 is empty.
pub(crate) fn event_head(message: &[u8]) -> (u64, &str) {
    let (mut time, mut name) = (0, "");
    each_field(Reader::new(message), |key, reader| {
        match key {
            _ if key == fixed64_key(1) => time = reader.fixed64()?,
            _ if key == length_key(2) => name = str(reader)?,
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    (time, name)
}

pub(crate) fn link_head(message: &[u8]) -> ([u8; 16], [u8; 8]) {
    let (mut trace_id, mut span_id) = ([0; 16], [0; 8]);
    each_field(Reader::new(message), |key, reader| {
        match key {
            _ if key == length_key(1) => trace_id = id(reader.bytes()?),
            _ if key == length_key(2) => span_id = id(reader.bytes()?),
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    (trace_id, span_id)
}

pub(crate) fn event_dropped(message: &[u8]) -> u32 {
    let mut dropped = 0;
    each_field(Reader::new(message), |key, reader| {
        match key {
            _ if key == varint_key(4) => dropped = reader.varint()? as u32,
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    dropped
}

/// The fields of a `Span.Link` message except ids and attributes.
#[derive(Debug, Default)]
pub(crate) struct LinkRest<'a> {
    pub(crate) trace_state: &'a str,
    pub(crate) flags: u32,
    pub(crate) dropped: u32,
}

pub(crate) fn link_rest(message: &[u8]) -> LinkRest<'_> {
    let mut rest = LinkRest::default();
    each_field(Reader::new(message), |key, reader| {
        match key {
            _ if key == length_key(3) => rest.trace_state = str(reader)?,
            _ if key == varint_key(5) => rest.dropped = reader.varint()? as u32,
            _ if key == fixed32_key(6) => rest.flags = reader.fixed32()?,
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    rest
}

/// Returns the attributes of a `Span.Event` message, borrowed like `event_head`.
pub(crate) fn event_attributes(message: &[u8]) -> impl Iterator<Item = AttributeView<'_>> {
    attributes_of_field(message, length_key(3))
}

/// Returns the attributes of a `Span.Link` message, borrowed like `event_head`.
pub(crate) fn link_attributes(message: &[u8]) -> impl Iterator<Item = AttributeView<'_>> {
    attributes_of_field(message, length_key(4))
}

fn attributes_of_field(message: &[u8], field: u32) -> impl Iterator<Item = AttributeView<'_>> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || {
        loop {
            let key = reader.key().ok()??;
            if key == field {
                return Some(attribute_view(reader.message().ok()?));
            }
            reader.skip(key).ok()?;
        }
    })
}

fn attribute_view(reader: Reader<'_>) -> AttributeView<'_> {
    let (mut name, mut value) = ("", ValueView::Empty);
    each_field(reader, |key, reader| {
        match key {
            _ if key == length_key(1) => name = str(reader)?,
            _ if key == length_key(2) => value = value_view(reader.message()?),
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    AttributeView { key: name, value }
}

/// Reads an `AnyValue`, borrowed; of repeated values the last one wins.
fn value_view(reader: Reader<'_>) -> ValueView<'_> {
    let whole = reader.rest();
    let mut value = ValueView::Empty;
    each_field(reader, |key, reader| {
        match key {
            _ if key == length_key(1) => value = ValueView::String(str(reader)?),
            _ if key == varint_key(2) => value = ValueView::Bool(reader.varint()? != 0),
            _ if key == varint_key(3) => value = ValueView::Int(reader.varint()?.cast_signed()),
            _ if key == fixed64_key(4) => {
                value = ValueView::Double(f64::from_bits(reader.fixed64()?));
            }
            _ if [length_key(5), length_key(6), length_key(7)].contains(&key) => {
                reader.bytes()?;
                value = ValueView::Encoded(whole);
            }
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    value
}

/// Reads an `AnyValue`; of repeated values the last one wins. Lists deeper than `depth` are empty.
fn nested_value(reader: Reader<'_>, depth: usize) -> Value {
    let mut value = Value::Empty;
    each_field(reader, |key, reader| {
        match key {
            _ if key == length_key(1) => value = Value::String(string(reader)?),
            _ if key == varint_key(2) => value = Value::Bool(reader.varint()? != 0),
            _ if key == varint_key(3) => value = Value::Int(reader.varint()?.cast_signed()),
            _ if key == fixed64_key(4) => {
                value = Value::Double(f64::from_bits(reader.fixed64()?));
            }
            _ if key == length_key(5) => value = Value::Array(array(reader.message()?, depth)),
            _ if key == length_key(6) => value = Value::Map(map(reader.message()?, depth)),
            _ if key == length_key(7) => value = Value::Bytes(reader.bytes()?.to_vec()),
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    value
}

fn array(reader: Reader<'_>, depth: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let Some(depth) = depth.checked_sub(1) else {
        return items;
    };
    each_field(reader, |key, reader| {
        if key == length_key(1) {
            items.push(nested_value(reader.message()?, depth));
            return Ok(());
        }
        reader.skip(key)
    });
    items
}

fn map(reader: Reader<'_>, depth: usize) -> Vec<(String, Value)> {
    let mut entries = Vec::new();
    let Some(depth) = depth.checked_sub(1) else {
        return entries;
    };
    each_field(reader, |key, reader| {
        if key == length_key(1) {
            entries.push(key_value(reader, depth)?);
            return Ok(());
        }
        reader.skip(key)
    });
    entries
}

fn key_value(reader: &mut Reader<'_>, depth: usize) -> Result<(String, Value), Malformed> {
    let (mut name, mut value) = (String::new(), Value::Empty);
    each_field(reader.message()?, |key, reader| {
        match key {
            _ if key == length_key(1) => name = string(reader)?,
            _ if key == length_key(2) => value = nested_value(reader.message()?, depth),
            _ => reader.skip(key)?,
        }
        Ok(())
    });
    Ok((name, value))
}

/// Calls `read` for each field, until the end or the first unreadable one.
fn each_field<'a>(
    mut reader: Reader<'a>,
    mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<(), Malformed>,
) {
    while let Ok(Some(key)) = reader.key() {
        if read(key, &mut reader).is_err() {
            return;
        }
    }
}

fn string(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    Ok(String::from_utf8_lossy(reader.bytes()?).into_owned())
}

fn str<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Malformed> {
    Ok(std::str::from_utf8(reader.bytes()?).unwrap_or_default())
}

fn id<const N: usize>(bytes: &[u8]) -> [u8; N] {
    <[u8; N]>::try_from(bytes).unwrap_or([0; N])
}
