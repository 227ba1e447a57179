//! Spans of one trace that share an id: the same span sent again, parts of one span, halves of one call, or spans of
//! senders that disagree.
//!
//! What is the same is shown once; a part without an end is merged into the one that has it; everything else stays and
//! is noted.

use std::cmp::Ordering;

use crate::model::{Note, SHORTENED, Span, SpanKind};

/// Sorts spans, earliest first, in an order that does not depend on how they arrived.
pub(super) fn sort(spans: &mut [Span]) {
    // Equal spans are alike, so their order needs not be kept, which would take half as much memory again.
    spans.sort_unstable_by(|a, b| order(a).cmp(&order(b)).then_with(|| tie_break(a, b)));
}

/// Sorts spans, earliest first, and resolves those that share an id.
pub(super) fn resolve(mut spans: Vec<Span>, notes: &mut Vec<Note>) -> Vec<Span> {
    spans.sort_unstable_by_key(|span| span.span_id.to_bytes());
    if !spans.windows(2).any(|two| two[0].span_id == two[1].span_id) {
        sort(&mut spans);
        return spans;
    }
    let mut resolved: Vec<Span> = Vec::with_capacity(spans.len());
    let mut group: Vec<Span> = Vec::new();
    for span in spans {
        if group
            .first()
            .is_some_and(|first| first.span_id != span.span_id)
        {
            resolve_group(&mut group, &mut resolved, notes);
        }
        group.push(span);
    }
    resolve_group(&mut group, &mut resolved, notes);
    sort(&mut resolved);
    resolved
}

/// Moves the spans of one id to `resolved`.
fn resolve_group(group: &mut Vec<Span>, resolved: &mut Vec<Span>, notes: &mut Vec<Note>) {
    if group.len() > 1 {
        // Whole ones first, so that of a repeat the one that has most stays; then an order that does not depend on arrival.
        group.sort_by(|a, b| {
            let whole = is_shortened(a).cmp(&is_shortened(b));
            let ended = ends_last(a, b);
            whole
                .then(ended)
                .then_with(|| order(a).cmp(&order(b)))
                .then_with(|| tie_break(a, b))
        });
        drop_repeats(group, notes);
        merge_parts(group, notes);
        note_kept(group, notes);
    }
    resolved.append(group);
}

/// Keeps one of the spans that are the same, and notes how often it came.
fn drop_repeats(group: &mut Vec<Span>, notes: &mut Vec<Note>) {
    let mut kept: Vec<(Span, u32)> = Vec::with_capacity(group.len());
    for span in group.drain(..) {
        match kept.iter_mut().find(|(other, _)| is_repeat(other, &span)) {
            Some((_, times)) => *times += 1,
            None => kept.push((span, 1)),
        }
    }
    for (span, times) in kept {
        if times > 1 {
            let message = format!("received {times} times, shown once");
            note(notes, "duplicate_dropped", &span, message);
        }
        group.push(span);
    }
}

/// Merges each span without an end into the one of its service that has one, or else has begun earlier.
fn merge_parts(group: &mut Vec<Span>, notes: &mut Vec<Note>) {
    let mut whole: Vec<(Span, u32)> = Vec::with_capacity(group.len());
    // Those with an end come first.
    for part in group.drain(..) {
        let is_part = is_unfinished(&part);
        let fits = |(other, _): &&mut (Span, u32)| is_part && are_parts(other, &part);
        match whole.iter_mut().find(fits) {
            Some((other, parts)) => {
                merge(other, part);
                *parts += 1;
            }
            None => whole.push((part, 1)),
        }
    }
    for (span, parts) in whole {
        if parts > 1 {
            let message = format!("received in {parts} parts, shown as one");
            note(notes, "parts_merged", &span, message);
        }
        group.push(span);
    }
}

