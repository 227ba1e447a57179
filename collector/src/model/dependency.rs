//! An edge of the dependency map.

use serde::Serialize;

use super::CircuitKey;

/// Calls from one service to another within some range of time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DependencyLink {
    /// Who calls.
    pub parent: String,
    /// Who is called: a service, or a peer that sent no spans (`child_is_virtual`).
    pub child: String,
    /// Whether the child sent no spans and is known only from its callers' attributes.
    pub child_is_virtual: bool,
    /// Calls.
    pub call_count: u64,
    /// Calls whose client or server span has status error.
    pub error_count: u64,
    /// Breakers that `parent` holds around calls to `child`, learnt from spans.
    pub circuits: Vec<CircuitKey>,
}
