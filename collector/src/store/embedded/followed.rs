//! How far the journal of spans has been followed: which blocks are stored elsewhere too.
//!
//! The lane that ships spans moves it; retention asks it before it deletes a segment, and notes for good from when on
//! spans are all here, and how many went without being stored elsewhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::catalog::Catalog;
use crate::store::StoreError;
use crate::store::durable::{self, Readers};

/// The file of what deletion did.
const DELETED_FILE: &str = "deleted.json";

/// How far each segment has been followed; shared.
#[derive(Debug)]
pub(crate) struct Followed {
    progress: Mutex<Progress>,
    deleted: Mutex<Noted>,
    path: PathBuf,
}

/// How far each segment has been followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Segments with lower numbers are followed to their ends.
    done_below: u64,
    /// The others, as far as they were begun.
    segments: BTreeMap<u64, Reached>,
}

/// A place in a segment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Blocks before it.
    pub(crate) blocks: u32,
    /// Rows before it.
    pub(crate) rows: u64,
    /// The arrival clock behind the last of those rows.
    pub(crate) until: u64,
}

/// What deletion did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Deleted {
    /// Every span that arrived from then on is in a local segment, Unix nanoseconds.
    local_since: u64,
    /// Spans that were deleted before they were followed.
    lost: u64,
}

/// What deletion did, and what of that is on the disk.
#[derive(Debug)]
struct Noted {
    now: Deleted,
    saved: Deleted,
}

impl Progress {
    /// Returns the place in a segment, `None` when it is followed to its end.
    pub(crate) fn reached(&self, sequence: u64) -> Option<Reached> {
        if sequence < self.done_below {
            return None;
        }
        Some(self.segments.get(&sequence).copied().unwrap_or_default())
    }

    /// Moves the place in a segment.
    pub(crate) fn reach(&mut self, sequence: u64, reached: Reached) {
        if sequence >= self.done_below {
            self.segments.insert(sequence, reached);
        }
    }

    /// Notes that all segments below that number are followed to their ends.
    pub(crate) fn done_below(&mut self, sequence: u64) {
        if sequence > self.done_below {
            self.done_below = sequence;
            self.segments = self.segments.split_off(&sequence);
        }
    }
}

impl Followed {
    /// Takes over what an earlier run noted in that data directory; `progress` is what its lane saved.
    pub(crate) fn open(data_dir: &Path, progress: Progress) -> Result<Self, StoreError> {
        let path = durable::path(data_dir, DELETED_FILE);
        let damaged = |error: serde_json::Error| StoreError::Damaged {
            path: path.display().to_string(),
            what: error.to_string(),
        };
        let deleted = match durable::read_json(&path)? {
            Some(json) => serde_json::from_value(json).map_err(damaged)?,
            None => Deleted::default(),
        };
        Ok(Self {
            progress: Mutex::new(progress),
            deleted: Mutex::new(Noted {
                now: deleted,
                saved: deleted,
            }),
            path,
        })
    }

    /// Lets a store go on after everything that was followed or deleted: no number and no time is used again, even
    /// when no segment is left to tell.
    pub(super) fn continue_in(&self, catalog: &Catalog) {
        let progress = self.locked();
        let known = progress.segments.keys().copied().max();
        catalog.note_sequence(known.max(progress.done_below.checked_sub(1)).unwrap_or(0));
        let until = progress.segments.values().map(|reached| reached.until);
        let until = until.max().unwrap_or(0).max(self.local_since());
        catalog.arrival.note(until);
    }

    /// Returns how far each segment has been followed.
    pub(crate) fn progress(&self) -> Progress {
        self.locked().clone()
    }

    /// Notes how far each segment has been followed.
    pub(crate) fn settle(&self, progress: Progress) {
        *self.locked() = progress;
    }

    /// Returns how many of a segment's rows are nowhere else.
    pub(crate) fn unshipped(&self, sequence: u64, rows: u64) -> u64 {
        let reached = self.locked().reached(sequence);
        reached.map_or(0, |reached| rows.saturating_sub(reached.rows))
    }

    /// Notes that a segment goes, whose last span arrived then, and of which so many spans are nowhere else.
    pub(crate) fn deleting(&self, last_unix_nanos: u64, unshipped: u64) {
        let mut deleted = self.deleted();
        deleted.now.local_since = deleted
            .now
            .local_since
            .max(last_unix_nanos.saturating_add(1));
        deleted.now.lost += unshipped;
    }

    /// Keeps for good what was noted of deletions, unless that is done.
    pub(crate) fn save(&self) -> Result<(), StoreError> {
        let mut deleted = self.deleted();
        if deleted.saved != deleted.now {
            let text = serde_json::to_vec(&deleted.now).expect("numbers are always JSON");
            durable::write(&self.path, &text, Readers::Anyone)?;
            deleted.saved = deleted.now;
        }
        Ok(())
    }

    /// Returns from when on every span that arrived is in a local segment.
    pub(crate) fn local_since(&self) -> u64 {
        self.deleted().now.local_since
    }

    /// Returns how many spans were deleted before they were followed.
    pub(crate) fn lost(&self) -> u64 {
        self.deleted().now.lost
    }

    fn deleted(&self) -> MutexGuard<'_, Noted> {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_count_as_followed_as_far_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let followed = Followed::open(dir.path(), Progress::default()).unwrap();
        assert_eq!(followed.unshipped(3, 10), 10);
        let reached = Reached {
            blocks: 1,
            rows: 4,
            until: 9,
        };
        let mut progress = followed.progress();
        progress.reach(3, reached);
        followed.settle(progress.clone());
        assert_eq!(followed.unshipped(3, 10), 6);
        progress.done_below(4);
        assert_eq!(progress.reached(3), None);
        followed.settle(progress.clone());
        assert_eq!(
            (followed.unshipped(3, 10), followed.unshipped(4, 2)),
            (0, 2)
        );
        let saved = serde_json::to_string(&progress).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&saved).unwrap(), progress);
    }

    #[test]
    fn what_was_deleted_is_known_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let followed = Followed::open(dir.path(), Progress::default()).unwrap();
        followed.deleting(100, 2);
        followed.deleting(50, 1);
        followed.save().unwrap();
        let again = Followed::open(dir.path(), Progress::default()).unwrap();
        assert_eq!((again.local_since(), again.lost()), (101, 3));
    }
}
