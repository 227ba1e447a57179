//! Tests of the call tree on traces of every shape.

use std::sync::Arc;

use fusebox_collector::model::{
    Dropped, Resource, Scope, Span, SpanKind, Status, Trace, UnixNanos,
};
use opentelemetry::{SpanId, TraceId};
use proptest::prelude::*;

use super::*;

pub(crate) fn span(id: u64, parent: Option<u64>, start: u64, end: u64) -> Span {
    Span {
        trace_id: TraceId::from(1),
        span_id: SpanId::from(id),
        parent_span_id: parent.map(SpanId::from),
        trace_state: String::new(),
        flags: 0,
        name: format!("op {id}"),
        kind: SpanKind::Internal,
        start: UnixNanos::new(start),
        end: UnixNanos::new(end),
        status: Status::default(),
        resource: Arc::new(Resource::default()),
        scope: Arc::new(Scope::default()),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
        dropped_here: Dropped::default(),
    }
}

pub(crate) fn trace_of(mut spans: Vec<Span>) -> Trace {
    spans.sort_by_key(|span| span.start);
    Trace {
        id: TraceId::from(1),
        spans,
        notes: Vec::new(),
        truncated: false,
    }
}

fn tree(spans: Vec<Span>) -> CallTree {
    CallTree::build(&trace_of(spans))
}

/// Each row as `depth:id`, a placeholder with a question mark.
fn outline(tree: &CallTree) -> String {
    let words = tree.rows.iter().map(|row| {
        let mark = if row.span.is_none() { "?" } else { "" };
        format!(
            "{}:{}{mark}",
            row.depth,
            u64::from_be_bytes(row.id.to_bytes())
        )
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn children_follow_their_parent_by_start() {
    let tree = tree(vec![
        span(1, None, 0, 100),
        span(3, Some(1), 50, 90),
        span(2, Some(1), 10, 40),
        span(4, Some(2), 12, 20),
    ]);
    assert_eq!(outline(&tree), "0:1 1:2 2:4 1:3");
    assert_eq!(tree.rows[0].descendants, 3);
    assert_eq!(tree.rows[0].self_nanos, 30);
}

#[test]
fn children_of_a_missing_parent_stand_under_its_place() {
    let tree = tree(vec![
        span(1, None, 0, 100),
        span(5, Some(9), 20, 30),
        span(6, Some(9), 10, 30),
    ]);
    assert_eq!(outline(&tree), "0:1 0:9? 1:6 1:5");
}

#[test]
fn several_roots_make_a_forest() {
    let tree = tree(vec![
        span(2, None, 5, 9),
        span(1, None, 0, 3),
        span(3, Some(2), 6, 7),
    ]);
    assert_eq!(outline(&tree), "0:1 0:2 1:3");
}

#[test]
fn a_circle_of_parents_is_cut_at_its_earliest_span() {
    let tree = tree(vec![
        span(1, Some(2), 0, 9),
        span(2, Some(1), 1, 8),
        span(3, Some(3), 2, 4),
    ]);
    assert_eq!(outline(&tree), "0:3 0:1 1:2");
    assert!(tree.rows[1].cut_cycle && !tree.rows[2].cut_cycle);
}

#[test]
fn a_shared_id_puts_the_server_half_under_the_client_half() {
    let mut client = span(1, None, 0, 100);
    client.kind = SpanKind::Client;
    let mut server = span(1, None, 10, 90);
    server.kind = SpanKind::Server;
    let tree = tree(vec![client, server, span(2, Some(1), 20, 30)]);
    assert_eq!(outline(&tree), "0:1 1:1 2:2");
}

#[test]
fn the_critical_path_is_in_the_child_that_ended_last() {
    let tree = tree(vec![
        span(1, None, 0, 100),
        span(2, Some(1), 10, 60),
        span(3, Some(1), 20, 40),
        span(4, Some(1), 60, 90),
    ]);
    let own: Vec<Option<u64>> = tree.rows.iter().map(|row| row.critical_nanos).collect();
    assert_eq!(own, [Some(20), Some(50), None, Some(30)]);
    assert_eq!(tree.heaviest().map(|row| row.id), Some(SpanId::from(2)));
}

#[test]
fn folding_hides_what_stands_below() {
    let tree = tree(vec![
        span(1, None, 0, 100),
        span(2, Some(1), 10, 40),
        span(4, Some(2), 12, 20),
        span(3, Some(1), 50, 90),
    ]);
    let toggled = |ids: &[u64]| ids.iter().map(|id| SpanId::from(*id)).collect();
    assert_eq!(tree.visible(&Folds::default()).len(), 4);
    assert_eq!(
        tree.visible(&Folds {
            levels: None,
            toggled: toggled(&[2])
        }),
        [0, 1, 3]
    );
    assert_eq!(
        tree.visible(&Folds {
            levels: Some(1),
            toggled: toggled(&[])
        }),
        [0]
    );
    assert_eq!(
        tree.visible(&Folds {
            levels: Some(1),
            toggled: toggled(&[1])
        }),
        [0, 1, 3]
    );
}

#[test]
fn a_chain_of_ten_thousand_is_no_trouble() {
    let spans = (1..=10_000).map(|n| span(n, (n > 1).then(|| n - 1), n, 20_000 - n));
    let tree = tree(spans.collect());
    assert_eq!(tree.rows.len(), 10_000);
    assert_eq!(tree.rows[9_999].depth, 9_999);
    assert_eq!(tree.rows[0].descendants, 9_999);
}

proptest! {
    /// Guarantees: whatever the parents are, every span is in the tree once, below an earlier row.
    #[test]
    fn every_span_stands_in_the_tree_once(
        shapes in prop::collection::vec((1_u64..40, prop::option::of(0_u64..50), 0_u64..1_000, 0_u64..500, 0_u8..6), 1..60)
    ) {
        let spans: Vec<Span> = shapes.into_iter().map(|(id, parent, start, length, kind)| {
            let mut made = span(id, parent, start, start + length);
            made.kind = SpanKind::from_otlp(u64::from(kind));
            made
        }).collect();
        let count = spans.len();
        let tree = tree(spans);
        let mut seen: Vec<usize> = tree.rows.iter().filter_map(|row| row.span).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
        for (index, row) in tree.rows.iter().enumerate() {
            if let Some(parent) = row.parent {
                prop_assert!(parent < index);
                prop_assert_eq!(tree.rows[parent].depth + 1, row.depth);
                prop_assert!(index <= parent + tree.rows[parent].descendants);
            } else {
                prop_assert_eq!(row.depth, 0);
            }
        }
    }
}
