//! Makes a trace of the spans that were received: a view that says what it changed.
//!
//! Senders repeat batches, clocks run backwards, parents never come: the spans on disk stay as they are, what a
//! reader gets is cleaned here, and every change or hole is a note.

use std::collections::{HashMap, HashSet};

use opentelemetry::{SpanId, TraceId};

use crate::model::{Note, Span, Trace};

/// What makes a span: the same batch sent twice repeats it; Zipkin's shared halves differ in kind.
type Identity = (SpanId, u8, u64);

/// Makes a trace of its spans, in whatever order they came.
pub(crate) fn assemble(spans: Vec<Span>) -> Trace {
    let id = spans.first().map_or(TraceId::INVALID, |span| span.trace_id);
    let mut notes = Vec::new();
    let mut spans = drop_repeats(spans, &mut notes);
    straighten(&mut spans, &mut notes);
    note_shared(&spans, &mut notes);
    note_parents(&spans, &mut notes);
    Trace {
        id,
        spans,
        notes,
        truncated: false,
    }
}

/// Sorts spans and drops repeats; of different spans with the same identity the one that ends last stays.
fn drop_repeats(mut spans: Vec<Span>, notes: &mut Vec<Note>) -> Vec<Span> {
    // Equal spans are alike, so their order needs not be kept, which would take half as much memory again.
    spans.sort_unstable_by(|a, b| {
        order(a)
            .cmp(&order(b))
            .then_with(|| b.end.cmp(&a.end))
            .then_with(|| tie_break(a, b))
    });
    let mut repeats = 0;
    spans.dedup_by(|span, last| {
        let is_repeat = identity(last) == identity(span);
        if is_repeat {
            repeats += 1;
        } else {
            note_repeats(last, std::mem::take(&mut repeats), notes);
        }
        is_repeat
    });
    if let Some(last) = spans.last() {
        note_repeats(last, repeats, notes);
    }
    spans
}

/// Notes how often a span came again.
fn note_repeats(span: &Span, repeats: u32, notes: &mut Vec<Note>) {
    if repeats > 0 {
        let times = repeats + 1;
        notes.push(Note {
            code: "duplicate_dropped",
            span_id: span.span_id,
            message: format!("received {times} times, shown once"),
        });
    }
}

/// Returns what spans are sorted by: earliest first, then so that repeats stand together.
fn order(span: &Span) -> (u64, [u8; 8], u8) {
    let (id, kind, start) = identity(span);
    (start, id.to_bytes(), kind)
}

fn identity(span: &Span) -> Identity {
    // Client before server, so that shared halves stand caller first.
    let kind = match span.kind.as_otlp() {
        2 => 6,
        other => other,
    };
    (span.span_id, kind, span.start.get())
}

/// Orders spans of one identity by everything else they hold; costs a print of both, but hardly ever happens.
fn tie_break(a: &Span, b: &Span) -> std::cmp::Ordering {
    if a == b {
        return std::cmp::Ordering::Equal;
    }
    let more = b.attributes.len().cmp(&a.attributes.len());
    more.then_with(|| format!("{a:?}").cmp(&format!("{b:?}")))
}

/// Shows spans that end before they start without duration.
fn straighten(spans: &mut [Span], notes: &mut Vec<Note>) {
    for span in spans {
        if span.end < span.start {
            let nanos = (span.start - span.end).as_nanos();
            notes.push(Note {
                code: "end_before_start",
                span_id: span.span_id,
                message: format!("ended {nanos} ns before it started, shown without duration"),
            });
            span.end = span.start;
        }
    }
}

/// Notes ids that spans of different kinds share.
fn note_shared(spans: &[Span], notes: &mut Vec<Note>) {
    let mut kinds: HashMap<SpanId, (u8, bool)> = HashMap::new();
    for span in spans {
        let kind = span.kind.as_otlp();
        let (first, noted) = kinds.entry(span.span_id).or_insert((kind, false));
        if *first != kind && !*noted {
            *noted = true;
            notes.push(Note {
                code: "shared_span",
                span_id: span.span_id,
                message: "client and server share one span id".to_owned(),
            });
        }
    }
}

/// Notes parents that were not received, and spans that are their own ancestors.
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

/// Follows parents upwards; returns a member of the circle that they end in, once for each circle.
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

/// Names a circle by its smallest id, so that the note does not depend on where the walk began.
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
