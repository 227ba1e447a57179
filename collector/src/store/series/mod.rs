//! The series store: everything that is not a span. Circuit samples, transitions, settings and hourly
//! rollups, and the minutes of operations and dependencies. Records come from `live`, and queries of any time
//! range read them back. An append returns once it is durable. This module has the records' format and the
//! index by kind, day, time and key.

mod block;
mod decode;
mod encode;
mod extent;
mod hint;
mod index;
mod record;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLockReadGuard};
use std::time::Duration;
use std::{fs, io};

pub use record::{
    AddressRecord, DependencyMinute, InstanceRecord, RedMinute, Rollup, RollupMinute, SeriesKind,
    SeriesRecord, SeriesTotal, SettingsRecord, Standing, Totals, key_bit, stored_buckets,
};

use crate::counters::{Counters, Incident};
use crate::log::{Committer, Damage, Day, Deletions, Opened, Reason, Stretch, blocks, is_older};
use crate::model::{CircuitKey, TimeRange, UnixNanos};
use crate::store::cancel;
use crate::store::{SeriesReader, StoreError};
use crate::sync::RwLock;
pub(crate) use block::{SeriesCodec, fuzz_block};
use index::{Found, Index, file_path};
use writer::Writer;

/// How long samples wait to share a block and a sync with those of other instances: at most ten syncs a
/// second.
const SAMPLE_LINGER: Duration = Duration::from_millis(100);

/// The series store; cheap to clone.
#[derive(Debug, Clone)]
pub struct SeriesLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    retention: Duration,
    index: Arc<RwLock<Index>>,
    committer: Committer<SeriesRecord>,
    counters: Arc<Counters>,
    damage: Damage<(SeriesKind, Day)>,
}

/// Size of the series store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesStats {
    /// Number of extents in the index.
    pub extents: usize,
    /// Size on disk.
    pub bytes: u64,
}

impl SeriesLog {
    /// Opens the store in `<dir>/series`, recovering after a crash.
    ///
    /// # Errors
    /// When the folder cannot be created or a file cannot be read.
    pub fn open(
        dir: &Path,
        retention: Duration,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        Self::open_with(dir, retention, SAMPLE_LINGER, counters)
    }

    pub(crate) fn open_with(
        dir: &Path,
        retention: Duration,
        linger: Duration,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        let root = dir.join("series");
        let index = Arc::new(RwLock::new(Index::open(&root, &counters)?));
        let mut writer = Writer::new(root.clone(), Arc::clone(&index));
        let commit = move |records| writer.commit(records);
        let committer = Committer::start("series-writer", linger, commit)
            .map_err(|error| StoreError::io("start the writer of", &root, error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                retention,
                index,
                committer,
                damage: Damage::new(Incident::UnreadableSeries, Arc::clone(&counters)),
                counters,
            }),
        })
    }

    /// Appends records; returns once they are durable.
    ///
    /// # Errors
    /// When the disk fails; any of the records may then be lost.
    pub async fn append(&self, records: Vec<SeriesRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        // Every instance sends a sample per second, so samples can wait for each other; a user looks at the
        // rest.
        let is_sample = |record: &SeriesRecord| matches!(record, SeriesRecord::Sample(_));
        let is_urgent = !records.iter().all(is_sample);
        let appended = self.inner.committer.append(records, is_urgent).await;
        appended.unwrap_or_else(|| {
            let error = io::Error::other("the writer has stopped");
            Err(StoreError::io("append to", &self.inner.root, error))
        })
    }

    /// Reads an extent's bytes, or what is readable of one that has been unreadable for long; `None` if
    /// retention removed the file.
    fn extent(
        &self,
        open: &mut Opened,
        kind: SeriesKind,
        place: Found,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let stretch = Stretch {
            path: file_path(&self.inner.root, place.day, kind),
            file: (kind, place.day),
            offset: place.extent.offset,
            length: place.extent.len,
        };
        open.read(&SeriesCodec(kind), &stretch, &self.inner.damage)
    }

    fn count_lost(&self, kind: SeriesKind, place: Found, lost: u64) {
        if lost > 0 {
            self.inner
                .counters
                .incidents
                .add(Incident::UnreadableRecord, lost);
            let problem = format!("{lost} records of damaged blocks");
            let segment = (kind, place.day);
            self.inner
                .damage
                .report(segment, place.extent.offset, &problem);
        }
    }

    /// Sets how long reading is retried before data counts as lost.
    #[cfg(test)]
    pub(crate) fn give_up_after(&self, retry_for: Duration) {
        self.inner.damage.set_retry_for(retry_for);
    }

    /// Removes the days that end before the retention.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn enforce_retention(&self, now: UnixNanos) -> Result<(), StoreError> {
        let mut index = self.inner.index.write();
        let days = index.forget(|day| self.is_expired(day, now));
        drop(index);
        self.inner.damage.forget(|(_, day)| days.contains_key(&day));
        let mut deletions = Deletions::default();
        let outcome = days.into_iter().try_for_each(|(day, bytes)| {
            let folder = day.folder(&self.inner.root);
            fs::remove_dir_all(&folder)
                .map_err(|error| StoreError::io("remove", &folder, error))?;
            deletions.add(Reason::Retention, day.end(), 0, bytes);
            Ok(())
        });
        deletions.report("series", &self.inner.counters);
        outcome
    }

    /// Returns how many days the retention would remove at `now`.
    pub(crate) fn expired_days(&self, now: UnixNanos) -> usize {
        let is_expired = |day: &Day| self.is_expired(*day, now);
        self.index()
            .days()
            .filter(is_expired)
            .collect::<BTreeSet<_>>()
            .len()
    }

    fn is_expired(&self, day: Day, now: UnixNanos) -> bool {
        is_older(day.end(), self.inner.retention, now)
    }

    /// Returns the folder.
    pub(crate) fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Returns how long records are kept.
    pub fn retention(&self) -> Duration {
        self.inner.retention
    }

    /// Returns the size of the store.
    pub fn stats(&self) -> SeriesStats {
        let (extents, bytes) = self.index().size();
        SeriesStats { extents, bytes }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.inner.index.read()
    }
}

impl SeriesReader for SeriesLog {
    /// Visits in the order of arrival; permanent damage is counted and skipped.
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        let keys = only.map_or(u64::MAX, |key| key_bit(&key.service, &key.name));
        let found = self.index().find(kind, range, keys);
        let mut open = Opened::default();
        let mut in_range = |record: SeriesRecord| {
            if range.contains(record.time()) {
                visit(record);
            }
        };
        for place in found {
            cancel::check()?;
            let Some(bytes) = self.extent(&mut open, kind, place)? else {
                continue;
            };
            let mut strings = Vec::new();
            let mut lost = 0;
            for block in blocks(SeriesCodec(kind), &bytes) {
                cancel::check()?;
                let is_last = block.at + block.bytes.len() == bytes.len();
                // A block without the key is needed only for the strings that later blocks use.
                if block.header.keys & keys != 0 || !is_last {
                    lost += block::decode(&block, &mut strings, only, &mut in_range);
                }
            }
            self.count_lost(kind, place, lost);
        }
        Ok(())
    }

    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
        Ok(self.index().latest(kind))
    }
}
