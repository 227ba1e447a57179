//! Whether the collector can do its work: each commit reports how it ended, housekeeping whether it deletes
//! what is old, and `/healthz` shows it.

use std::sync::{Arc, MutexGuard};

use super::IngestError;
use crate::store::StoreError;
use crate::sync::Mutex;

/// What keeps the collector from its work; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    stopping: bool,
    /// Why the last commit failed; `None` once one succeeded.
    failure: Option<String>,
    /// Why old data is not deleted; `None` while it is.
    held_back: Option<String>,
}

impl Health {
    /// Returns what is wrong.
    pub fn problem(&self) -> Option<String> {
        let state = self.state();
        match state.stopping {
            true => Some("stopping".to_owned()),
            false => state.failure.clone().or_else(|| state.held_back.clone()),
        }
    }

    /// Records that data became durable.
    pub(crate) fn commit_succeeded(&self) {
        self.state().failure = None;
    }

    /// Records that data could not be made durable.
    pub(crate) fn commit_failed(&self, error: &IngestError) {
        self.state().failure = Some(describe(error));
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
    }
}
