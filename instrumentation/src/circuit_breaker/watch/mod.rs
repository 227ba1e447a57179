//! Watching breakers: the registry that lists them, listeners for their events, snapshots of their numbers, and the
//! breakers that one request called.

pub(crate) mod latency;
pub(crate) mod listener;
pub(crate) mod name;
pub(crate) mod registry;
pub mod request_log;
pub(crate) mod snapshot;
