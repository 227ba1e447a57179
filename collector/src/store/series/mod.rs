//! Append-only journal of everything that is no span: circuit samples, transitions, settings, hourly rollups,
//! and the minutes of operations and dependencies. Records come from `live`, and queries of any moment read
//! them back. One thread owns the files; an append is answered once it is durable.

mod block;
mod decode;
mod encode;
mod faults;
mod index;
mod record;
mod recover;
mod sidecar;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

pub use record::{
    DependencyMinute, InstanceRecord, RedMinute, Rollup, RollupMinute, SeriesKind, SeriesRecord,
    SettingsRecord, Standing, key_bit,
};

use crate::counters::{Counters, Incident};
use crate::model::{CircuitKey, TimeRange};
use crate::store::{SeriesReader, StoreError};
use block::{HEADER_BYTES, Header};
use faults::Faults;
use index::{Found, Index, file_path};
use writer::{Append, Writer};

/// How long samples wait for those of other instances, to share a block and a sync: at most ten a second.
const SAMPLE_LINGER: Duration = Duration::from_millis(100);
/// Appends that may wait for the disk; more wait before they are queued.
const MAX_WAITING_APPENDS: usize = 4_096;

/// The journal; cheap to clone.
#[derive(Debug, Clone)]
pub struct SeriesLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    retention: Duration,
    index: Arc<RwLock<Index>>,
    queue: mpsc::Sender<Append>,
    waiting: Semaphore,
    counters: Arc<Counters>,
    faults: Faults,
}

/// What the journal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesStats {
    /// Runs of blocks in the index.
    pub extents: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

impl SeriesLog {
    /// Opens the journal under `<dir>/series`, repairing what a crash left.
    ///
    /// # Errors
    /// When the folder cannot be made or a file cannot be read.
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
        let index = Arc::new(RwLock::new(recover::recover(&root, &counters)?));
        let (queue, appends) = mpsc::channel();
        let writer = Writer::new(root.clone(), linger, Arc::clone(&index));
        std::thread::Builder::new()
            .name("series-writer".to_owned())
            .spawn(move || writer.run(&appends))
            .map_err(io(Io::StartWriter, &root))?;
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                retention,
                index,
                queue,
                waiting: Semaphore::new(MAX_WAITING_APPENDS),
                faults: Faults::new(Arc::clone(&counters)),
                counters,
            }),
        })
    }

    /// Appends records; returns once they are durable.
    ///
    /// # Errors
    /// When the disk refuses; nothing of them is promised then.
    pub async fn append(&self, records: Vec<SeriesRecord>) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let _permit = self.inner.waiting.acquire().await;
        let (done, durable) = oneshot::channel();
        if self.inner.queue.send(Append { records, done }).is_err() {
            return Err(self.writer_gone());
        }
        durable.await.unwrap_or_else(|_| Err(self.writer_gone()))
    }

    /// Returns the records of a kind in that range, in the order of arrival; only of one breaker when given.
    ///
    /// # Errors
    /// When a file cannot be read just now; what stays damaged is counted and passed over.
    pub async fn read(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<CircuitKey>,
    ) -> Result<Vec<SeriesRecord>, StoreError> {
        let log = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut records = Vec::new();
            log.scan(kind, range, only.as_ref(), &mut |record| {
                records.push(record)
            })
            .map(|()| records)
        });
        read.await.unwrap_or_else(|error| {
            Err(io(Io::Read, &self.inner.root)(std::io::Error::other(error)))
        })
    }

    /// Visits the records of a kind in that range, in the order of arrival; blocks the thread.
    ///
    /// # Errors
    /// When a file cannot be read just now; what stays damaged is counted and passed over.
    pub fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        let keys = only.map_or(u64::MAX, |key| key_bit(&key.service, &key.name));
        let found = self.index().find(kind, range, keys);
        let mut open: Option<(PathBuf, File)> = None;
        for place in found {
            let Some(bytes) = self.extent(&mut open, kind, place)? else {
                continue;
            };
            let lost = visit_extent(&bytes, range, keys, only, visit);
            self.count_lost(kind, place, lost);
        }
        Ok(())
    }

    /// Reads an extent's bytes, of one that cannot be read for long what can; `None` when retention removed the file.
    fn extent(
        &self,
        open: &mut Option<(PathBuf, File)>,
        kind: SeriesKind,
        place: Found,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let path = file_path(&self.inner.root, place.day, kind);
        let faults = &self.inner.faults;
        // Who cannot open a file (too many are open, a mount is away) knows nothing of what is in it.
        let Some(file) = opened(open, &path)? else {
            return Ok(None);
        };
        match read_extent(file, &path, place) {
            Ok(bytes) => {
                faults.is_read(kind, place);
                if !are_blocks(&bytes) {
                    faults.tell(kind, place, &"a block has no header any more");
                }
                Ok(Some(bytes))
            }
            Err(error) if faults.gives_up(kind, place, &error) => {
                Ok(Some(faults::readable(&path, place.extent)))
            }
            Err(error) => Err(error),
        }
    }

    /// Counts records that could not be read.
    fn count_lost(&self, kind: SeriesKind, place: Found, lost: u64) {
        if lost > 0 {
            self.inner
                .counters
                .incidents
                .add(Incident::UnreadableRecord, lost);
            let problem = format!("{lost} records of damaged blocks");
            self.inner.faults.tell(kind, place, &problem);
        }
    }

    /// Changes for how long reading is tried before it is given up.
    #[cfg(test)]
    pub(crate) fn give_up_after(&self, patience: Duration) {
        self.inner.faults.set_patience(patience);
    }

    /// Returns the latest time of any record of that kind, Unix nanoseconds.
    pub fn latest(&self, kind: SeriesKind) -> Option<u64> {
        self.index().latest(kind)
    }

    /// Removes the days that lie wholly before the retention.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn enforce_retention(&self, now_unix_nanos: u64) -> Result<(), StoreError> {
        let kept = u64::try_from(self.inner.retention.as_nanos()).unwrap_or(u64::MAX);
        let days = {
            let mut index = self.inner.index.write();
            let index = index.as_mut().unwrap_or_else(|poisoned| poisoned.get_mut());
            index.forget_before(now_unix_nanos.saturating_sub(kept))
        };
        self.inner.faults.forget(&days);
        for day in days {
            let folder = day.folder(&self.inner.root);
            fs::remove_dir_all(&folder).map_err(io(Io::Remove, &folder))?;
        }
        Ok(())
    }

    /// Returns for how long records are kept.
    pub fn retention(&self) -> Duration {
        self.inner.retention
    }

    /// Returns what it holds.
    pub fn stats(&self) -> SeriesStats {
        let (extents, bytes) = self.index().size();
        SeriesStats { extents, bytes }
    }

    fn index(&self) -> std::sync::RwLockReadGuard<'_, Index> {
        self.inner
            .index
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn writer_gone(&self) -> StoreError {
        io(Io::Append, &self.inner.root)(std::io::Error::other("the writer has stopped"))
    }
}

