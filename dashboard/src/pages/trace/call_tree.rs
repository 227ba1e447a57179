//! Builds the rows of a call tree from the spans of a trace: callers, missing spans, and where the time was spent. Pure
//! and without recursion, so a chain of any depth is safe.

use std::collections::{HashMap, HashSet};

use fusebox_collector::model::{Span, SpanKind, Trace, UnixNanos, nanos};
use opentelemetry::SpanId;

use super::critical_path::{self, Section};
use super::row::Row;

/// The rows of a trace in the order in which they are drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallTree {
    /// Parents before children, siblings by start.
    pub(crate) rows: Vec<Row>,
    /// Earliest start, Unix nanoseconds.
    pub(crate) start: u64,
    /// Latest end, Unix nanoseconds.
    pub(crate) end: u64,
    /// The critical paths of its roots, by row and time.
    pub(crate) path: Vec<Section>,
}

/// A node while the tree is being built: a span, or a missing parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Node {
    Span(usize),
    Missing(SpanId),
}

impl CallTree {
    /// Builds the tree. Every span is in it exactly once, whatever its parents are.
    pub(crate) fn build(trace: &Trace) -> Self {
        let spans = &trace.spans;
        let (mut roots, children) = families(spans);
        let mut tree = Self {
            rows: Vec::with_capacity(spans.len()),
            start: (spans
                .iter()
                .map(|s| s.start)
                .min()
                .unwrap_or(UnixNanos::new(0)))
            .get(),
            end: (spans
                .iter()
                .map(|s| s.end)
                .max()
                .unwrap_or(UnixNanos::new(0)))
            .get(),
            path: Vec::new(),
        };
        roots.sort_by_key(|node| start_of(*node, spans, &children));
        let mut placed = vec![false; spans.len()];
        for root in roots {
            tree.place(root, false, spans, &children, &mut placed);
        }
        // Spans that no root reaches are in a cycle of parents; the earliest span of each cycle becomes a root.
        for index in 0..spans.len() {
            if !placed[index] {
                tree.place(Node::Span(index), true, spans, &children, &mut placed);
            }
        }
        tree.count_descendants();
        tree.measure_self_time(spans);
        tree.mark_critical_path(spans);
        tree
    }

    /// Adds the services that calls to addresses were for.
    pub(crate) fn with_callees(mut self, mut callees: HashMap<SpanId, String>) -> Self {
        if !callees.is_empty() {
            for row in &mut self.rows {
                row.called = callees.remove(&row.id);
            }
        }
        self
    }

    /// Appends a node and its descendants, depth first.
    fn place(
        &mut self,
        root: Node,
        cut_cycle: bool,
        spans: &[Span],
        children: &HashMap<Node, Vec<usize>>,
        placed: &mut [bool],
    ) {
        let mut waiting = vec![(root, 0, None)];
        while let Some((node, depth, parent)) = waiting.pop() {
            let (span, id) = match node {
                Node::Span(index) if placed[index] => continue,
                Node::Span(index) => (Some(index), spans[index].span_id),
                Node::Missing(id) => (None, id),
            };
            if let Some(index) = span {
                placed[index] = true;
            }
            let row = self.rows.len();
            self.rows.push(Row {
                span,
                id,
                depth,
                called: None,
                descendants: 0,
                parent,
                self_nanos: 0,
                critical_nanos: None,
                cut_cycle: cut_cycle && parent.is_none(),
            });
            let below = children.get(&node).into_iter().flatten().rev();
            waiting.extend(below.map(|child| (Node::Span(*child), depth + 1, Some(row))));
        }
    }

    fn count_descendants(&mut self) {
        for index in (0..self.rows.len()).rev() {
            if let Some(parent) = self.rows[index].parent {
                self.rows[parent].descendants += 1 + self.rows[index].descendants;
            }
        }
    }

    /// Returns the direct children of each row, in order.
    fn children_of_rows(&self) -> Vec<Vec<usize>> {
        let mut children = vec![Vec::new(); self.rows.len()];
        for (index, row) in self.rows.iter().enumerate() {
            if let Some(parent) = row.parent {
                children[parent].push(index);
            }
        }
        children
    }

    /// Computes a row's own time: its duration minus the union of its children's times, clipped to it.
    fn measure_self_time(&mut self, spans: &[Span]) {
        let children = self.children_of_rows();
        for (index, below) in children.iter().enumerate() {
            let Some(span) = self.rows[index].span.map(|s| &spans[s]) else {
                continue;
            };
            let mut covered = 0;
            let mut reached = span.start;
            let below = below.iter().filter_map(|row| self.rows[*row].span);
            for child in below.map(|s| &spans[s]) {
                let start = child.start.max(reached);
                let end = child.end.min(span.end);
                covered += nanos(end - start);
                reached = reached.max(end);
            }
            self.rows[index].self_nanos = span.duration_nanos().saturating_sub(covered);
        }
    }

    fn mark_critical_path(&mut self, spans: &[Span]) {
        self.path = critical_path::sections(&self.rows, spans);
        for section in &self.path {
            let nanos = &mut self.rows[section.row].critical_nanos;
            *nanos = Some(nanos.unwrap_or(0) + section.nanos());
        }
    }

    /// Returns the sections of the critical path that run through a row, by time.
    pub(crate) fn path_through(&self, row: usize) -> &[Section] {
        let first = self.path.partition_point(|section| section.row < row);
        let through = &self.path[first..];
        &through[..through.partition_point(|section| section.row == row)]
    }

