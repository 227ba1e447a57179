//! The log store: records are appended in columns, found by trace, and searched newest first. They come from
//! the pipeline once their request is decoded; an append returns once it is durable.
//!
//! Records without a trace id have their own segments, limited to a quarter of the space: a service that logs
//! without traces does not displace the records of a trace.

mod block;
mod columns;
mod extent;
mod filter;
mod hint;
mod index;
mod search;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio::time::Instant;

use crate::counters::{Counters, Incident};
use crate::log::{
    Committer, Damage, Deletions, Opened, Reason, Retention, StoreError, Stretch, is_older,
};
use crate::model::{LogPage, LogQuery, LogRecord, UnixNanos};
use crate::store::cancel::{TimeLimit, off_worker};
use crate::store::{Follow, LogReader};
use crate::sync::{Mutex, RwLock};
pub(crate) use block::LogCodec;
pub(crate) use columns::fuzz_block;
pub(crate) use index::Class;
use index::{Aged, Found, Index, SegmentId};
pub(crate) use search::Newest;
pub(crate) use tail::Tail;
use writer::Writer;

/// How long records wait to share a block and a sync with others: at most ten syncs a second. Exporters send
/// in the background.
const LINGER: Duration = Duration::from_millis(100);
/// Time limit of a search, as for traces.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(10);
/// Records without a trace get one part in this many of the space.
const OTHER_PART: u64 = 4;
/// A segment takes at most one part in this many of its class's space, so that deleting the oldest leaves the
/// rest.
const SEGMENT_PART: u64 = 8;
const SEGMENT_BYTES_MAX: u64 = 32 << 20;

/// The log store; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    retention: BTreeMap<Class, Retention>,
    index: Arc<RwLock<Index>>,
    committer: Committer<LogRecord>,
    counters: Arc<Counters>,
    damage: Damage<SegmentId>,
    /// `None` where records are not shipped.
    follow: Option<Follow>,
    /// Held while records are written or segments deleted: nothing is appended to a segment that goes.
    files: Arc<Mutex<()>>,
}

/// Size of the log store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Number of records.
    pub records: u64,
    /// Size on disk.
    pub bytes: u64,
}

impl LogStore {
    /// Opens the store in `<dir>/logs`, recovering after a crash. Records are kept for `retention` and take
    /// at most `bytes_max` on disk.
    ///
    /// # Errors
    /// When the folder cannot be created or a file cannot be read.
    pub fn open(
        dir: &Path,
        retention: Duration,
        bytes_max: u64,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        Self::open_followed(dir, (retention, bytes_max), None, counters)
    }

    /// As `open`, for records that are stored elsewhere too.
    pub(crate) fn open_followed(
        dir: &Path,
        bounds: (Duration, u64),
        follow: Option<Follow>,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        Self::open_with(dir, bounds, LINGER, follow, counters)
    }

