//! The counts of a policy at one moment.

use std::time::SystemTime;

use serde::Serialize;

use super::event::{EventKind, Kind};
use crate::name::Name;

/// The counts of a policy since it was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The kind of the policy.
    pub policy: Kind,
    /// Its name.
    pub name: Name,
    /// When the policy was created and its counts started at zero.
    pub created: SystemTime,
    pub(super) counts: [u64; EventKind::ALL.len()],
    /// Remaining permits in the cycle of a rate limiter, free slots of a bulkhead, remaining retries or hedges of a
    /// budget, or free entries of a cache; `None` if there is no limit.
    pub available: Option<u64>,
    /// The number of slots of a bulkhead, which an adaptive one changes; `None` for other policies.
    pub limit: Option<u64>,
    /// Calls that wait for a permit, a slot, or another caller's result; `None` for policies without waiting.
    pub waiting: Option<u64>,
}

impl Snapshot {
    /// Returns how often `event` happened.
    pub fn count(&self, event: EventKind) -> u64 {
        self.counts[event.index()]
    }

    /// Returns the number of calls that have ended.
    pub fn calls(&self) -> u64 {
        let ends = EventKind::ALL.into_iter().filter(|event| event.is_end());
        ends.map(|event| self.count(event)).sum()
    }
}
