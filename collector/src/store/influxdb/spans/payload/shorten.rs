//! Shortens what is too large for one field of InfluxDB: first texts are cut, then attributes, events and
//! links are dropped.
//!
//! What was shortened carries an attribute that says so, and dropped items are counted as dropped.

use crate::codec::otlp::encode::protobuf;
use crate::codec::otlp::{AttributeView, ResourceView, ScopeView, SpanView, ValueView, decode};
use crate::model::{SHORTENED, Value};

const TEXT_BYTES: usize = 1_024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    CutTexts,
    /// Drop attributes, events and links; names, ids and times stay.
    DropItems,
}

/// The steps in the order of trial.
pub(super) const STEPS: [Step; 2] = [Step::CutTexts, Step::DropItems];

pub(super) fn resource(
    resource: &ResourceView<'_>,
    step: Step,
    show: impl FnOnce(&ResourceView<'_>),
) {
    let shorter = Attributes::of(kept(resource.attributes, step));
    show(&ResourceView {
        attributes: &shorter.views(),
        ..*resource
    });
}

pub(super) fn scope(scope: &ScopeView<'_>, step: Step, show: impl FnOnce(&ScopeView<'_>)) {
    let shorter = Attributes::of(kept(scope.attributes, step));
    show(&ScopeView {
        attributes: &shorter.views(),
        ..*scope
    });
}

pub(super) fn span(span: &SpanView<'_>, step: Step, show: impl FnOnce(&SpanView<'_>)) {
    let attributes = Attributes::of(kept(span.attributes, step));
    let cut_all = |messages: &[&[u8]], cut: fn(&[u8]) -> Vec<u8>| -> Vec<Vec<u8>> {
        kept(messages, step)
            .iter()
            .map(|message| cut(message))
            .collect()
    };
    let (events, links) = (cut_all(span.events, event), cut_all(span.links, link));
    let count = |all: usize, kept: usize| u32::try_from(all - kept).unwrap_or(u32::MAX);
    let mut dropped_here = span.dropped_here;
    dropped_here.add(
        count(span.attributes.len(), kept(span.attributes, step).len()),
        count(span.events.len(), events.len()),
        count(span.links.len(), links.len()),
    );
    show(&SpanView {
        attributes: &attributes.views(),
        events: &events.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        links: &links.iter().map(Vec::as_slice).collect::<Vec<_>>(),
        status_message: cut(span.status_message),
        dropped_here,
        ..*span
    });
}

/// Attributes; shortened lists and maps are encoded again.
struct Attributes<'a>(Vec<(&'a str, ValueView<'a>, Option<Vec<u8>>)>);

impl<'a> Attributes<'a> {
    fn of(attributes: &[AttributeView<'a>]) -> Self {
        let shorten = |attribute: &AttributeView<'a>| match attribute.value {
            ValueView::String(text) => (attribute.key, ValueView::String(cut(text)), None),
            ValueView::Encoded(message) if message.len() > TEXT_BYTES => {
                let mut value = decode::value(message);
                cut_value(&mut value);
                let mut encoded = Vec::new();
                protobuf::value(&mut encoded, &value);
                (attribute.key, ValueView::Empty, Some(encoded))
            }
            value => (attribute.key, value, None),
        };
        let mut list: Vec<_> = attributes.iter().map(shorten).collect();
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

fn event(message: &[u8]) -> Vec<u8> {
    let mut event = decode::event(message);
    cut_pairs(&mut event.attributes);
    let mut out = Vec::new();
    protobuf::event(&mut out, &event);
    out
}

fn link(message: &[u8]) -> Vec<u8> {
    let mut link = decode::link(message);
    cut_pairs(&mut link.attributes);
    let mut out = Vec::new();
    protobuf::link(&mut out, &link);
    out
}

fn cut_pairs(pairs: &mut [(String, Value)]) {
    pairs.iter_mut().for_each(|(_, value)| cut_value(value));
}

fn cut_value(value: &mut Value) {
    match value {
        Value::String(text) => text.truncate(cut(text).len()),
        Value::Bytes(bytes) => bytes.truncate(TEXT_BYTES),
        Value::Array(items) => items.iter_mut().for_each(cut_value),
        Value::Map(pairs) => cut_pairs(pairs),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => {}
    }
}

fn kept<T>(items: &[T], step: Step) -> &[T] {
    match step {
        Step::CutTexts => items,
        Step::DropItems => &[],
    }
}

fn cut(text: &str) -> &str {
    crate::model::cut(text, TEXT_BYTES)
}
