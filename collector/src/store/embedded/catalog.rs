//! Every segment of the store, ordered by number. Readers take a snapshot; shards and retention change it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};

use super::arrival::ArrivalClock;
use super::block::BlockReader;
use super::groups::{Groups, Shortlist};
use super::segment::seal::{Rows, rewrite, seal};
use super::segment::{Caches, OpenSegment, Place, Replacement, SealedSegment, Segment};
use crate::counters::{Counters, Incident};
use crate::log::{Damage, Day, LogFile};
use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::sync::{Mutex, RwLock};

/// Below the data directory.
const SPANS_FOLDER: &str = "spans";
/// Ending of a segment file.
pub(crate) const SEGMENT_SUFFIX: &str = "seg";

#[derive(Debug)]
pub(crate) struct Catalog {
    folder: PathBuf,
    next: AtomicU64,
    segments: RwLock<Arc<Vec<Segment>>>,
    rebuilding: Mutex<()>,
    /// Files that others took the place of, with their sizes: readers may still have them.
    replaced: Mutex<Vec<(PathBuf, u64)>>,
    /// Segments that are damaged, and so are not sampled.
    whole: Mutex<BTreeSet<u64>>,
    /// Gives blocks their time of arrival.
    pub(crate) arrival: ArrivalClock,
    /// Whether the segments are shipped, now or later: the blocks of such segments are never merged.
    pub(crate) is_followed: bool,
    pub(crate) groups: Groups,
    /// Decoded footers.
    pub(crate) caches: Arc<Caches>,
    /// By segment and block number.
    pub(crate) damage: Damage<u64>,
    pub(crate) counters: Arc<Counters>,
}

impl Catalog {
    pub(crate) fn new(dir: &Path, is_followed: bool, counters: Arc<Counters>) -> Self {
        let folder = dir.join(SPANS_FOLDER);
        Self {
            groups: Groups::new(&folder),
            folder,
            next: AtomicU64::new(1),
            segments: RwLock::default(),
            rebuilding: Mutex::default(),
            replaced: Mutex::default(),
            whole: Mutex::default(),
            arrival: ArrivalClock::default(),
            is_followed,
            caches: Arc::default(),
            damage: Damage::new(Incident::DamagedBlock, Arc::clone(&counters)),
            counters,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Seals a segment; the file must end with its last block.
    pub(crate) fn seal(
        &self,
        open: &Arc<OpenSegment>,
        file: &mut LogFile,
    ) -> Result<SealedSegment, StoreError> {
        seal(open, file, self.is_followed, &self.caches)
    }

    /// Rewrites a segment to that place, which may be its own.
    pub(crate) fn rewrite(
        &self,
        open: &Arc<OpenSegment>,
        place: &Place,
    ) -> Result<SealedSegment, StoreError> {
        let segment = Segment::Open(Arc::clone(open));
        let all = |reader: &BlockReader<'_>| Ok((0..reader.header.rows).collect());
        rewrite(&segment, place, &all, self.is_followed, &self.caches)
    }

    /// Writes those rows of a segment under that place.
    pub(crate) fn rewrite_rows(
        &self,
        segment: &Segment,
        place: &Place,
        rows: &Rows<'_>,
    ) -> Result<SealedSegment, StoreError> {
        rewrite(segment, place, rows, false, &self.caches)
    }

    pub(crate) fn snapshot(&self) -> Arc<Vec<Segment>> {
        Arc::clone(&self.segments.read())
    }

    /// Looks up which segments may have those traces. The high halves of ids do not count.
    pub(crate) fn shortlist(&self, ids: &[u128]) -> Result<Shortlist, StoreError> {
        self.groups.shortlist(ids.iter().map(|id| *id as u64))
    }

    /// Takes the lock under which footers are rebuilt.
    pub(crate) fn rebuilding(&self) -> MutexGuard<'_, ()> {
        self.rebuilding.lock()
    }

    /// Names a new segment of a shard.
    pub(crate) fn place(&self, shard: usize, now: UnixNanos) -> Place {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{sequence:010}-{shard}.{SEGMENT_SUFFIX}");
        Place {
            sequence,
            path: Day::of(now).folder(&self.folder).join(name),
        }
    }

    /// Names the segment that takes the place of another, beside it.
    pub(crate) fn replacement_of(&self, place: &Place, kind: Replacement) -> Place {
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let replaced = place.sequence;
        let shard = kind as u32;
        let name = format!("{sequence:010}-{shard}-{replaced:010}.{SEGMENT_SUFFIX}");
        Place {
            sequence,
            path: place.path.with_file_name(name),
        }
    }

    /// Shows readers a segment in the place of another, whose file stays until `take_replaced`; returns false if that one is
    /// no longer there.
    pub(crate) fn replace(&self, old: &Place, new: &Segment) -> bool {
        self.damage.forget(|of| of == old.sequence);
        let mut segments = self.segments.write();
        let list = Arc::make_mut(&mut segments);
        let number = |segment: &Segment| segment.place().sequence;
        let Ok(at) = list.binary_search_by_key(&old.sequence, number) else {
            return false;
        };
        let bytes = list.remove(at).bytes();
        // Its number is the highest that was given, but for those of segments begun meanwhile.
        let at = list.partition_point(|other| number(other) < number(new));
        list.insert(at, new.clone());
        self.note_replaced(old.path.clone(), bytes);
        true
    }

    /// Notes a file that is to be deleted.
    pub(crate) fn note_replaced(&self, path: PathBuf, bytes: u64) {
        self.replaced.lock().push((path, bytes));
    }

    /// Returns the size of the files that others took the place of and that are not deleted yet.
    pub(crate) fn replaced_bytes(&self) -> u64 {
        let replaced = self.replaced.lock();
        replaced.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Returns the files that others took the place of since the last call.
    pub(crate) fn take_replaced(&self) -> Vec<(PathBuf, u64)> {
        std::mem::take(&mut *self.replaced.lock())
    }

    /// Notes a segment that is not sampled until the next start.
    pub(crate) fn keep_whole(&self, segment: &Segment) {
        self.whole.lock().insert(segment.place().sequence);
    }

    /// Returns whether a segment is not sampled.
    pub(crate) fn stays_whole(&self, segment: &Segment) -> bool {
        self.whole.lock().contains(&segment.place().sequence)
    }

    /// Returns the number of a segment that could not be created, unless another was named since.
    pub(crate) fn take_back(&self, place: &Place) {
        let (named, free) = (place.sequence + 1, place.sequence);
        let next = &self.next;
        // If another was named since, the number stays unused.
        let _unused = next.compare_exchange(named, free, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes new segments get higher numbers than this one.
    pub(crate) fn note_sequence(&self, sequence: u64) {
        self.next.fetch_max(sequence + 1, Ordering::Relaxed);
    }

    /// Makes a segment visible to readers, replacing any with the same number.
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

    pub(crate) fn remove(&self, sequence: u64) {
        self.damage.forget(|of| of == sequence);
        let mut segments = self.segments.write();
        Arc::make_mut(&mut segments).retain(|segment| segment.place().sequence != sequence);
    }
}
