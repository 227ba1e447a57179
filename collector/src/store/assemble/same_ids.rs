//! Spans of one trace that share an id: repeats, parts of one span, the two halves of a call, or senders that
//! disagree.
//!
//! Repeats are dropped; a part without an end is merged into the span that has one; everything else stays,
//! with a note. All spans of a trace may share one id, so nothing here compares spans pairwise.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::parts::{Wholes, rank, sender};
use crate::model::{ARRIVED, Note, Span, SpanKind};
use crate::store::content::{Contents, Head, Key, Outline};
use crate::store::{StoreError, cancel};

/// Sorts spans, earliest first, in an order independent of their arrival.
pub(super) fn sort(spans: &mut [Span], contents: &mut Contents) -> Result<(), StoreError> {
    spans.sort_unstable_by_key(order);
    let ties = spans.chunk_by_mut(|a, b| order(a) == order(b));
    for tied in ties.filter(|tied| tied.len() > 1) {
        cancel::check()?;
        tied.sort_by_cached_key(|span| tie_break(span, contents));
    }
    cancel::check()
}

/// Sorts spans, earliest first, and resolves shared ids.
pub(super) fn resolve(
    mut spans: Vec<Span>,
    contents: &mut Contents,
    notes: &mut Vec<Note>,
) -> Result<Vec<Span>, StoreError> {
    spans.sort_unstable_by_key(|span| span.span_id.to_bytes());
    if !spans.windows(2).any(|two| two[0].span_id == two[1].span_id) {
        sort(&mut spans, contents)?;
        return Ok(spans);
    }
    let mut resolved: Vec<Span> = Vec::with_capacity(spans.len());
    let mut group: Vec<Span> = Vec::new();
    for span in spans {
        if group
            .first()
            .is_some_and(|first| first.span_id != span.span_id)
        {
            resolve_group(&mut group, &mut resolved, contents, notes)?;
        }
        group.push(span);
    }
    resolve_group(&mut group, &mut resolved, contents, notes)?;
    sort(&mut resolved, contents)?;
    Ok(resolved)
}

/// Moves the resolved spans of one id to `resolved`.
fn resolve_group(
    group: &mut Vec<Span>,
    resolved: &mut Vec<Span>,
    contents: &mut Contents,
    notes: &mut Vec<Note>,
) -> Result<(), StoreError> {
    if group.len() > 1 {
        cancel::check()?;
        // Unshortened spans first, so that of repeats the most complete one stays; then by end, latest first,
        // those without an end last; then by content, independent of arrival.
        group.sort_by_cached_key(|span| {
            let is_shortened = contents.is_shortened(span);
            let outline = Key::of(&Outline::from(span));
            let order = (Reverse(span.end), order(span), outline);
            (is_shortened, order, tie_break(span, contents))
        });
        cancel::check()?;
        drop_repeats(group, contents, notes);
        cancel::check()?;
        merge_parts(group, notes);
        note_kept(group, notes);
    }
    resolved.append(group);
    Ok(())
}

