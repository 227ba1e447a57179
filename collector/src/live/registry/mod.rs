//! The registry: instances that registered themselves, by whatever protocol, with their leases and statuses.

mod bounds;
mod draft;
mod silence;
mod state;

/// Who made a change, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedBy {
    /// The operator, or the user of the request; may be empty if a program made it.
    pub name: String,
    /// The operator's reason.
    pub reason: String,
}
