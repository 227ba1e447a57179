//! Properties of the view that makes a trace of its spans.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::support::*;
use crate::model::{Span, SpanKind, UnixNanos};
use crate::store::assemble;
use opentelemetry::SpanId;

/// Spans whose ids, parents and starts meet often.
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
        let identity = |s: &Span| (s.span_id.to_bytes(), s.kind.as_otlp(), s.start);
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
        "end_before_start",
        "shared_span",
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
