//! How far the spans have been shipped: which blocks are stored elsewhere too.
//!
//! The lane that ships spans moves it, and retention asks it before it deletes a segment. It also persists the time since
//! which the local data is complete, and how many spans were deleted unshipped.

use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use crate::log::Position;
use crate::store::StoreError;
use crate::store::durable;
use crate::sync::Mutex;

/// The file of what was deleted.
const DELETED_FILE: &str = "deleted.json";

/// How far the segments have been shipped, and what was deleted of them; shared by the lane and retention.
#[derive(Debug)]
pub(crate) struct ShipProgress {
    position: Mutex<Position>,
    deleted: Mutex<SavedDeleted>,
    path: PathBuf,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Deleted {
    /// Every span that arrived from then on is in a local segment, Unix nanoseconds.
    local_since: u64,
    /// Spans that were deleted unshipped.
    lost: u64,
}

/// What was deleted, and what of that is on the disk.
#[derive(Debug)]
struct SavedDeleted {
    now: Deleted,
    saved: Deleted,
}

impl ShipProgress {
    /// Reads what an earlier run saved in that folder; `position` is what its lane saved.
    pub(crate) fn open(folder: &Path, position: Position) -> Result<Self, StoreError> {
        let path = folder.join(DELETED_FILE);
        let deleted = match durable::read_json(&path)? {
            Some(json) => serde_json::from_value(json)
                .map_err(|error| StoreError::damaged(&path, &error.to_string()))?,
            None => Deleted::default(),
        };
        Ok(Self {
            position: Mutex::new(position),
            deleted: Mutex::new(SavedDeleted {
                now: deleted,
                saved: deleted,
            }),
            path,
        })
    }

    /// Lets a store go on after everything that was shipped or deleted: no number and no time is used again, even
    /// when no segment is left.
    pub(super) fn continue_in(&self, catalog: &Catalog) {
        let (segment, until) = self.locked().latest();
        catalog.note_sequence(segment);
        catalog.arrival.note(until.max(self.local_since()));
    }

    /// Returns how far each segment has been shipped.
    pub(crate) fn position(&self) -> Position {
        self.locked().clone()
    }

    /// Moves the position.
    pub(crate) fn settle(&self, position: Position) {
        *self.locked() = position;
    }

    /// Returns how many of a segment's rows are not shipped.
    pub(crate) fn unshipped(&self, sequence: u64, rows: u64) -> u64 {
        let offset = self.locked().offset(sequence);
        offset.map_or(0, |offset| rows.saturating_sub(offset.rows))
    }

    /// Records that a segment is deleted: when its last span arrived, and how many of its spans are not shipped.
    pub(crate) fn note_deleted(&self, last: u64, unshipped: u64) {
        let mut deleted = self.deleted();
        deleted.now.local_since = deleted.now.local_since.max(last.saturating_add(1));
        deleted.now.lost += unshipped;
    }

    /// Saves what was recorded of deletions, unless that is done.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let mut deleted = self.deleted();
        if deleted.saved != deleted.now {
            let text = serde_json::to_vec(&deleted.now).expect("numbers are always JSON");
            durable::write(&self.path, &text)?;
            deleted.saved = deleted.now;
        }
        Ok(())
    }

    /// Returns from when on every span that arrived is in a local segment.
    pub(crate) fn local_since(&self) -> u64 {
        self.deleted().now.local_since
    }

    /// Returns how many spans were deleted unshipped.
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
        let progress = ShipProgress::open(dir.path(), Position::default()).unwrap();
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
        let progress = ShipProgress::open(dir.path(), Position::default()).unwrap();
        progress.note_deleted(100, 2);
        progress.note_deleted(50, 1);
        progress.save().unwrap();
        let again = ShipProgress::open(dir.path(), Position::default()).unwrap();
        assert_eq!((again.local_since(), again.lost()), (101, 3));
    }
}
