//! Whether the collector can do its work: each commit reports how it ended, housekeeping whether it deletes
//! what is old, and `/healthz` shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use super::IngestError;
use crate::store::StoreError;
use crate::sync::Mutex;

const SHARD_ENDED: &str = "an ingest shard ended by a panic: restart the collector";

/// What keeps the collector from its work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

/// What is committed on its own: success of one says nothing of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    /// The spans of all shards, which share a folder.
    Spans,
    /// The circuit records.
    Circuits,
    /// The log records.
    Logs,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Whether a shard ended early: what is left takes longer, until a restart.
    shard_ended: bool,
    /// Why the last commit of a log failed; removed once one succeeded.
    failures: BTreeMap<Log, String>,
    /// Why old data is not deleted; `None` while it is.
    held_back: Option<String>,
}

impl Health {
    /// Returns what is wrong.
    pub fn problem(&self) -> Option<String> {
        let state = self.state();
        if state.stopping {
            return Some("stopping".to_owned());
        }
        let failure = state.failures.values().next().cloned();
        let ended = || state.shard_ended.then(|| SHARD_ENDED.to_owned());
        failure.or_else(ended).or_else(|| state.held_back.clone())
    }

    /// Records that data became durable.
    pub(crate) fn commit_succeeded(&self, log: Log) {
        self.state().failures.remove(&log);
    }

    /// Records that data could not be made durable.
    pub(crate) fn commit_failed(&self, log: Log, error: &IngestError) {
        self.state().failures.insert(log, describe(error));
    }

    /// Records that a shard ended before the collector stops; commits of the others change nothing about it.
    pub(crate) fn shard_ended(&self) {
        self.state().shard_ended = true;
    }

    /// Records why old data is not deleted, if it is not; returns what was recorded before.
    pub(crate) fn hold_back(&self, problem: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.state().held_back, problem)
    }

    /// Records that the collector stops; commits of what it received before change nothing about it.
    pub(crate) fn stop(&self) {
        self.state().stopping = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// Says what failed without the path: anyone may ask for it.
fn describe(error: &IngestError) -> String {
    let IngestError::Store(error) = error else {
        return error.to_string();
    };
    match error {
        full if full.is_disk_full() => "the disk is full".to_owned(),
        StoreError::Io { source, .. } => format!("could not write to the disk: {source}"),
        StoreError::Damaged { what, .. } => format!("could not write to the disk: {what}"),
        StoreError::Remote { problem, .. } => format!("could not store: {problem}"),
        StoreError::TimeOver | StoreError::Cancelled => format!("could not store: {error}"),
    }
}
