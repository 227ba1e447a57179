//! An edge of the dependency map.

use serde::Serialize;

use super::CircuitKey;

/// Calls from one service to another within some time range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DependencyLink {
    /// The caller.
    pub parent: String,
    /// The callee: a service, or a peer without spans (`child_is_virtual`).
    pub child: String,
    /// Whether the child sent no spans and is known only from its callers' attributes.
    pub child_is_virtual: bool,
    /// Number of calls.
    pub call_count: u64,
    /// Number of calls whose client or server span has error status.
    pub error_count: u64,
    /// Breakers of `parent` around calls to `child`, learnt from spans.
    pub circuits: Vec<CircuitKey>,
}
