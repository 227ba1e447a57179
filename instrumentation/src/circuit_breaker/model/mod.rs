//! The public values of a breaker: refusals, transitions, and snapshots with the durations of its calls.

pub(crate) mod buckets;
pub(crate) mod latency;
pub(crate) mod pool_refusal;
pub(crate) mod refusal;
pub(crate) mod snapshot;
pub(crate) mod transition;
