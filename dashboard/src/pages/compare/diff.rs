//! The difference of two call trees: matches calls with the same service and operation below the same callers, and
//! compares their numbers and times. Pure, and without recursion.

use std::collections::HashMap;

use fusebox_collector::model::{Span, StatusCode, Trace};

use crate::pages::trace::call_tree::CallTree;

/// Times differ if they differ by at least this share of the longer one, which ignores jitter.
const SHARE_MIN: f64 = 0.2;
/// They must also differ by at least this share of the longer trace, because smaller differences explain nothing.
const TRACE_SHARE_MIN: f64 = 0.01;

/// Service and operation; `None` for a caller that was not received.
type Name<'t> = Option<(&'t str, &'t str)>;

/// The calls of both traces in drawing order, callers before callees.
#[derive(Debug)]
pub(crate) struct Diff<'t> {
    /// The calls.
    pub(crate) nodes: Vec<Node<'t>>,
    /// Nanoseconds from the earliest start to the latest end of the longer trace.
    pub(crate) longest: u64,
}

/// The calls of one service and operation below the same callers, in both traces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node<'t> {
    /// Service and operation.
    pub(crate) name: Name<'t>,
    /// The index of its caller.
    pub(crate) parent: Option<usize>,
    /// Its level; roots are at 0.
    pub(crate) depth: usize,
    /// The calls in the first and in the second trace.
    pub(crate) sides: [Calls; 2],
}

/// The calls of a node in one trace; times in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// The number of calls.
    pub(crate) count: u64,
    /// The number of calls with an error status.
    pub(crate) failed: u64,
    /// The sum of their durations.
    pub(crate) total: u64,
    /// Their time on the critical path.
    pub(crate) critical: u64,
    /// The earliest start, from the start of the trace.
    pub(crate) start: u64,
    /// The latest end, from the start of the trace.
    pub(crate) end: u64,
}

/// The change from the first to the second trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Only in the second trace.
    Added,
    /// Only in the first trace.
    Missing,
    /// Noticeably longer in the second trace.
    Slower,
    /// Noticeably longer in the first trace.
    Faster,
    /// No noticeable change.
    Same,
}

impl Calls {
    fn add(&mut self, span: Option<&Span>, critical: u64, trace_start: u64) {
        let Some(span) = span else {
            self.count += 1;
            return;
        };
        let start = span.start.get().saturating_sub(trace_start);
        let end = span.end.get().saturating_sub(trace_start);
        self.start = if self.count == 0 {
            start
        } else {
            self.start.min(start)
        };
        self.end = self.end.max(end);
        self.count += 1;
        self.failed += u64::from(span.status.code == StatusCode::Error);
        // The sum of several spans of decades would overflow.
        self.total = self.total.saturating_add(span.duration_nanos());
        self.critical = self.critical.saturating_add(critical);
    }
}

impl Node<'_> {
    /// Returns the change, in traces of which the longer one took `longest`.
    pub(crate) fn change(&self, longest: u64) -> Change {
        let [first, second] = self.sides;
        let longer = first.total.max(second.total);
        let by = first.total.abs_diff(second.total) as f64;
        let is_notable =
            by >= longer as f64 * SHARE_MIN && by >= longest as f64 * TRACE_SHARE_MIN && by > 0.0;
        match (first.count, second.count) {
            (0, _) => Change::Added,
            (_, 0) => Change::Missing,
            _ if !is_notable => Change::Same,
            _ if second.total > first.total => Change::Slower,
            _ => Change::Faster,
        }
    }

    /// Returns whether the numbers of calls, the numbers of failed calls or the times differ.
    pub(crate) fn differs(&self, longest: u64) -> bool {
        let [first, second] = self.sides;
        self.change(longest) != Change::Same
            || first.count != second.count
            || first.failed != second.failed
    }
}

