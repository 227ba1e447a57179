//! The fields of a span that pairing needs.

use crate::live::names::{CircuitId, NodeId};

/// The role of a span in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Half {
    /// Makes the call: client, producer.
    Caller,
    /// Serves the call: server, consumer.
    Callee,
    Other,
}

/// The location of a span's parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Parent {
    Root,
    /// In the same process, according to the sender.
    Local(u64),
    /// In another process, according to the sender.
    Remote(u64),
    /// The sender does not say where.
    Somewhere(u64),
}

/// The fields of a span that pairing needs.
#[derive(Debug, Clone, Copy)]
pub(in crate::live) struct SpanFact {
    /// Hash of trace and span id; not zero.
    pub(in crate::live) key: u64,
    /// Hash of the trace id.
    pub(in crate::live) trace: u64,
    pub(in crate::live) parent: Parent,
    pub(in crate::live) service: NodeId,
    pub(in crate::live) half: Half,
    pub(in crate::live) error: bool,
    /// The second of its start.
    pub(in crate::live) started: u32,
    /// Duration, nanoseconds.
    pub(in crate::live) nanos: u64,
    pub(in crate::live) circuit: Option<CircuitId>,
    /// The peer named in its attributes.
    pub(in crate::live) peer: Option<NodeId>,
    /// Whether the peer is a database or broker, which sends no spans.
    pub(in crate::live) peer_is_store: bool,
    /// Whether the peer is named as a service, not by an address.
    pub(in crate::live) names_service: bool,
    /// Whether the peer is named only by its address.
    pub(in crate::live) names_address: bool,
    /// Whether it sends or receives a message, and the peer is the broker, named as a service.
    pub(in crate::live) names_broker: bool,
}
