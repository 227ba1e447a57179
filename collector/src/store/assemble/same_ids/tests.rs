//! Spans of one id: the same as by comparing each with each, and as many as a trace may have.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{Dropped, Event, SHORTENED, StatusCode, UnixNanos, Value};
use crate::store::assemble::assemble;
use crate::store::embedded::tests::support::{NOW, span};

const MANY: usize = 50_000;

/// Spans with one id that agree in most fields.
fn group() -> impl Strategy<Value = Vec<Span>> {
    let one = (
        (0u64..3, 0u64..2, 0u64..3, 0usize..2, 0usize..2),
        (0usize..4, 0usize..3, any::<bool>(), 0u64..3, 0u8..8),
    );
    proptest::collection::vec(one, 1..12).prop_map(|list| {
        let make = |(first, second)| {
            let (kind, start, duration, service, instance): (_, _, u64, usize, usize) = first;
            let (value, events, has_name, status, shortened): (usize, usize, bool, u64, u8) =
                second;
            let mut made = span(1, 1, ["shop", "cart"][service]);
            Arc::make_mut(&mut made.resource).instance_id = ["a", "b"][instance].to_owned();
            made.kind = SpanKind::from_otlp(kind);
            made.start = UnixNanos::new(NOW + start);
            made.end = UnixNanos::new(if duration == 0 { 0 } else { NOW + duration });
            made.status.code = StatusCode::from_otlp(status);
            made.dropped_here.attributes = u32::from(shortened);
            made.attributes = [
                vec![],
                vec![("n".to_owned(), Value::Double(f64::NAN))],
                vec![("n".to_owned(), Value::Double(0.5))],
                vec![
                    ("m".to_owned(), Value::Int(1)),
                    ("m".to_owned(), Value::Int(2)),
                ],
            ][value]
                .clone();
            let event = |name: &usize| Event {
                time: UnixNanos::new(5),
                name: name.to_string(),
                attributes: Vec::new(),
                dropped_attributes_count: 0,
            };
            made.events = [vec![], vec![0], vec![0, 1]][events]
                .iter()
                .map(event)
                .collect();
            if !has_name {
                made.name.clear();
            }
            if shortened == 0 {
                made.attributes
                    .push((SHORTENED.to_owned(), Value::Bool(true)));
            }
            made
        };
        list.into_iter().map(make).collect()
    })
}

/// Returns whether two spans are equal when formatted.
fn is_repeat(a: &Span, b: &Span) -> bool {
    let head = |span: &Span| {
        let service = span.service().to_owned();
        (
            span.kind,
            span.start,
            span.end,
            span.parent_span_id,
            span.name.clone(),
            service,
        )
    };
    let is_shortened = |span: &Span| span.attribute(SHORTENED).is_some();
    head(a) == head(b)
        && (is_shortened(a) || is_shortened(b) || format!("{a:?}") == format!("{b:?}"))
}

/// Returns whether one span may be a part of the other.
fn are_parts(a: &Span, b: &Span) -> bool {
    let unsaid = [a.kind, b.kind].contains(&SpanKind::Unspecified);
    let sender = |span: &Span| (span.service().to_owned(), span.resource.instance_id.clone());
    sender(a) == sender(b) && (a.kind == b.kind || unsaid)
}

/// Compares pairwise; returns the kept spans, each with the number it represents.
fn joined(
    group: &[Span],
    joins: impl Fn(&Span, &Span) -> bool,
    merge: impl Fn(&mut Span, &Span),
) -> Vec<(Span, usize)> {
    let mut kept: Vec<(Span, usize)> = Vec::new();
    for span in group {
        match kept.iter_mut().find(|(other, _)| joins(other, span)) {
            Some((other, times)) => {
                merge(other, span);
                *times += 1;
            }
            None => kept.push((span.clone(), 1)),
        }
    }
    kept
}

fn merge(whole: &mut Span, part: &Span) {
    whole.start = whole.start.min(part.start);
    if whole.kind == SpanKind::Unspecified {
        whole.kind = part.kind;
    }
    if whole.name.is_empty() {
        whole.name.clone_from(&part.name);
    }
    if whole.status.code.as_otlp() < part.status.code.as_otlp() {
        whole.status.code = part.status.code;
    }
    let known = whole.attributes.clone();
    let is_new = |key: &str| known.iter().all(|(other, _)| other != key);
    let attributes = part.attributes.iter().filter(|(key, _)| is_new(key));
    whole.attributes.extend(attributes.cloned());
    for event in &part.events {
        if !whole.events.contains(event) {
            whole.events.push(event.clone());
        }
    }
    whole.dropped_here.attributes += part.dropped_here.attributes;
}