impl SeriesReader for SeriesLog {
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        Self::scan(self, kind, range, only, visit)
    }

    fn latest(&self, kind: SeriesKind) -> Result<Option<u64>, StoreError> {
        Ok(Self::latest(self, kind))
    }
}

/// Returns the file of that path, opened before or now; `None` when retention removed it.
fn opened<'a>(
    open: &'a mut Option<(PathBuf, File)>,
    path: &Path,
) -> Result<Option<&'a mut File>, StoreError> {
    if open.as_ref().is_none_or(|(opened, _)| opened != path) {
        match File::open(path) {
            Ok(file) => *open = Some((path.to_owned(), file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(Io::Open, path)(error)),
        }
    }
    Ok(open.as_mut().map(|(_, file)| file))
}

/// Reads an extent's bytes.
fn read_extent(file: &mut File, path: &Path, place: Found) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![0; usize::try_from(place.extent.len).unwrap_or(usize::MAX)];
    file.seek(SeekFrom::Start(place.extent.offset))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(io(Io::Read, path))?;
    Ok(bytes)
}

/// Visits the records of an extent; returns how many could not be read.
fn visit_extent(
    bytes: &[u8],
    range: TimeRange,
    keys: u64,
    only: Option<&CircuitKey>,
    visit: &mut dyn FnMut(SeriesRecord),
) -> u64 {
    let mut strings = Vec::new();
    let mut lost = 0;
    let mut in_range = |record: SeriesRecord| {
        if range.contains(record.time_unix_nanos()) {
            visit(record);
        }
    };
    for (at, header, payload) in blocks(bytes) {
        let is_last = at + HEADER_BYTES + payload.len() == bytes.len();
        // Without the key it matters only for the strings that later blocks use.
        if header.keys & keys != 0 || !is_last {
            lost += block::decode(&header, payload, &mut strings, only, &mut in_range);
        }
    }
    lost
}

/// Returns whether an extent is blocks and nothing else.
fn are_blocks(extent: &[u8]) -> bool {
    let lengths = blocks(extent).map(|(_, header, _)| header.block_len());
    lengths.sum::<u64>() == extent.len() as u64
}

/// Returns the blocks of an extent with their offsets; what is damaged between them is passed over.
fn blocks(extent: &[u8]) -> impl Iterator<Item = (usize, Header, &[u8])> {
    let mut next = 0;
    std::iter::from_fn(move || {
        while next + HEADER_BYTES <= extent.len() {
            let at = next;
            let Some(header) = Header::read(&extent[at..]) else {
                next += 1;
                continue;
            };
            next = extent.len().min(at + header.block_len() as usize);
            return Some((at, header, &extent[at + HEADER_BYTES..next]));
        }
        None
    })
}

/// What was being done to a file.
#[derive(Debug, Clone, Copy)]
enum Io {
    CreateFolder,
    List,
    Open,
    Read,
    Truncate,
    Encode,
    Append,
    Sync,
    Remove,
    StartWriter,
}

/// Returns what turns a system's error into ours.
fn io(action: Io, path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    let path = path.to_owned();
    let action = match action {
        Io::CreateFolder => "create",
        Io::List => "list",
        Io::Open => "open",
        Io::Read => "read",
        Io::Truncate => "truncate",
        Io::Encode => "encode a block for",
        Io::Append => "append to",
        Io::Sync => "sync",
        Io::Remove => "remove",
        Io::StartWriter => "start the writer of",
    };
    move |source| StoreError::io(action, &path, source)
}