/// Notes that spans share an id: as the two sides of a call do at Zipkin, or because senders disagree.
fn note_kept(group: &[Span], notes: &mut Vec<Note>) {
    let [first, rest @ ..] = group else { return };
    if rest.is_empty() {
        return;
    }
    let differs = |span: &Span| group.iter().filter(|other| other.kind == span.kind).count() > 1;
    if rest.iter().any(|span| span.kind != first.kind) {
        let message = "client and server share one span id".to_owned();
        note(notes, "shared_span", first, message);
    }
    let differing = group.iter().filter(|span| differs(span)).count();
    if differing > 0 {
        let message = format!("{differing} different spans have this id, all are shown");
        note(notes, "differs", first, message);
    }
}

fn note(notes: &mut Vec<Note>, code: &'static str, span: &Span, message: String) {
    notes.push(Note {
        code,
        span_id: span.span_id,
        message,
    });
}

/// Returns what spans are sorted by: earliest first, callers before those they call.
fn order(span: &Span) -> (u64, [u8; 8], u8) {
    let kind = match span.kind {
        SpanKind::Server => 6,
        other => other.as_otlp(),
    };
    (span.start.get(), span.span_id.to_bytes(), kind)
}

/// Orders by the end, latest first; a span without an end comes last.
fn ends_last(a: &Span, b: &Span) -> Ordering {
    let end = |span: &Span| {
        if is_unfinished(span) {
            0
        } else {
            span.end.get()
        }
    };
    end(b).cmp(&end(a))
}

/// Orders spans by everything else they hold; costs a print of both, but hardly ever happens.
fn tie_break(a: &Span, b: &Span) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let more = b.attributes.len().cmp(&a.attributes.len());
    more.then_with(|| format!("{a:?}").cmp(&format!("{b:?}")))
}

/// Returns whether two spans are the same. Of one that a store shortened only its head can tell.
fn is_repeat(a: &Span, b: &Span) -> bool {
    let head = |span: &Span| (span.kind, span.start, span.end, span.parent_span_id);
    if head(a) != head(b) || a.name != b.name || a.service() != b.service() {
        return false;
    }
    // NaN equals nothing, itself included, and is a value like any other here.
    is_shortened(a) || is_shortened(b) || a == b || format!("{a:?}") == format!("{b:?}")
}

fn is_shortened(span: &Span) -> bool {
    span.attribute(SHORTENED).is_some()
        || span
            .resource
            .attributes
            .iter()
            .any(|(key, _)| key == SHORTENED)
}

/// Returns whether a span has no end.
fn is_unfinished(span: &Span) -> bool {
    span.end.get() == 0
}

/// Returns whether two spans of one id may be parts of one: of the same service, and of the same kind where both say.
fn are_parts(a: &Span, b: &Span) -> bool {
    let unsaid = [a.kind, b.kind].contains(&SpanKind::Unspecified);
    a.service() == b.service() && (a.kind == b.kind || unsaid)
}

/// Adds to a span what another part of it holds besides.
fn merge(whole: &mut Span, part: Span) {
    whole.start = whole.start.min(part.start);
    whole.parent_span_id = whole.parent_span_id.or(part.parent_span_id);
    if whole.kind == SpanKind::Unspecified {
        whole.kind = part.kind;
    }
    for (text, other) in [
        (&mut whole.name, part.name),
        (&mut whole.trace_state, part.trace_state),
        (&mut whole.status.message, part.status.message),
    ] {
        if text.is_empty() {
            *text = other;
        }
    }
    if whole.status.code.as_otlp() < part.status.code.as_otlp() {
        whole.status.code = part.status.code;
    }
    let known: Vec<String> = whole
        .attributes
        .iter()
        .map(|(key, _)| key.clone())
        .collect();
    let attributes = part.attributes.into_iter();
    whole
        .attributes
        .extend(attributes.filter(|(key, _)| !known.contains(key)));
    add_missing(&mut whole.events, part.events);
    add_missing(&mut whole.links, part.links);
    whole.dropped_attributes_count = whole
        .dropped_attributes_count
        .max(part.dropped_attributes_count);
    whole.dropped_events_count = whole.dropped_events_count.max(part.dropped_events_count);
    whole.dropped_links_count = whole.dropped_links_count.max(part.dropped_links_count);
}

fn add_missing<T: PartialEq>(items: &mut Vec<T>, others: Vec<T>) {
    for other in others {
        if !items.contains(&other) {
            items.push(other);
        }
    }
}
