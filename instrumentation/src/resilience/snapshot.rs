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
    /// When its counts began.
    pub created: SystemTime,
    pub(super) counts: [u64; EventKind::ALL.len()],
    /// Permits that are left in the cycle of a rate limiter, free slots of a bulkhead, retries or hedges that a budget still
    /// allows, keys for which a cache has room; `None` where nothing is limited.
    pub available: Option<u64>,
    /// Slots of a bulkhead, which an adaptive one changes; `None` for other policies.
    pub limit: Option<u64>,
    /// Calls that wait for a permit, a slot, or the answer that another one asks for; `None` for policies at which none waits.
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
