//! Assembles a trace from received spans, and notes what it changed.
//!
//! Senders repeat batches, clocks run backwards, parents never arrive. The spans on disk stay as received;
//! readers get a cleaned copy, in which every change and every gap has a note.

pub(super) mod parts;
mod same_ids;

use std::collections::{HashMap, HashSet};

use opentelemetry::{SpanId, TraceId};

use crate::model::{Note, Span, Trace, format_duration, nanos};
use crate::store::content::Contents;
use crate::store::{StoreError, cancel};

/// The spans of a trace as received, duplicates included.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<Span>,
    pub(crate) is_cut: bool,
}

impl Received {
    /// Assembles the trace; `None` without spans.
    ///
    /// # Errors
    /// When the query was cancelled or its time is over.
    pub(crate) fn assemble(self) -> Result<Option<Trace>, StoreError> {
        if self.spans.is_empty() {
            return Ok(None);
        }
        let mut trace = try_assemble(self.spans)?;
        trace.truncated = self.is_cut;
        Ok(Some(trace))
    }
}

/// Assembles a trace from spans in any order.
#[cfg(test)]
pub(crate) fn assemble(spans: Vec<Span>) -> Trace {
    try_assemble(spans).expect("no query of this thread was cancelled")
}

/// As `assemble`, for up to 100,000 spans, which may all share one id.
///
/// # Errors
/// When the query was cancelled or its time is over.
pub(crate) fn try_assemble(spans: Vec<Span>) -> Result<Trace, StoreError> {
    let id = spans.first().map_or(TraceId::INVALID, |span| span.trace_id);
    let mut notes = Vec::new();
    let mut spans = spans;
    let mut contents = Contents::default();
    same_ids::sort(&mut spans, &mut contents)?;
    straighten(&mut spans, &mut notes);
    // A batch that was sent twice brings every note twice.
    notes.dedup();
    let mut spans = same_ids::resolve(spans, &mut contents, &mut notes)?;
    end_unfinished(&mut spans, &mut notes);
    cancel::check()?;
    note_parents(&spans, &mut notes);
    Ok(Trace {
        id,
        spans,
        notes,
        truncated: false,
    })
}

/// Sets the duration of spans that end before they start to zero. Spans without an end are left to
/// `end_unfinished`.
fn straighten(spans: &mut [Span], notes: &mut Vec<Note>) {
    for span in spans {
        if span.end.get() != 0 && span.end < span.start {
            let by = format_duration(nanos(span.start - span.end));
            notes.push(Note {
                code: "end_before_start",
                span_id: span.span_id,
                message: format!("ended {by} before it started, shown without duration"),
            });
            span.end = span.start;
        }
    }
}

/// Sets the duration of spans that still have no end after merging to zero.
fn end_unfinished(spans: &mut [Span], notes: &mut Vec<Note>) {
    for span in spans.iter_mut().filter(|span| span.end.get() == 0) {
        notes.push(Note {
            code: "no_end_time",
            span_id: span.span_id,
            message: "no end time, shown without duration".to_owned(),
        });
        span.end = span.start;
    }
}

/// Notes missing parents, and spans that are their own ancestors.
fn note_parents(spans: &[Span], notes: &mut Vec<Note>) {
    let mut parents: HashMap<SpanId, Option<SpanId>> = HashMap::new();
    for span in spans {
        parents.entry(span.span_id).or_insert(span.parent_span_id);
    }
    for span in spans {
        if let Some(parent) = span.parent_span_id
            && !parents.contains_key(&parent)
        {
            notes.push(Note {
                code: "missing_parent",
                span_id: span.span_id,
                message: format!("parent {parent} was not received"),
            });
        }
    }
    let mut finished: HashSet<SpanId> = HashSet::new();
    for span in spans {
        if let Some(member) = find_cycle(span.span_id, &parents, &mut finished) {
            notes.push(Note {
                code: "parent_cycle",
                span_id: member,
                message: "is its own ancestor".to_owned(),
            });
        }
    }
}

/// Follows parents upwards; returns a member of the cycle that they end in, once per cycle.
fn find_cycle(
    from: SpanId,
    parents: &HashMap<SpanId, Option<SpanId>>,
    finished: &mut HashSet<SpanId>,
) -> Option<SpanId> {
    let mut path = HashSet::new();
    let mut at = Some(from);
    let mut found = None;
    while let Some(id) = at {
        if finished.contains(&id) {
            break;
        }
        if !path.insert(id) {
            found = smallest_of_cycle(id, parents);
            break;
        }
        at = parents.get(&id).copied().flatten();
    }
    finished.extend(path);
    found
}

/// Returns the smallest id of a cycle, so that the note does not depend on where the walk began.
fn smallest_of_cycle(begin: SpanId, parents: &HashMap<SpanId, Option<SpanId>>) -> Option<SpanId> {
    let mut smallest = begin;
    let mut at = parents.get(&begin).copied().flatten()?;
    while at != begin {
        if at.to_bytes() < smallest.to_bytes() {
            smallest = at;
        }
        at = parents.get(&at).copied().flatten()?;
    }
    Some(smallest)
}
