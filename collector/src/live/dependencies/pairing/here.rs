//! What the table keeps of a span that arrived: its fields, and what is already counted of it.

use super::NONE;
use crate::live::dependencies::edges::EdgeId;
use crate::live::dependencies::fact::{Half, Parent, SpanFact};
use crate::live::names::{CircuitId, NodeId};

#[derive(Debug, Clone, Copy)]
pub(super) struct Here {
    pub(super) trace: u64,
    pub(super) parent: u64,
    /// The next callee that waits for the same parent.
    pub(super) next: u64,
    /// The second of its arrival.
    pub(super) since: u32,
    /// The second of its start.
    pub(super) started: u32,
    /// As a child: the edge from its parent, once counted.
    pub(super) edge: Option<EdgeId>,
    pub(super) circuit: Option<CircuitId>,
    /// As a caller: the breaker whose span was above it at its arrival, and may be evicted before it.
    pub(super) circuit_above: Option<CircuitId>,
    pub(super) peer: Option<NodeId>,
    pub(super) service: NodeId,
    pub(super) half: Half,
    pub(super) error: bool,
    pub(super) nanos: u64,
    pub(super) peer_is_store: bool,
    pub(super) names_service: bool,
    /// Whether its peer is named only by its address.
    pub(super) names_address: bool,
    /// Whether its peer is the broker of a message.
    pub(super) names_broker: bool,
    /// As a producer: whether its message to the broker was counted.
    pub(super) over_broker: bool,
    /// Whether its parent is known to be in the same process.
    pub(super) local_parent: bool,
    /// As a child: whether it was related to its parent.
    pub(super) met: bool,
    /// As a child: whether the breaker around its edge is known.
    pub(super) learnt: bool,
    /// As a caller: whether a callee arrived, or another caller's span below it represents the call.
    pub(super) paired: bool,
    /// Whether both halves arrived under this one id (Zipkin's shared spans).
    pub(super) shared: bool,
    /// It waited long enough, and what it meant is counted.
    pub(super) settled: bool,
}

impl Here {
    pub(super) fn new(fact: &SpanFact, second: u32) -> Self {
        let parent = match fact.parent {
            Parent::Root => NONE,
            Parent::Local(key) | Parent::Remote(key) | Parent::Somewhere(key) => key,
        };
        Self {
            trace: fact.trace,
            parent,
            next: NONE,
            since: second,
            started: fact.started,
            service: fact.service,
            circuit: fact.circuit,
            circuit_above: None,
            peer: fact.peer,
            edge: None,
            half: fact.half,
            error: fact.error,
            nanos: fact.nanos,
            local_parent: matches!(fact.parent, Parent::Local(_) | Parent::Root),
            peer_is_store: fact.peer_is_store,
            names_service: fact.names_service,
            names_address: fact.names_address,
            names_broker: fact.names_broker,
            over_broker: false,
            met: false,
            learnt: false,
            paired: false,
            shared: false,
            settled: false,
        }
    }

    /// Returns whether a parent that arrives later would change anything.
    pub(super) fn may_have_parent(&self) -> bool {
        let matters = !self.local_parent || self.half == Half::Caller;
        matters && !self.met && self.parent != NONE
    }
}
