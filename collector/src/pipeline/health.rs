//! The collector's health: each commit reports its result, housekeeping reports whether it can delete old
//! data, and `/healthz` shows it.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard};

use super::IngestError;
use crate::store::StoreError;
use crate::sync::Mutex;

const SHARD_ENDED: &str = "an ingest shard ended by a panic: restart the collector";

/// What keeps the collector from its work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

/// A log whose commits succeed or fail independently of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    /// The spans of all shards, which share a folder.
    Spans,
    Circuits,
    Logs,
}

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Whether a shard ended early: the remaining ones are slower, until a restart.
    shard_ended: bool,
    /// Why the last commit of a log failed; removed by the next success.
    failures: BTreeMap<Log, String>,
    /// Why old data is not deleted; `None` normally.
    held_back: Option<String>,
}

impl Health {
    /// Returns what is wrong, or `None`.
    pub fn problem(&self) -> Option<String> {
        let state = self.state();
        if state.stopping {
            return Some("stopping".to_owned());
        }
        let failure = state.failures.values().next().cloned();
        let ended = || state.shard_ended.then(|| SHARD_ENDED.to_owned());
        failure.or_else(ended).or_else(|| state.held_back.clone())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.state().stopping
    }

    pub(crate) fn commit_succeeded(&self, log: Log) {
        self.state().failures.remove(&log);
    }

    pub(crate) fn commit_failed(&self, log: Log, error: &IngestError) {
        self.state().failures.insert(log, describe(error));
    }

    /// Records that a shard ended early; commits of other shards do not clear this.
    pub(crate) fn shard_ended(&self) {
        self.state().shard_ended = true;
    }

    /// Records why old data is not deleted, or that it is; returns the previous state.
    pub(crate) fn hold_back(&self, problem: Option<String>) -> Option<String> {
        std::mem::replace(&mut self.state().held_back, problem)
    }

    /// Records that the collector stops; later commits of earlier requests do not clear this.
    pub(crate) fn stop(&self) {
        self.state().stopping = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

/// Describes an error without paths, since the description is public.
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