/// Keeps one of each group of repeats and notes how often it came. A span that a store shortened is compared
/// by its head only.
fn drop_repeats(group: &mut Vec<Span>, contents: &mut Contents, notes: &mut Vec<Note>) {
    let mut kept: Vec<(Span, u32)> = Vec::with_capacity(group.len());
    let mut wholes: HashMap<Key, usize> = HashMap::new();
    let mut heads: HashMap<Key, usize> = HashMap::new();
    // Shortened spans come last.
    for span in group.drain(..) {
        let mut place = kept.len();
        if !contents.is_shortened(&span) {
            place = *wholes.entry(contents.key(&span)).or_insert(place);
        }
        let first = *heads.entry(Key::of(&Head::from(&span))).or_insert(place);
        if contents.is_shortened(&span) {
            place = first;
        }
        match kept.get_mut(place) {
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

/// Merges each span without an end into one of the same sender that has an end, or else that began earlier.
fn merge_parts(group: &mut Vec<Span>, notes: &mut Vec<Note>) {
    let mut merged: Vec<Merged> = Vec::with_capacity(group.len());
    let mut wholes = Wholes::default();
    // Spans with an end come first.
    for span in group.drain(..) {
        let sender = sender(span.service(), &span.resource.instance_id);
        let whole = match is_unfinished(&span) {
            true => wholes.find(sender, span.kind),
            false => None,
        };
        match whole {
            Some(place) => merged[place].add(span),
            None => {
                wholes.add(sender, span.kind, merged.len());
                merged.push(Merged::new(span));
            }
        }
    }
    for Merged { span, parts, .. } in merged {
        if parts > 1 {
            let message = format!("received in {parts} parts, shown as one");
            note(notes, "parts_merged", &span, message);
        }
        group.push(span);
    }
}

/// Notes that spans share an id: as the two sides of a call do in Zipkin, or because senders disagree.
fn note_kept(group: &[Span], notes: &mut Vec<Note>) {
    let [first, rest @ ..] = group else { return };
    if rest.is_empty() {
        return;
    }
    if rest.iter().any(|span| span.kind != first.kind) {
        let message = "client and server share one span id".to_owned();
        note(notes, "shared_span", first, message);
    }
    let mut of_kind: HashMap<SpanKind, usize> = HashMap::new();
    for span in group {
        *of_kind.entry(span.kind).or_default() += 1;
    }
    let differing: usize = of_kind.into_values().filter(|count| *count > 1).sum();
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

/// Sort key: earliest first, callers before callees.
fn order(span: &Span) -> (u64, [u8; 8], u8) {
    (span.start.get(), span.span_id.to_bytes(), rank(span.kind))
}

/// Tie-break by content: spans with more attributes first.
fn tie_break(span: &Span, contents: &mut Contents) -> (Reverse<usize>, Key) {
    (Reverse(span.attributes.len()), contents.key(span))
}

fn is_unfinished(span: &Span) -> bool {
    span.end.get() == 0
}

/// Gives the whole the earlier start; a time of arrival does not count beside one of the sender.
fn merge_starts(whole: &mut Span, part: &mut Span) {
    let is_timed = |span: &Span| span.attribute(ARRIVED).is_none();
    match (is_timed(whole), is_timed(part)) {
        (true, false) => part.attributes.retain(|(key, _)| key != ARRIVED),
        (false, true) => {
            whole.attributes.retain(|(key, _)| key != ARRIVED);
            let duration = whole.duration_nanos();
            whole.start = part.start;
            if !is_unfinished(whole) {
                whole.end = whole.start + Duration::from_nanos(duration);
            }
        }
        _ => whole.start = whole.start.min(part.start),
    }
}

/// A span and the parts that were merged into it.
#[derive(Debug)]
struct Merged {
    span: Span,
    parts: u32,
    /// Present once there is a part to compare with.
    known: Option<Known>,
}

/// The contents of a span's lists, for membership tests.
#[derive(Debug)]
struct Known {
    keys: HashSet<String>,
    events: HashSet<Key>,
    links: HashSet<Key>,
}

impl Known {
    fn of(span: &Span) -> Self {
        Self {
            keys: span.attributes.iter().map(|(key, _)| key.clone()).collect(),
            events: span.events.iter().map(Key::of_event).collect(),
            links: span.links.iter().map(Key::of_link).collect(),
        }
    }
}

impl Merged {
    fn new(span: Span) -> Self {
        Self {
            span,
            parts: 1,
            known: None,
        }
    }

    fn add(&mut self, mut part: Span) {
        self.parts += 1;
        merge_starts(&mut self.span, &mut part);
        self.add_lists(&mut part);
        let whole = &mut self.span;
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
        // A sender's count covers everything that it has dropped so far; our own limits cut each part
        // separately.
        for (count, other) in [
            (
                &mut whole.dropped_attributes_count,
                part.dropped_attributes_count,
            ),
            (&mut whole.dropped_events_count, part.dropped_events_count),
            (&mut whole.dropped_links_count, part.dropped_links_count),
        ] {
            *count = other.max(*count);
        }
        let here = part.dropped_here;
        whole
            .dropped_here
            .add(here.attributes, here.events, here.links);
    }

    /// Adds attributes with new keys, and new events and links.
    fn add_lists(&mut self, part: &mut Span) {
        let whole = &mut self.span;
        let known = self.known.get_or_insert_with(|| Known::of(whole));
        part.attributes.retain(|(key, _)| !known.keys.contains(key));
        let keys = part.attributes.iter().map(|(key, _)| key.clone());
        known.keys.extend(keys);
        part.events
            .retain(|event| known.events.insert(Key::of_event(event)));
        part.links
            .retain(|link| known.links.insert(Key::of_link(link)));
        whole.attributes.append(&mut part.attributes);
        whole.events.append(&mut part.events);
        whole.links.append(&mut part.links);
    }
}
