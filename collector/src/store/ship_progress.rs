//! How far the segments of a log have been shipped: which blocks are stored elsewhere too.
//!
//! The lane that ships a log moves it, and retention asks it before it deletes a segment. It also persists the time since
//! which the local data is complete, and how many rows were deleted unshipped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StoreError, durable};
use crate::log::Position;
use crate::sync::Mutex;

/// Marks a log as shipped: progress of the shipper and how long what is shipped stays local.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    /// How far the shipper is.
    pub(crate) followed: Arc<ShipProgress>,
    /// How long what is shipped stays here too.
    pub(crate) keep: Duration,
}

/// The position of the shipper and the record of deletions; shared by the lane and retention.
#[derive(Debug)]
pub(crate) struct ShipProgress {
    position: Mutex<Position>,
    deleted: Mutex<SavedDeleted>,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Deleted {
    /// Everything that arrived from then on is in a local segment, Unix nanoseconds.
    local_since: u64,
    /// Rows that were deleted unshipped.
    lost: u64,
}

/// The record of deletions, and the part of it that is on disk.
#[derive(Debug)]
struct SavedDeleted {
    now: Deleted,
    saved: Deleted,
}

impl ShipProgress {
    /// Reads what an earlier run saved in that file; `position` is what its lane saved.
    pub(crate) fn open(path: &Path, position: Position) -> Result<Self, StoreError> {
        let deleted = match durable::read_json(path)? {
            Some(json) => serde_json::from_value(json)
                .map_err(|error| StoreError::damaged(path, &error.to_string()))?,
            None => Deleted::default(),
        };
        Ok(Self {
            position: Mutex::new(position),
            deleted: Mutex::new(SavedDeleted {
                now: deleted,
                saved: deleted,
            }),
            path: path.to_owned(),
        })
    }

    /// Returns how far each segment has been shipped.
    pub(crate) fn position(&self) -> Position {
        self.locked().clone()
    }

    pub(crate) fn settle(&self, position: Position) {
        *self.locked() = position;
    }

    /// Returns how many rows of a segment are not shipped.
    pub(crate) fn unshipped(&self, sequence: u64, rows: u64) -> u64 {
        let offset = self.locked().offset(sequence);
        offset.map_or(0, |offset| rows.saturating_sub(offset.rows))
    }

    /// Records that a segment is deleted: when its last row arrived, and how many of its rows are not shipped.
    pub(crate) fn note_deleted(&self, last: u64, unshipped: u64) {
        let mut deleted = self.deleted();
        deleted.now.local_since = deleted.now.local_since.max(last.saturating_add(1));
        deleted.now.lost += unshipped;
    }

    /// Saves the record of deletions if it changed.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let mut deleted = self.deleted();
        if deleted.saved != deleted.now {
            let text = serde_json::to_vec(&deleted.now).expect("numbers are always JSON");
            durable::write(&self.path, &text)?;
            deleted.saved = deleted.now;
        }
        Ok(())
    }

    /// Returns from when on everything that arrived is in a local segment.
    pub(crate) fn local_since(&self) -> u64 {
        self.deleted().now.local_since
    }

    /// Returns how many rows were deleted unshipped.
    pub(crate) fn lost(&self) -> u64 {
        self.deleted().now.lost
    }

    fn deleted(&self) -> MutexGuard<'_, SavedDeleted> {
        self.deleted.lock()
    }

    fn locked(&self) -> MutexGuard<'_, Position> {
        self.position.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Offset;

    #[test]
    fn rows_of_a_segment_are_unshipped_behind_its_offset() {
        let dir = tempfile::tempdir().unwrap();
        let progress =
            ShipProgress::open(&dir.path().join("deleted"), Position::default()).unwrap();
        assert_eq!(progress.unshipped(3, 10), 10);
        let mut position = progress.position();
        position.reach(
            3,
            Offset {
                bytes: 80,
                rows: 4,
                until: 9,
            },
        );
        progress.settle(position.clone());
        assert_eq!(progress.unshipped(3, 10), 6);
        position.finish_below(4);
        progress.settle(position);
        let unshipped = (progress.unshipped(3, 10), progress.unshipped(4, 2));
        assert_eq!(unshipped, (0, 2));
    }

    #[test]
    fn what_was_deleted_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let progress =
            ShipProgress::open(&dir.path().join("deleted"), Position::default()).unwrap();
        progress.note_deleted(100, 2);
        progress.note_deleted(50, 1);
        progress.save().unwrap();
        let again = ShipProgress::open(&dir.path().join("deleted"), Position::default()).unwrap();
        assert_eq!((again.local_since(), again.lost()), (101, 3));
    }
}
