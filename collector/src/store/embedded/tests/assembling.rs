//! Properties of the view that makes a trace of its spans.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::support::*;
use crate::model::{Span, SpanKind, StatusCode, UnixNanos, Value};
use crate::store::cancel::Asked;
use crate::store::{StoreError, assemble, try_assemble};
use opentelemetry::SpanId;

/// Spans with colliding ids, parents and starts.
fn tangled() -> impl Strategy<Value = Vec<Span>> {
    let one = (1u64..6, 0u64..7, 0u8..4, 0u64..3, -5i64..5);
    proptest::collection::vec(one, 1..20).prop_map(|list| {
        let make = |(id, parent, kind, start, duration): (u64, u64, u8, u64, i64)| {
            let mut made = span(1, id, "shop");
            made.parent_span_id = (parent > 0).then(|| SpanId::from_bytes(parent.to_be_bytes()));
            made.kind = SpanKind::from_otlp(u64::from(kind));
            made.start = UnixNanos::new(NOW + start);
            made.end = UnixNanos::new(made.start.get().wrapping_add_signed(duration));
            made
        };
        list.into_iter().map(make).collect()
    })
}

proptest! {
    #[test]
    fn assembling_is_idempotent_and_blind_to_order(spans in tangled(), seed: u64) {
        let trace = assemble(spans.clone());
        prop_assert_eq!(&assemble(trace.spans.clone()).spans, &trace.spans);
        let mut shuffled = spans.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        prop_assert_eq!(&assemble(shuffled), &trace);
        let mut twice = spans.clone();
        twice.extend(spans);
        prop_assert_eq!(&assemble(twice).spans, &trace.spans);
    }

    #[test]
    fn every_distinct_span_stays_and_none_ends_before_it_starts(spans in tangled()) {
        let identity = |s: &Span| {
            let parent = s.parent_span_id.map(SpanId::to_bytes);
            (s.span_id.to_bytes(), s.kind.as_otlp(), s.start, s.end.max(s.start), parent)
        };
        let wanted: BTreeSet<_> = spans.iter().map(identity).collect();
        let trace = assemble(spans);
        let kept: Vec<_> = trace.spans.iter().map(identity).collect();
        prop_assert_eq!(kept.len(), wanted.len());
        prop_assert_eq!(kept.into_iter().collect::<BTreeSet<_>>(), wanted);
        prop_assert!(trace.spans.iter().all(|s| s.end >= s.start));
        prop_assert!(trace.spans.is_sorted_by_key(|s| s.start));
    }
}

#[test]
fn changes_and_holes_are_noted() {
    let mut root = span(1, 1, "shop");
    root.start = root.start - Duration::from_nanos(10);
    let repeat = root.clone();
    let mut client = span(1, 2, "shop");
    client.kind = SpanKind::Client;
    client.parent_span_id = Some(root.span_id);
    let mut server = span(1, 2, "cart");
    server.parent_span_id = Some(root.span_id);
    server.end = UnixNanos::new(0);
    let mut orphan = span(1, 3, "pay");
    orphan.parent_span_id = Some(SpanId::from_bytes([9; 8]));
    let mut own = span(1, 4, "pay");
    own.parent_span_id = Some(own.span_id);
    let trace = assemble(vec![server, orphan, own, repeat, client, root]);
    let codes: Vec<_> = trace.notes.iter().map(|note| note.code).collect();
    let wanted = [
        "duplicate_dropped",
        "shared_span",
        "no_end_time",
        "missing_parent",
        "parent_cycle",
    ];
    assert_eq!(codes, wanted);
    let kinds: Vec<_> = trace.spans.iter().map(|s| s.kind).collect();
    assert_eq!(
        kinds[..3],
        [SpanKind::Server, SpanKind::Client, SpanKind::Server]
    );
}

fn codes(trace: &crate::model::Trace) -> Vec<&'static str> {
    trace.notes.iter().map(|note| note.code).collect()
}

