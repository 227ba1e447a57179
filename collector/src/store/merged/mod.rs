//! Both stores as one: the local journal, which has everything recent, and InfluxDB, which has everything else.

pub(crate) mod series;
#[cfg(test)]
mod tests;
mod traces;

use std::collections::HashSet;

use opentelemetry::SpanId;

pub(crate) use traces::MergedTraces;

use crate::model::{Note, Span, Trace};
use crate::store::assemble;

/// Makes one trace of its parts in two stores; a span that is in both is there once.
pub(crate) fn union(local: Option<Trace>, remote: Option<Trace>) -> Option<Trace> {
    let (local, remote) = match (local, remote) {
        (Some(local), Some(remote)) => (local, remote),
        (one, other) => return one.or(other),
    };
    let truncated = local.truncated || remote.truncated;
    let mut notes = local.notes;
    notes.extend(remote.notes);
    let mut spans = local.spans;
    let known: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let here = spans.len();
    for span in remote.spans {
        let is_new = !known.contains(&span.span_id) || !contains(&spans[..here], &span);
        if is_new {
            spans.push(span);
        }
    }
    let mut trace = assemble(spans);
    trace.truncated = truncated;
    add_notes(&mut trace.notes, notes);
    Some(trace)
}

/// Returns whether an equal span is among those, which are sorted by start.
fn contains(spans: &[Span], span: &Span) -> bool {
    let first = spans.partition_point(|other| other.start < span.start);
    let same_start = spans[first..]
        .iter()
        .take_while(|other| other.start == span.start);
    same_start.into_iter().any(|other| other == span)
}

/// Adds the notes on what each part's reader changed. What is missing is known only of the whole.
fn add_notes(notes: &mut Vec<Note>, of_parts: Vec<Note>) {
    for note in of_parts {
        let of_part = matches!(
            note.code,
            "duplicate_dropped" | "parts_merged" | "end_before_start" | "no_end_time"
        );
        let known = |other: &Note| other.code == note.code && other.span_id == note.span_id;
        if of_part && !notes.iter().any(known) {
            notes.push(note);
        }
    }
}
