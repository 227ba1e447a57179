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
use crate::log::{Committer, Damage, Deletions, Opened, Retention, StoreError, Stretch};
use crate::model::{LogPage, LogQuery, LogRecord, UnixNanos};
use crate::store::cancel::{TimeLimit, off_worker};
use crate::sync::RwLock;
pub(crate) use block::LogCodec;
pub(crate) use columns::fuzz_block;
use index::{Class, Expired, Found, Index, SegmentId};
use search::Newest;
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
        Self::open_with(dir, (retention, bytes_max), LINGER, counters)
    }

    pub(crate) fn open_with(
        dir: &Path,
        (max_age, bytes_max): (Duration, u64),
        linger: Duration,
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
        let commit = move |records| writer.commit(records);
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

    /// Returns one page of matching records, newest first; a slow search ends early and says so.
    ///
    /// # Errors
    /// When a file cannot be read at the moment. Permanent damage is counted and skipped.
    pub async fn search(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let deadline = Instant::now() + SEARCH_TIME_MAX;
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

    fn read(
        &self,
        open: &mut Opened,
        place: Found,
        newest: &mut Newest<'_>,
    ) -> Result<(), StoreError> {
        let stretch = Stretch {
            path: place.segment.path(&self.inner.root),
            file: place.segment,
            offset: place.offset,
            length: place.len,
        };
        let Some(bytes) = open.read(&LogCodec, &stretch, &self.inner.damage)? else {
            return Ok(());
        };
        let lost = newest.read(&bytes)?;
        if lost > 0 {
            let incidents = &self.inner.counters.incidents;
            incidents.add(Incident::UnreadableRecord, lost);
            let problem = format!("{lost} records of damaged blocks");
            self.inner
                .damage
                .report(place.segment, place.offset, &problem);
        }
        Ok(())
    }

    /// Deletes segments that ended before the retention, and the oldest ones beyond the disk budget.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn enforce_retention(&self, now: UnixNanos) -> Result<(), StoreError> {
        let mut expired = Vec::new();
        for (class, retention) in &self.inner.retention {
            let reason = |ended, bytes| retention.reason(ended, bytes, now);
            expired.extend(self.inner.index.write().forget(*class, reason));
        }
        let gone = |segment| expired.iter().any(|expired| expired.segment == segment);
        self.inner.damage.forget(gone);
        let mut deletions = Deletions::default();
        let outcome = expired.iter().try_for_each(|expired| {
            self.delete(expired.segment)?;
            let Expired {
                reason,
                ended,
                bytes,
                ..
            } = expired;
            deletions.add(*reason, *ended, 0, *bytes);
            Ok(())
        });
        deletions.report("logs", &self.inner.counters);
        outcome
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
