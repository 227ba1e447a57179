//! Every segment of the store, in the order of their numbers; readers take a snapshot, shards and retention change it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use super::arrival::ArrivalClock;
use super::segment::seal::{rewrite, seal};
use super::segment::{Caches, OpenSegment, Place, SealedSegment, Segment};
use crate::counters::{Counters, Incident};
use crate::log::{Damage, Day, LogFile};
use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::sync::{Mutex, RwLock};

/// Folder of the segments under the data directory.
const SPANS_FOLDER: &str = "spans";
/// Ending of a segment file.
pub(crate) const SEGMENT_SUFFIX: &str = "seg";

/// The segments.
#[derive(Debug)]
pub(crate) struct Catalog {
    folder: PathBuf,
    next: AtomicU64,
    segments: RwLock<Arc<Vec<Segment>>>,
    rebuilding: Mutex<()>,
    /// Gives blocks their time of arrival.
    pub(crate) arrival: ArrivalClock,
    /// Whether the segments are shipped, now or again later: their blocks are then never merged.
    pub(crate) is_followed: bool,
    /// Decoded footers.
    pub(crate) caches: Arc<Caches>,
    /// Damaged blocks, by segment and number.
    pub(crate) damage: Damage<u64>,
    /// The collector's counters.
    pub(crate) counters: Arc<Counters>,
}

impl Catalog {
    /// Makes a catalog without segments.
    pub(crate) fn new(dir: &Path, is_followed: bool, counters: Arc<Counters>) -> Self {
        Self {
            folder: dir.join(SPANS_FOLDER),
            next: AtomicU64::new(1),
            segments: RwLock::default(),
            rebuilding: Mutex::default(),
            arrival: ArrivalClock::default(),
            is_followed,
            caches: Arc::default(),
            damage: Damage::new(Incident::DamagedBlock, Arc::clone(&counters)),
            counters,
        }
    }

    /// Returns the folder that holds a folder per day.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Seals a segment; the open file must hold nothing beyond its last block.
    pub(crate) fn seal(
        &self,
        open: &Arc<OpenSegment>,
        file: &mut LogFile,
    ) -> Result<SealedSegment, StoreError> {
        seal(open, file, self.is_followed, &self.caches)
    }

    /// Writes a segment anew under that place, which may be its own.
    pub(crate) fn rewrite(
        &self,
        open: &Arc<OpenSegment>,
        place: &Place,
    ) -> Result<SealedSegment, StoreError> {
        rewrite(open, place, self.is_followed, &self.caches)
    }

    /// Returns the segments as they are now, oldest first.
    pub(crate) fn snapshot(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.segments.read())
    }

    /// Takes the lock under which footers are rebuilt.
    pub(crate) fn rebuilding(&self) -> MutexGuard<'_, ()> {
        self.rebuilding.lock()
    }

    /// Names a new segment of a shard that begins at that time.
    pub(crate) fn place(&self, shard: usize, now: UnixNanos) -> Place {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{sequence:010}-{shard}.{SEGMENT_SUFFIX}");
        Place {
            sequence,
            path: Day::of(now).folder(&self.folder).join(name),
        }
    }

    /// Takes back the number of a segment that could not be created, unless another one was named since.
    pub(crate) fn take_back(&self, place: &Place) {
        let (named, free) = (place.sequence + 1, place.sequence);
        let next = &self.next;
        // Where another was named since, the number stays unused.
        let _unused = next.compare_exchange(named, free, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes sure that new segments get higher numbers than that one.
    pub(crate) fn note_sequence(&self, sequence: u64) {
        self.next.fetch_max(sequence + 1, Ordering::Relaxed);
    }

    /// Makes a segment visible to readers, replacing the one with its number if there is one.
    pub(crate) fn put(&self, segment: Segment) {
        let mut segments = self.segments.write();
        let list = Arc::make_mut(&mut segments);
        let sequence = segment.place().sequence;
        match list.binary_search_by_key(&sequence, |other| other.place().sequence) {
            Ok(at) => {
                self.damage.forget(|of| of == sequence);
                list[at] = segment;
            }
            Err(at) => list.insert(at, segment),
        }
    }

    /// Removes a segment from readers' view.
    pub(crate) fn remove(&self, sequence: u64) {
        self.damage.forget(|of| of == sequence);
        let mut segments = self.segments.write();
        Arc::make_mut(&mut segments).retain(|segment| segment.place().sequence != sequence);
    }
}
