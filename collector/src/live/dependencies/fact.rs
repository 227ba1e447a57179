//! What pairing needs to know of a span.

use crate::live::names::{CircuitId, NodeId};

/// What a span is to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Half {
    /// Makes it: client, producer.
    Caller,
    /// Serves it: server, consumer.
    Callee,
    /// Neither.
    Other,
}

/// Where a span's parent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Parent {
    /// It has none.
    Root,
    /// In the same process, according to the sender.
    Local(u64),
    /// In another process, according to the sender.
    Remote(u64),
    /// The sender does not state where.
    Somewhere(u64),
}

/// What pairing needs to know of a span.
#[derive(Debug, Clone, Copy)]
pub(in crate::live) struct SpanFact {
    /// Trace and span id, hashed; not zero.
    pub(in crate::live) key: u64,
    /// The trace id, hashed.
    pub(in crate::live) trace: u64,
    pub(in crate::live) parent: Parent,
    pub(in crate::live) service: NodeId,
    pub(in crate::live) half: Half,
    pub(in crate::live) error: bool,
    /// How long it took, nanoseconds.
    pub(in crate::live) nanos: u64,
    pub(in crate::live) circuit: Option<CircuitId>,
    /// Whom its attributes name as the other side.
    pub(in crate::live) peer: Option<NodeId>,
    /// Whether that is a database or broker, which sends no spans.
    pub(in crate::live) peer_is_store: bool,
    /// Whether it names its peer as a service, and not by an address.
    pub(in crate::live) names_service: bool,
    /// Whether it sends or takes a message, and its peer is the broker that it names as a service.
    pub(in crate::live) names_broker: bool,
}
