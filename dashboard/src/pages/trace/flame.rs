//! The flame graph of a trace: calls of one name below the same callers are one box, whose width is the time spent in
//! them and below them. Pure, and without recursion.

use std::collections::HashMap;

use askama::Template;
use fusebox_collector::model::{Trace, format_duration};

use super::shown::Shown;
use super::statistics::spans_of;
use crate::pages::view::href::Href;
use crate::pages::view::palette::Palette;
use crate::pages::view::text;

/// Most levels drawn.
const LEVELS_MAX: usize = 64;
/// Most boxes drawn, about 400 bytes each.
const BOXES_MAX: usize = 1_000;
/// The narrowest box that is drawn, percent.
const NARROWEST: f64 = 0.1;
/// Height of a level, pixels.
const LEVEL: usize = 22;

/// The flame graph.
#[derive(Debug, Template)]
#[template(path = "trace/flame.html")]
pub(crate) struct Flame {
    boxes: Vec<FlameBox>,
    height: usize,
    hidden: usize,
}

/// One box as drawn.
#[derive(Debug)]
struct FlameBox {
    x: String,
    y: usize,
    width: String,
    colour: &'static str,
    words: String,
    title: String,
    href: String,
}

/// Calls of one name below the same callers.
#[derive(Debug, PartialEq, Eq)]
struct Node<'t> {
    service: &'t str,
    operation: &'t str,
    parent: Option<usize>,
    level: usize,
    calls: u64,
    /// Time in which none of their children ran, nanoseconds; after summing up also that of all descendants.
    nanos: u64,
}

impl Flame {
    /// Draws the part of a trace that is shown.
    pub(crate) fn new(trace: &Trace, shown: &Shown<'_>, palette: &Palette) -> Self {
        let nodes = nodes(trace, shown);
        let places = places(&nodes);
        let roots = nodes.iter().filter(|node| node.parent.is_none());
        let total = roots.map(|node| node.nanos).fold(0, u64::saturating_add);
        let percent = |nanos: u64| nanos as f64 / total.max(1) as f64 * 100.0;
        let is_seen = |node: &Node<'_>| node.level < LEVELS_MAX && percent(node.nanos) >= NARROWEST;
        let draw = |(node, start): (&Node<'_>, &u64)| {
            let share = text::percent(percent(node.nanos));
            let words = format!(
                "{} {}",
                text::name(node.service),
                text::name(node.operation)
            );
            let calls = tn!(node.calls, "{n} span", "{n} spans");
            FlameBox {
                x: format!("{:.3}", percent(*start)),
                y: node.level * LEVEL,
                width: format!("{:.3}", percent(node.nanos)),
                colour: palette.class(node.service),
                title: format!(
                    "{words}: {} ({share} %), {calls}",
                    format_duration(node.nanos)
                ),
                words,
                href: spans_of(&shown.view, node.service, node.operation)
                    .href(Href::trace(trace.id))
                    .to_string(),
            }
        };
        let seen = nodes.iter().zip(&places).filter(|(node, _)| is_seen(node));
        let boxes: Vec<FlameBox> = seen.take(BOXES_MAX).map(draw).collect();
        let highest = boxes.iter().map(|one| one.y + LEVEL).max();
        Self {
            hidden: nodes.len() - boxes.len(),
            height: highest.unwrap_or(LEVEL),
            boxes,
        }
    }

    fn hides_some(&self) -> bool {
        self.hidden > 0
    }
}

/// Returns the nodes, callers before callees.
fn nodes<'t>(trace: &'t Trace, shown: &Shown<'_>) -> Vec<Node<'t>> {
    let mut nodes: Vec<Node<'t>> = Vec::new();
    let mut known: HashMap<(Option<usize>, &str, &str), usize> = HashMap::new();
    let mut node_of_row: Vec<Option<usize>> = Vec::with_capacity(shown.tree.rows.len());
    for row in &shown.tree.rows {
        let parent = row.parent.and_then(|parent| node_of_row[parent]);
        let node = row.span.map(|span| {
            let span = &trace.spans[span];
            let (service, operation) = (span.service(), span.name.as_str());
            *known
                .entry((parent, service, operation))
                .or_insert_with(|| {
                    let level = parent.map_or(0, |parent| nodes[parent].level + 1);
                    nodes.push(Node {
                        service,
                        operation,
                        parent,
                        level,
                        calls: 0,
                        nanos: 0,
                    });
                    nodes.len() - 1
                })
        });
        if let Some(node) = node {
            nodes[node].calls += 1;
            nodes[node].nanos = nodes[node].nanos.saturating_add(row.self_nanos);
        }
        node_of_row.push(node);
    }
    for node in (0..nodes.len()).rev() {
        if let Some(parent) = nodes[node].parent {
            nodes[parent].nanos = nodes[parent].nanos.saturating_add(nodes[node].nanos);
        }
    }
    nodes
}

/// Returns the start of each node, nanoseconds from the left: after the previous node of the same caller.
fn places(nodes: &[Node<'_>]) -> Vec<u64> {
    let mut places = Vec::with_capacity(nodes.len());
    let mut taken = vec![0; nodes.len()];
    let mut taken_by_roots = 0;
    for node in nodes {
        let (start, taken) = match node.parent {
            Some(parent) => (places[parent], &mut taken[parent]),
            None => (0, &mut taken_by_roots),
        };
        places.push(u64::saturating_add(start, *taken));
        *taken = u64::saturating_add(*taken, node.nanos);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::call_tree::CallTree;
    use super::super::call_tree::tests::{span, trace_of};
    use super::super::view::TraceView;
    use super::*;

    #[test]
    fn calls_of_one_name_below_the_same_caller_are_one_box() {
        let mut spans = vec![span(1, None, 0, 100)];
        for (id, start, end) in [(2, 0, 10), (3, 10, 30), (4, 40, 90)] {
            let mut call = span(id, Some(1), start, end);
            call.name = if id == 4 { "other" } else { "call" }.to_owned();
            spans.push(call);
        }
        let trace = trace_of(spans);
        let tree = CallTree::build(&trace);
        let shown = Shown::new(&trace, &tree, TraceView::default());
        let nodes = nodes(&trace, &shown);
        let seen: Vec<_> = nodes
            .iter()
            .map(|n| (n.operation, n.level, n.calls, n.nanos))
            .collect();
        assert_eq!(
            seen,
            [("op 1", 0, 1, 100), ("call", 1, 2, 30), ("other", 1, 1, 50)]
        );
        assert_eq!(places(&nodes), [0, 0, 30]);
    }

    #[test]
    fn a_graph_of_a_hundred_thousand_spans_is_bounded() {
        let spans = (1..=100_000).map(|n| span(n, (n > 1).then_some(n / 2), n, 300_000 - n));
        let trace = trace_of(spans.collect());
        let tree = CallTree::build(&trace);
        let shown = Shown::new(&trace, &tree, TraceView::default());
        let flame = Flame::new(&trace, &shown, &Palette::default());
        assert!(flame.boxes.len() <= BOXES_MAX && flame.height <= LEVELS_MAX * LEVEL);
        assert_eq!(flame.boxes.len() + flame.hidden, 100_000);
    }
}
