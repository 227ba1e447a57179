//! Shortens what is too large for one field of InfluxDB: longest texts first, then whole attributes, events and links.
//!
//! What was shortened carries an attribute that says so, and what was left out is counted as dropped.

use crate::codec::otlp::encode::protobuf;
use crate::codec::otlp::{AttributeView, ResourceView, SpanView, ValueView, decode};
use crate::model::Value;

/// The attribute (`true`) of a span or resource that was shortened.
pub(crate) const SHORTENED: &str = "fusebox.shortened";

/// How much may stay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    /// Bytes of a text.
    text_bytes: usize,
    /// Attributes, events and links, each.
    items: usize,
}

/// From mild to harsh; the last leaves names, ids and times.
pub(super) const STEPS: [Step; 12] = [
    Step::texts(16_384),
    Step::texts(8_192),
    Step::texts(4_096),
    Step::texts(2_048),
    Step::texts(1_024),
    Step::texts(512),
    Step::texts(256),
    Step::items(64),
    Step::items(32),
    Step::items(16),
    Step::items(4),
    Step::items(0),
];

impl Step {
    const fn texts(text_bytes: usize) -> Self {
        Self {
            text_bytes,
            items: usize::MAX,
        }
    }

    const fn items(items: usize) -> Self {
        Self {
            text_bytes: 256,
            items,
        }
    }
}

/// Shows a resource as a step leaves it.
pub(super) fn resource(
    resource: &ResourceView<'_>,
    step: Step,
    show: impl FnOnce(&ResourceView<'_>),
) {
    let shorter = Attributes::of(resource.attributes, step);
    show(&ResourceView {
        attributes: &shorter.views(),
        ..*resource
    });
}

/// Shows a span as a step leaves it.
pub(super) fn span(span: &SpanView<'_>, step: Step, show: impl FnOnce(&SpanView<'_>)) {
    let attributes = Attributes::of(span.attributes, step);
    let events: Vec<Vec<u8>> = first(span.events, step)
        .iter()
        .map(|m| event(m, step))
        .collect();
    let links: Vec<Vec<u8>> = first(span.links, step)
        .iter()
        .map(|m| link(m, step))
        .collect();
    let left_out = |all: usize| u32::try_from(all.saturating_sub(step.items)).unwrap_or(u32::MAX);
    let dropped = |before: u32, all: usize| before.saturating_add(left_out(all));
    show(&SpanView {
        attributes: &attributes.views(),
        events: &events.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        links: &links.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        status_message: cut(span.status_message, step),
        dropped_attributes_count: dropped(span.dropped_attributes_count, span.attributes.len()),
        dropped_events_count: dropped(span.dropped_events_count, span.events.len()),
        dropped_links_count: dropped(span.dropped_links_count, span.links.len()),
        ..*span
    });
}

/// Attributes of which lists and maps may be encoded anew.
struct Attributes<'a>(Vec<(&'a str, ValueView<'a>, Option<Vec<u8>>)>);

impl<'a> Attributes<'a> {
    fn of(attributes: &[AttributeView<'a>], step: Step) -> Self {
        let shorten = |attribute: &AttributeView<'a>| match attribute.value {
            ValueView::String(text) => (attribute.key, ValueView::String(cut(text, step)), None),
            ValueView::Encoded(message) if message.len() > step.text_bytes => {
                let mut value = decode::value(message);
                cut_value(&mut value, step);
                let mut encoded = Vec::new();
                protobuf::value(&mut encoded, &value);
                (attribute.key, ValueView::Empty, Some(encoded))
            }
            value => (attribute.key, value, None),
        };
        let mut list: Vec<_> = first(attributes, step).iter().map(shorten).collect();
        list.push((SHORTENED, ValueView::Bool(true), None));
        Self(list)
    }

    fn views(&self) -> Vec<AttributeView<'_>> {
        let views = self.0.iter().map(|(key, value, encoded)| AttributeView {
            key,
            value: encoded.as_deref().map_or(*value, ValueView::Encoded),
        });
        views.collect()
    }
}

fn event(message: &[u8], step: Step) -> Vec<u8> {
    let mut event = decode::event(message);
    cut_pairs(&mut event.attributes, step);
    let mut out = Vec::new();
    protobuf::event(&mut out, &event);
    out
}

fn link(message: &[u8], step: Step) -> Vec<u8> {
    let mut link = decode::link(message);
    cut_pairs(&mut link.attributes, step);
    let mut out = Vec::new();
    protobuf::link(&mut out, &link);
    out
}

fn cut_pairs(pairs: &mut Vec<(String, Value)>, step: Step) {
    pairs.truncate(step.items);
    for (_, value) in pairs {
        cut_value(value, step);
    }
}

fn cut_value(value: &mut Value, step: Step) {
    match value {
        Value::String(text) => text.truncate(cut(text, step).len()),
        Value::Bytes(bytes) => bytes.truncate(step.text_bytes),
        Value::Array(items) => items.iter_mut().for_each(|item| cut_value(item, step)),
        Value::Map(pairs) => cut_pairs(pairs, step),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => {}
    }
}

fn first<T>(items: &[T], step: Step) -> &[T] {
    &items[..items.len().min(step.items)]
}

/// Returns the beginning of a text, cut between characters.
fn cut(text: &str, step: Step) -> &str {
    crate::model::cut(text, step.text_bytes)
}