impl<'t> Diff<'t> {
    /// Matches the calls of two traces.
    pub(crate) fn new(traces: [&'t Trace; 2], trees: [&CallTree; 2]) -> Self {
        let mut nodes = Nodes::default();
        for side in [0, 1] {
            nodes.add(side, traces[side], trees[side]);
        }
        Self {
            nodes: in_order(nodes.nodes),
            longest: trees[0].duration().max(trees[1].duration()),
        }
    }

    /// Returns the indexes of the nodes that differ, and of their callers.
    pub(crate) fn different(&self) -> Vec<usize> {
        let mut kept = vec![false; self.nodes.len()];
        for (at, node) in self.nodes.iter().enumerate().rev() {
            kept[at] |= node.differs(self.longest);
            if let (true, Some(parent)) = (kept[at], node.parent) {
                kept[parent] = true;
            }
        }
        (0..kept.len()).filter(|at| kept[*at]).collect()
    }

    /// Returns the nodes whose time on the critical path changed most: index and additional nanoseconds in the second
    /// trace, largest first. In traces with one root, all changes add up to the difference of their durations.
    pub(crate) fn causes(&self, count_max: usize) -> Vec<(usize, i128)> {
        let more = |node: &Node<'_>| {
            let [first, second] = node.sides.map(|calls| i128::from(calls.critical));
            second - first
        };
        let nodes = self.nodes.iter().enumerate();
        let mut causes: Vec<(usize, i128)> = nodes.map(|(at, node)| (at, more(node))).collect();
        causes.sort_by_key(|(at, more)| (std::cmp::Reverse(more.abs()), *at));
        let least = (self.longest as f64 * TRACE_SHARE_MIN) as i128;
        causes.retain(|(_, more)| more.abs() > least);
        causes.truncate(count_max);
        causes
    }
}

/// The nodes while they are being collected, with an index.
#[derive(Debug, Default)]
struct Nodes<'t> {
    nodes: Vec<Node<'t>>,
    known: HashMap<(Option<usize>, Name<'t>), usize>,
}

impl<'t> Nodes<'t> {
    fn add(&mut self, side: usize, trace: &'t Trace, tree: &CallTree) {
        let mut node_of_row: Vec<usize> = Vec::with_capacity(tree.rows.len());
        for row in &tree.rows {
            let span = row.span.map(|span| &trace.spans[span]);
            let parent = row.parent.map(|parent| node_of_row[parent]);
            let name = span.map(|span| (span.service(), span.name.as_str()));
            let node = self.find(parent, name);
            let critical = row.critical_nanos.unwrap_or(0);
            self.nodes[node].sides[side].add(span, critical, tree.start);
            node_of_row.push(node);
        }
    }

    fn find(&mut self, parent: Option<usize>, name: Name<'t>) -> usize {
        let nodes = &mut self.nodes;
        *self.known.entry((parent, name)).or_insert_with(|| {
            let depth = parent.map_or(0, |parent| nodes[parent].depth + 1);
            nodes.push(Node {
                name,
                parent,
                depth,
                sides: [Calls::default(); 2],
            });
            nodes.len() - 1
        })
    }
}

/// Returns the nodes depth first; siblings are ordered by their start.
fn in_order(nodes: Vec<Node<'_>>) -> Vec<Node<'_>> {
    let start = |node: &Node<'_>| {
        let sides = node.sides.iter().filter(|calls| calls.count > 0);
        sides.map(|calls| calls.start).min().unwrap_or(0)
    };
    let mut children: HashMap<Option<usize>, Vec<usize>> = HashMap::new();
    for (at, node) in nodes.iter().enumerate() {
        children.entry(node.parent).or_default().push(at);
    }
    for below in children.values_mut() {
        below.sort_by_key(|at| {
            (
                std::cmp::Reverse(start(&nodes[*at])),
                std::cmp::Reverse(*at),
            )
        });
    }
    let mut waiting = children.remove(&None).unwrap_or_default();
    let (mut order, mut place) = (Vec::with_capacity(nodes.len()), vec![0; nodes.len()]);
    while let Some(at) = waiting.pop() {
        place[at] = order.len();
        order.push(at);
        waiting.extend(children.remove(&Some(at)).unwrap_or_default());
    }
    let mut nodes: Vec<Option<Node<'_>>> = nodes.into_iter().map(Some).collect();
    let placed = order.into_iter().filter_map(|at| nodes[at].take());
    placed
        .map(|node| Node {
            parent: node.parent.map(|parent| place[parent]),
            ..node
        })
        .collect()
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