/// Formats spans, because NaN does not equal itself.
fn printed(spans: &[Span]) -> Vec<String> {
    spans.iter().map(|span| format!("{span:?}")).collect()
}

proptest! {
    /// *Guarantees*: the result has the same spans, contents and notes as a comparison of all pairs.
    #[test]
    fn a_group_is_resolved_as_by_comparing_all(mut spans in group()) {
        let mut contents = Contents::default();
        spans.sort_by_cached_key(|span| {
            let is_shortened = contents.is_shortened(span);
            (is_shortened, Reverse(span.end), order(span), tie_break(span, &mut contents))
        });
        let (mut group, mut notes) = (spans.clone(), Vec::new());
        drop_repeats(&mut group, &mut contents, &mut notes);
        let repeats = joined(&spans, is_repeat, |_, _| {});
        let wanted: Vec<Span> = repeats.iter().map(|(span, _)| span.clone()).collect();
        prop_assert_eq!(printed(&group), printed(&wanted));
        let dropped: Vec<String> = notes.drain(..).map(|note| note.message).collect();
        let several = repeats.iter().filter(|(_, times)| *times > 1);
        let messages: Vec<String> = several
            .map(|(_, times)| format!("received {times} times, shown once"))
            .collect();
        prop_assert_eq!(dropped, messages);

        merge_parts(&mut group, &mut notes);
        let is_part = |whole: &Span, part: &Span| is_unfinished(part) && are_parts(whole, part);
        let parts = joined(&wanted, is_part, merge);
        let several = parts.iter().filter(|(_, parts)| *parts > 1).count();
        let wanted: Vec<Span> = parts.into_iter().map(|(span, _)| span).collect();
        prop_assert_eq!(printed(&group), printed(&wanted));
        prop_assert_eq!(notes.len(), several);
    }
}

fn codes(notes: &[Note]) -> Vec<(&'static str, &str)> {
    notes
        .iter()
        .map(|note| (note.code, &*note.message))
        .collect()
}

fn numbered(number: usize) -> Span {
    let mut made = span(1, 1, "shop");
    made.attributes = vec![("n".to_owned(), Value::Int(number as i64))];
    made
}

/// *Scenario*: as many spans as a trace may have share an id and differ in only one attribute; half of them
/// are repeated.
/// *Guarantees*: all are shown once. Comparing all pairs would take hours.
#[test]
fn a_trace_full_of_spans_of_one_id_is_assembled() {
    let half = MANY / 2;
    let spans: Vec<Span> = (0..MANY).map(|number| numbered(number % half)).collect();
    let trace = assemble(spans);
    assert_eq!(trace.spans.len(), half);
    let repeats = trace.notes.iter().filter(|n| n.code == "duplicate_dropped");
    assert_eq!(repeats.count(), half);
    let trace = assemble((0..MANY).map(numbered).collect());
    assert_eq!(trace.spans.len(), MANY);
    let message = "50000 different spans have this id, all are shown";
    assert_eq!(codes(&trace.notes), [("differs", message)]);
}

/// *Scenario*: a complete span and 50,000 parts of it, each with its own attribute and event.
/// *Guarantees*: they become one span with all of them.
#[test]
fn a_span_in_many_parts_is_assembled() {
    let part = |number: usize| {
        let mut part = numbered(number);
        part.attributes[0].0 = format!("n{number}");
        part.events = vec![Event {
            time: UnixNanos::new(number as u64),
            name: "e".to_owned(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
        }];
        part.end = UnixNanos::new(0);
        part.dropped_here = Dropped {
            events: 1,
            ..Dropped::default()
        };
        part.dropped_links_count = 7;
        part
    };
    let mut spans: Vec<Span> = (1..MANY).map(part).collect();
    spans.push(numbered(0));
    let trace = assemble(spans);
    let message = "received in 50000 parts, shown as one";
    assert_eq!(codes(&trace.notes), [("parts_merged", message)]);
    let [whole] = &trace.spans[..] else {
        panic!("{} spans", trace.spans.len());
    };
    assert_eq!(
        (whole.attributes.len(), whole.events.len()),
        (MANY, MANY - 1)
    );
    assert_eq!(whole.dropped_here.events as usize, MANY - 1);
    assert_eq!(whole.dropped_links_count, 7);
}

/// *Guarantees*: a span without an end is not merged into one of another instance.
#[test]
fn parts_of_another_instance_are_shown() {
    let ended = numbered(1);
    let mut open = numbered(2);
    open.end = UnixNanos::new(0);
    Arc::make_mut(&mut open.resource).instance_id = "another".to_owned();
    let trace = assemble(vec![open, ended]);
    assert_eq!(trace.spans.len(), 2);
    let codes: Vec<_> = trace.notes.iter().map(|note| note.code).collect();
    assert_eq!(codes, ["differs", "no_end_time"]);
}
