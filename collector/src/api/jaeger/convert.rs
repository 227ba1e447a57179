//! A trace as received into the JSON model of Jaeger. Nothing is asked or loaded here.

use std::collections::HashMap;

use opentelemetry::{SpanId, TraceId};

use super::model::{Log, Process, RefType, Reference, Span, Trace};
use super::processes::Processes;
use super::tags;
use crate::model::{self, Link, Value};

/// The attribute by which OpenTracing bridges say what a link is.
const REF_TYPE: &str = "opentracing.ref_type";

/// Returns a trace as Jaeger shows it; `is_raw` leaves tags, fields and references in the order received, without
/// notes on spans.
pub(super) fn trace(trace: &model::Trace, is_raw: bool) -> Trace<'_> {
    let (mut warnings, about_trace) = warnings(trace);
    let mut processes = Processes::default();
    let mut spans = Vec::with_capacity(trace.spans.len());
    for span in &trace.spans {
        // The first span of an id is the one that notes are about.
        let noted = warnings.remove(&span.span_id).unwrap_or_default();
        let noted = if is_raw { Vec::new() } else { noted };
        let process_id = processes.key(&span.resource);
        spans.push(convert_span(span, process_id, noted, is_raw));
    }
    let processes = processes.into_keyed();
    Trace {
        trace_id: trace_id_text(trace.id),
        spans,
        processes: processes
            .map(|(key, resource)| (key, convert_process(resource, is_raw)))
            .collect(),
        warnings: some_if_any(about_trace),
    }
}

/// Returns an id as Jaeger writes it: 16 digits where the upper half is zero.
pub(super) fn trace_id_text(id: TraceId) -> String {
    let number = u128::from_be_bytes(id.to_bytes());
    match u64::try_from(number) {
        Ok(low) => format!("{low:016x}"),
        Err(_) => format!("{number:032x}"),
    }
}

/// Returns what the reader noted, by span and on the trace as a whole.
fn warnings(trace: &model::Trace) -> (HashMap<SpanId, Vec<String>>, Vec<String>) {
    let mut by_span: HashMap<SpanId, Vec<String>> = HashMap::new();
    let mut about_trace = Vec::new();
    for note in &trace.notes {
        let message = note.message.clone();
        match note.span_id {
            SpanId::INVALID => about_trace.push(message),
            id => by_span.entry(id).or_default().push(message),
        }
    }
    if trace.truncated {
        let shown = trace.spans.len();
        about_trace.push(format!("the trace has more spans than the {shown} shown"));
    }
    (by_span, about_trace)
}

fn convert_span(
    span: &model::Span,
    process_id: String,
    mut warnings: Vec<String>,
    is_raw: bool,
) -> Span<'_> {
    let mut references = references(span);
    let mut tags = tags::of_span(span);
    if !is_raw {
        drop_empty(&mut references, &mut warnings);
        parent_first(&mut references, &trace_id_text(span.trace_id));
        tags::sort(&mut tags);
    }
    let logs = span.events.iter();
    Span {
        trace_id: trace_id_text(span.trace_id),
        span_id: span.span_id.to_string(),
        operation_name: &span.name,
        references,
        start_time: span.start_unix_nanos / 1_000,
        duration: span.duration_nanos() / 1_000,
        tags,
        logs: logs.map(|event| convert_event(event, is_raw)).collect(),
        process_id,
        warnings: some_if_any(warnings),
    }
}

fn convert_event(event: &model::Event, is_raw: bool) -> Log<'_> {
    let mut fields = tags::of_event(event);
    if !is_raw {
        tags::sort_fields(&mut fields);
    }
    Log {
        timestamp: event.time_unix_nanos / 1_000,
        fields,
    }
}

fn convert_process(resource: &model::Resource, is_raw: bool) -> Process<'_> {
    let tags = tags::of_attributes(&resource.attributes);
    let mut tags: Vec<_> = tags.filter(|tag| tag.key != "service.name").collect();
    if !is_raw {
        tags::sort(&mut tags);
    }
    Process {
        service_name: &resource.service_name,
        tags,
    }
}

/// Returns the parent, then the links. A link to the parent says what the parent is and stands once.
fn references(span: &model::Span) -> Vec<Reference> {
    let parent = span.parent_span_id.map(|parent| Reference {
        ref_type: RefType::ChildOf,
        trace_id: trace_id_text(span.trace_id),
        span_id: parent.to_string(),
    });
    let has_parent = parent.is_some();
    let mut references: Vec<_> = parent.into_iter().collect();
    for link in &span.links {
        let to_parent = link.trace_id == span.trace_id && span.parent_span_id == Some(link.span_id);
        match references.first_mut() {
            Some(parent) if has_parent && to_parent => parent.ref_type = ref_type(link),
            _ => references.push(Reference {
                ref_type: ref_type(link),
                trace_id: trace_id_text(link.trace_id),
                span_id: link.span_id.to_string(),
            }),
        }
    }
    references
}

fn ref_type(link: &Link) -> RefType {
    let given = link.attributes.iter().find(|(key, _)| key == REF_TYPE);
    match given {
        Some((_, Value::String(text))) if text == "child_of" => RefType::ChildOf,
        _ => RefType::FollowsFrom,
    }
}

/// Takes out links to no trace, and says so.
fn drop_empty(references: &mut Vec<Reference>, warnings: &mut Vec<String>) {
    let empty = trace_id_text(TraceId::INVALID);
    references.retain(|reference| {
        let is_empty = reference.trace_id == empty;
        if is_empty {
            let span = &reference.span_id;
            warnings.push(format!("a link to span {span} of no trace was left out"));
        }
        !is_empty
    });
}

/// Moves the reference that Jaeger's pages take for the parent to the front: the first child-of within the trace, else
/// the first of any kind within it.
fn parent_first(references: &mut [Reference], trace_id: &str) {
    let is_within = |reference: &&Reference| reference.trace_id == trace_id;
    let within = || references.iter().filter(is_within);
    let parent = within()
        .find(|reference| reference.ref_type == RefType::ChildOf)
        .or_else(|| within().next());
    let parent = parent.and_then(|parent| {
        references
            .iter()
            .position(|reference| std::ptr::eq(reference, parent))
    });
    if let Some(index) = parent {
        references.swap(0, index);
    }
}

fn some_if_any(texts: Vec<String>) -> Option<Vec<String>> {
    (!texts.is_empty()).then_some(texts)
}
