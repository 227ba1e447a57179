//! The values that rules and shell exchange about a call: its admission, its end, and the change of state that it
//! causes.

use super::reason::Reason;
use super::state::{Outcome, State};

/// The data of a call that is kept from its admission to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The generation in which the call was admitted.
    pub(crate) generation: u64,
    /// The id of the probe slot, if the call is a probe.
    pub(crate) probe: Option<u64>,
}

/// Whether a call may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The call may start.
    Pass,
    /// The call may start as a probe, in the slot with this id.
    Probe(u64),
    /// The call must not start.
    Refuse {
        /// No call is admitted before this time.
        until: u64,
    },
}

/// A change of the computed state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) reason: Reason,
}

/// How a call ended, as input of the state machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    pub(crate) elapsed_nanos: u64,
    pub(crate) slow: bool,
}