    pub(crate) fn open_with(
        dir: &Path,
        (max_age, bytes_max): (Duration, u64),
        linger: Duration,
        follow: Option<Follow>,
        counters: Arc<Counters>,
    ) -> Result<Self, StoreError> {
        let root = dir.join("logs");
        let index = Arc::new(RwLock::new(Index::open(&root, &counters)?));
        let retention = |class| {
            let max_bytes = match class {
                Class::Traced => bytes_max - bytes_max / OTHER_PART,
                Class::Other => bytes_max / OTHER_PART,
            };
            (class, Retention { max_age, max_bytes })
        };
        let retention = BTreeMap::from(Class::ALL.map(retention));
        let segment = |(class, kept): (&Class, &Retention)| {
            (
                *class,
                (kept.max_bytes / SEGMENT_PART).min(SEGMENT_BYTES_MAX),
            )
        };
        let segment_bytes = retention.iter().map(segment).collect();
        let mut writer = Writer::new(root.clone(), Arc::clone(&index), segment_bytes);
        let files = Arc::new(Mutex::default());
        let written = Arc::clone(&files);
        let commit = move |records| {
            let _no_deletion = written.lock();
            writer.commit(records)
        };
        let committer = Committer::start("logs-writer", linger, commit)
            .map_err(|error| StoreError::io("start the writer of", &root, error))?;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                retention,
                index,
                committer,
                damage: Damage::new(Incident::UnreadableLogs, Arc::clone(&counters)),
                counters,
                follow,
                files,
            }),
        })
    }

    /// Appends records; returns once they are durable.
    ///
    /// # Errors
    /// When the disk fails; any of the records may then be lost.
    pub async fn append(&self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len() as u64;
        let appended = self.inner.committer.append(records, false).await;
        let appended = appended.unwrap_or_else(|| {
            let error = io::Error::other("the writer has stopped");
            Err(StoreError::io("append to", &self.inner.root, error))
        });
        if appended.is_ok() {
            self.inner.counters.log_records_written.add(count);
        }
        appended
    }

    /// As `search`, which ends at that moment.
    pub(crate) async fn search_until(
        &self,
        query: LogQuery,
        deadline: Instant,
    ) -> Result<LogPage, StoreError> {
        let store = self.clone();
        let limit = TimeLimit::new(move || Instant::now() > deadline);
        off_worker(&self.inner.root, move || {
            store.search_within(&query, &limit)
        })
        .await
    }

    fn search_within(&self, query: &LogQuery, limit: &TimeLimit) -> Result<LogPage, StoreError> {
        let found = self.inner.index.read().find(query);
        let mut newest = Newest::new(query);
        let mut open = Opened::default();
        let _limited = limit.enter();
        for place in found {
            if newest.is_settled(place.zone.end) {
                break;
            }
            match self.read(&mut open, place, &mut newest) {
                Ok(()) => {}
                Err(StoreError::TimeOver) => {
                    return Ok(newest.page(Some(search::latest(&place, query))));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(newest.page(None))
    }

    fn read(&self, open: &mut Opened, place: Found, newest: &mut Newest) -> Result<(), StoreError> {
        if let Some(bytes) = self.bytes(open, place)? {
            let lost = newest.read(&bytes)?;
            self.count_lost(place, lost);
        }
        Ok(())
    }

    /// Reads a stretch, of one that cannot be read for long what can; `None` when retention removed the file.
    fn bytes(&self, open: &mut Opened, place: Found) -> Result<Option<Vec<u8>>, StoreError> {
        let stretch = Stretch {
            path: place.segment.path(&self.inner.root),
            file: place.segment,
            offset: place.offset,
            length: place.len,
        };
        open.read(&LogCodec, &stretch, &self.inner.damage)
    }

    /// Counts records that could not be read.
    fn count_lost(&self, place: Found, lost: u64) {
        if lost > 0 {
            let incidents = &self.inner.counters.incidents;
            incidents.add(Incident::UnreadableRecord, lost);
            let problem = format!("{lost} records of damaged blocks");
            self.inner
                .damage
                .report(place.segment, place.offset, &problem);
        }
    }

    /// Deletes the segments that ended before the retention, those that are stored elsewhere for long enough, and the oldest
    /// beyond the room that there is.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn enforce_retention(&self, now: UnixNanos) -> Result<(), StoreError> {
        let _nothing_is_written = self.inner.files.lock();
        let mut expired = Vec::new();
        for (class, retention) in &self.inner.retention {
            let reason = |aged: &Aged, bytes| {
                let reason = retention.reason(aged.ended, bytes, now);
                let reason = reason.or_else(|| self.is_shipped(aged, now))?;
                // Before readers find them gone.
                self.note_deletion(aged);
                Some(reason)
            };
            expired.extend(self.inner.index.write().forget(*class, reason));
        }
        let gone = |segment| expired.iter().any(|(aged, _)| aged.segment == segment);
        self.inner.damage.forget(gone);
        // Saved before the deletion, so that a crash in between does not hide where the records are now; and after it where
        // the disk was full, which only the deletion mends.
        let before = self.save_notes();
        let mut deletions = Deletions::default();
        let outcome = expired.iter().try_for_each(|(aged, reason)| {
            self.delete(aged.segment)?;
            deletions.add(*reason, aged.ended, 0, aged.bytes);
            Ok(())
        });
        deletions.report("logs", &self.inner.counters);
        outcome.and(before.or_else(|_| self.save_notes()))
    }

    /// Returns the reason to delete a segment of which every record is shipped, and was here for as long as it should be.
    fn is_shipped(&self, aged: &Aged, now: UnixNanos) -> Option<Reason> {
        let follow = self.inner.follow.as_ref()?;
        let unshipped = follow.followed.unshipped(aged.segment.number, aged.records);
        (unshipped == 0 && is_older(aged.ended, follow.keep, now)).then_some(Reason::Shipped)
    }

    /// Records that a segment is deleted; records of it that are not shipped are lost, and counted.
    fn note_deletion(&self, aged: &Aged) {
        if let Some(follow) = &self.inner.follow {
            let unshipped = follow.followed.unshipped(aged.segment.number, aged.records);
            // Searches ask for the times that records say: a later one is not here any more either.
            let last = aged.ended.max(aged.latest);
            follow.followed.note_deleted(last.get(), unshipped);
            let incidents = &self.inner.counters.incidents;
            incidents.add(Incident::LogRecordsLostUnshipped, unshipped);
        }
    }

    fn save_notes(&self) -> Result<(), StoreError> {
        let follow = self.inner.follow.as_ref();
        follow.map_or(Ok(()), |follow| follow.followed.save())
    }

    /// Returns how many records the retention would delete at that time that are not stored elsewhere.
    pub(crate) fn expired_records(&self, now: UnixNanos) -> u64 {
        let index = self.inner.index.read();
        let expired = self.inner.retention.iter().flat_map(|(class, retention)| {
            let mut aged = index.aged(*class);
            aged.retain(|aged| is_older(aged.ended, retention.max_age, now));
            aged.retain(|aged| self.is_shipped(aged, now).is_none());
            aged
        });
        expired.map(|aged| aged.records).sum()
    }

    fn delete(&self, segment: SegmentId) -> Result<(), StoreError> {
        let path = segment.path(&self.inner.root);
        let _no_hint = fs::remove_file(hint::path(&path));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path, error))
            }
            _ => {
                // Fails unless this was the last segment of the day.
                let _still_used = path.parent().map(fs::remove_dir);
                Ok(())
            }
        }
    }

    /// Returns how many records are not shipped yet; none where they never are.
    pub(crate) fn backlog(&self) -> u64 {
        let Some(follow) = &self.inner.follow else {
            return 0;
        };
        let index = self.inner.index.read();
        let segments = Class::ALL.into_iter().flat_map(|class| index.aged(class));
        segments
            .map(|aged| follow.followed.unshipped(aged.segment.number, aged.records))
            .sum()
    }

    /// Returns the size of the store.
    pub fn stats(&self) -> LogStats {
        let index = self.inner.index.read();
        let sizes = Class::ALL.map(|class| index.size(class));
        sizes
            .into_iter()
            .fold(LogStats::default(), |stats, (bytes, records)| LogStats {
                records: stats.records + records,
                bytes: stats.bytes + bytes,
            })
    }
}

impl LogReader for LogStore {
    /// As the trait has it; what stays damaged is counted and passed over.
    async fn search(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.search_until(query, Instant::now() + SEARCH_TIME_MAX)
            .await
    }
}