    /// Returns the subtree of a span, with its own critical path and duration.
    pub(crate) fn below(&self, id: SpanId, spans: &[Span]) -> Option<Self> {
        let of_id = |row: &Row| row.id == id && row.span.is_some();
        let root = self.rows.iter().position(of_id)?;
        let mut rows = self.rows[root..=root + self.rows[root].descendants].to_vec();
        let depth = rows[0].depth;
        for row in &mut rows {
            row.depth -= depth;
            row.parent = row.parent.and_then(|parent| parent.checked_sub(root));
            row.critical_nanos = None;
        }
        let times = rows.iter().filter_map(|row| row.span).map(|s| &spans[s]);
        let mut tree = Self {
            start: times.clone().map(|s| s.start.get()).min().unwrap_or(0),
            end: times.map(|s| s.end.get()).max().unwrap_or(0),
            path: Vec::new(),
            rows,
        };
        tree.mark_critical_path(spans);
        Some(tree)
    }

    /// Returns the duration of the whole trace, at least a nanosecond so that it can be a divisor.
    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start).max(1)
    }

    /// Returns the row of the span that spends most time itself on the critical path.
    pub(crate) fn heaviest(&self) -> Option<&Row> {
        let on_path = self.rows.iter().filter(|row| row.critical_nanos > Some(0));
        on_path.max_by_key(|row| row.critical_nanos)
    }

    /// Returns the indexes of the rows that are not collapsed.
    pub(crate) fn visible(&self, folds: &Folds) -> Vec<usize> {
        let mut visible = Vec::with_capacity(self.rows.len());
        let mut index = 0;
        while let Some(row) = self.rows.get(index) {
            visible.push(index);
            index += 1 + if folds.is_folded(row) {
                row.descendants
            } else {
                0
            };
        }
        visible
    }
}

/// Which rows are collapsed: all at a certain depth and below, except for toggled rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Folds {
    /// The number of expanded levels; `None`: all.
    pub(crate) levels: Option<usize>,
    /// Rows in the opposite state.
    pub(crate) toggled: HashSet<SpanId>,
}

impl Folds {
    /// Expands the ancestors of a row.
    pub(crate) fn reveal(&mut self, tree: &CallTree, row: usize) {
        let mut above = tree.rows[row].parent;
        while let Some(parent) = above.map(|index| &tree.rows[index]) {
            if self.is_folded(parent) && !self.toggled.remove(&parent.id) {
                self.toggled.insert(parent.id);
            }
            above = parent.parent;
        }
    }

    /// Returns whether the children of a row are hidden.
    pub(crate) fn is_folded(&self, row: &Row) -> bool {
        let by_level = self.levels.is_some_and(|levels| row.depth + 1 >= levels);
        row.descendants > 0 && (by_level != self.toggled.contains(&row.id))
    }
}

/// Returns the roots, and the children of each node sorted by start.
fn families(spans: &[Span]) -> (Vec<Node>, HashMap<Node, Vec<usize>>) {
    let mut by_id: HashMap<SpanId, Vec<usize>> = HashMap::with_capacity(spans.len());
    for (index, span) in spans.iter().enumerate() {
        by_id.entry(span.span_id).or_default().push(index);
    }
    let mut roots = Vec::new();
    let mut children: HashMap<Node, Vec<usize>> = HashMap::new();
    for index in 0..spans.len() {
        match parent_of(index, spans, &by_id) {
            None => roots.push(Node::Span(index)),
            Some(parent) => {
                if let Node::Missing(_) = parent
                    && !children.contains_key(&parent)
                {
                    roots.push(parent);
                }
                children.entry(parent).or_default().push(index);
            }
        }
    }
    for below in children.values_mut() {
        below.sort_by_key(|index| (spans[*index].start, *index));
    }
    (roots, children)
}

/// Returns the parent of a span. In Zipkin a client and its server may share one id: then the server span is a child of
/// the client span, and the children of that id belong to the server span.
fn parent_of(index: usize, spans: &[Span], by_id: &HashMap<SpanId, Vec<usize>>) -> Option<Node> {
    let span = &spans[index];
    let is_client = |other: &usize| spans[*other].kind == SpanKind::Client;
    if span.kind == SpanKind::Server {
        let same = by_id.get(&span.span_id).into_iter().flatten();
        if let Some(client) = same.filter(|other| **other != index).find(|o| is_client(o)) {
            return Some(Node::Span(*client));
        }
    }
    let parent = span.parent_span_id?;
    if parent == SpanId::INVALID {
        return None;
    }
    let Some(candidates) = by_id.get(&parent) else {
        return Some(Node::Missing(parent));
    };
    let candidates: Vec<usize> = candidates.iter().copied().filter(|c| *c != index).collect();
    let server = candidates
        .iter()
        .find(|c| spans[**c].kind == SpanKind::Server);
    server
        .or(candidates.first())
        .map(|found| Node::Span(*found))
}

fn start_of(node: Node, spans: &[Span], children: &HashMap<Node, Vec<usize>>) -> (u64, usize) {
    let first = match node {
        Node::Span(index) => Some(index),
        Node::Missing(_) => children.get(&node).and_then(|below| below.first().copied()),
    };
    first.map_or((0, 0), |index| (spans[index].start.get(), index))
}

#[cfg(test)]
#[path = "call_tree_tests.rs"]
pub(crate) mod tests;