/// *Scenario*: a reporter sends a span when it begins, then an annotation, and finally its end.
/// *Guarantees*: the parts become one span with all fields, whatever their order.
#[test]
fn a_span_sent_in_parts_is_one() {
    let text = |text: &str| Value::String(text.to_owned());
    let mut begun = span(1, 2, "shop");
    begun.end = UnixNanos::new(0);
    begun.attributes = vec![("begun".to_owned(), text("yes"))];
    let mut later = begun.clone();
    later.kind = SpanKind::Unspecified;
    later.start = later.start + Duration::from_nanos(20);
    later.name = String::new();
    later.attributes.clear();
    later.status.code = StatusCode::Error;
    let mut ended = span(1, 2, "shop");
    ended.attributes = vec![("ended".to_owned(), text("yes"))];
    let (start, end) = (ended.start, ended.end);
    for parts in [
        [begun.clone(), later.clone(), ended.clone()],
        [ended, later, begun],
    ] {
        let trace = assemble(parts.to_vec());
        assert_eq!(codes(&trace), ["parts_merged"]);
        let [one] = &trace.spans[..] else {
            panic!("{:?}", trace.spans);
        };
        assert_eq!((one.start, one.end), (start, end));
        assert_eq!(one.kind, SpanKind::Server);
        assert_eq!(one.status.code, StatusCode::Error);
        assert_eq!(one.attribute("begun"), Some(&text("yes")));
        assert_eq!(one.attribute("ended"), Some(&text("yes")));
    }
}

/// *Scenario*: two senders used the same id for different spans, and one of them sent its batch twice.
/// *Guarantees*: both spans are shown, with a note that they differ.
#[test]
fn different_spans_of_one_id_are_both_shown() {
    let one = span(1, 2, "shop");
    let mut other = one.clone();
    other.name = "another operation".to_owned();
    let trace = assemble(vec![one.clone(), other, one]);
    assert_eq!(codes(&trace), ["duplicate_dropped", "differs"]);
    assert_eq!(trace.spans.len(), 2);
    assert!(trace.notes[1].message.contains("2 different spans"));
}

/// *Guarantees*: a copy that a store shortened counts as the same span.
#[test]
fn a_shortened_copy_is_a_repeat() {
    let whole = span(1, 2, "shop");
    let mut shortened = whole.clone();
    shortened.attributes = vec![(crate::model::SHORTENED.to_owned(), Value::Bool(true))];
    let trace = assemble(vec![shortened, whole.clone()]);
    assert_eq!(codes(&trace), ["duplicate_dropped"]);
    assert_eq!(trace.spans, [whole]);
}

#[test]
fn a_span_without_an_end_is_noted_in_plain_words() {
    let mut open = span(1, 2, "shop");
    open.end = UnixNanos::new(0);
    let mut backwards = span(1, 3, "shop");
    backwards.end = backwards.start - Duration::from_millis(2);
    let trace = assemble(vec![open, backwards]);
    let messages: Vec<_> = trace.notes.iter().map(|note| &*note.message).collect();
    assert_eq!(
        messages,
        [
            "ended 2 ms before it started, shown without duration",
            "no end time, shown without duration",
        ]
    );
}

/// *Guarantees*: assembling stops once no caller waits for the trace.
#[test]
fn assembling_ends_when_no_caller_waits_for_the_trace() {
    let spans: Vec<_> = (1..=3).map(|id| span(1, id, "shop")).collect();
    let asked = Asked::default();
    let entered = asked.cancel().enter();
    assert!(try_assemble(spans.clone()).is_ok());
    drop(asked);
    let same: Vec<_> = (1..=3).map(|_| span(1, 1, "shop")).collect();
    for spans in [spans, same] {
        assert!(matches!(try_assemble(spans), Err(StoreError::Cancelled)));
    }
    drop(entered);
}
