//! One row of the call tree of a trace.

use opentelemetry::SpanId;

/// One row: a span, or the place of a span that was not received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// Index of the span in the trace; `None` for a placeholder.
    pub(crate) span: Option<usize>,
    /// Its id; for a placeholder, the id that its children have as their parent.
    pub(crate) id: SpanId,
    /// Its level; roots and placeholders are at 0.
    pub(crate) depth: usize,
    /// The service at the address that it calls, where that is known.
    pub(crate) called: Option<String>,
    /// The number of its descendants, which directly follow it.
    pub(crate) descendants: usize,
    /// The index of its parent's row.
    pub(crate) parent: Option<usize>,
    /// Time in which none of its children ran, nanoseconds.
    pub(crate) self_nanos: u64,
    /// Time it spends on the critical path itself, nanoseconds; `None` off the path.
    pub(crate) critical_nanos: Option<u64>,
    /// Whether it is a root only because its ancestors form a cycle.
    pub(crate) cut_cycle: bool,
}
