//! The thread that owns the files: gathers what is waiting, writes one block per kind and day, syncs once,
//! answers everybody who waited.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::block::{self, MAX_BLOCK_RECORDS};
use super::index::{Day, Index, file_path};
use super::record::{SeriesKind, SeriesRecord};
use super::{Io, io, sidecar};
use crate::store::StoreError;

/// Between two syncs when busy: what comes meanwhile shares the next one.
const SYNC_GAP: Duration = Duration::from_millis(20);
/// Most records written with one sync; a waiting group above it is written at once.
const MAX_GROUP_RECORDS: usize = 20_000;
/// Files kept open: today's and, around midnight, yesterday's.
const MAX_OPEN_FILES: usize = 2 * SeriesKind::ALL.len();

/// Records to be made durable, and who waits for it.
pub(super) struct Append {
    pub(super) records: Vec<SeriesRecord>,
    pub(super) done: oneshot::Sender<Result<(), StoreError>>,
}

impl Append {
    /// Returns whether somebody watches: samples alone may wait for others to share a block.
    fn is_urgent(&self) -> bool {
        let patient = |record: &SeriesRecord| matches!(record, SeriesRecord::Sample(_));
        !self.records.iter().all(patient)
    }
}

/// The files and where their ends are.
pub(super) struct Writer {
    root: PathBuf,
    linger: Duration,
    index: Arc<RwLock<Index>>,
    files: BTreeMap<(Day, SeriesKind), OpenFile>,
    last_sync: Option<Instant>,
}

struct OpenFile {
    path: PathBuf,
    file: File,
    len: u64,
    /// The strings of the open extent; none right after opening: the next block starts an extent.
    strings: Option<HashMap<String, u64>>,
    dirty: bool,
}

impl Writer {
    pub(super) fn new(root: PathBuf, linger: Duration, index: Arc<RwLock<Index>>) -> Self {
        Self {
            root,
            linger,
            index,
            files: BTreeMap::new(),
            last_sync: None,
        }
    }

    /// Serves until every sender is gone.
    pub(super) fn run(mut self, queue: &Receiver<Append>) {
        while let Ok(first) = queue.recv() {
            let group = self.gather(first, queue);
            let (records, waiting) = split(group);
            let result = self.commit(records);
            self.last_sync = Some(Instant::now());
            for done in waiting {
                // Who gave up waiting needs no answer.
                let _ = done.send(result.clone());
            }
        }
    }

    /// Waits for others to share the sync: shortly, and longer when there are only samples.
    fn gather(&self, first: Append, queue: &Receiver<Append>) -> Vec<Append> {
        let now = Instant::now();
        let soon = self.last_sync.map_or(now, |last| last + SYNC_GAP);
        let mut deadline = if first.is_urgent() {
            soon
        } else {
            now + self.linger
        };
        let mut records = first.records.len();
        let mut group = vec![first];
        while records < MAX_GROUP_RECORDS {
            let wait = deadline.saturating_duration_since(Instant::now());
            match queue.recv_timeout(wait) {
                Ok(next) => {
                    if next.is_urgent() {
                        deadline = deadline.min(soon);
                    }
                    records += next.records.len();
                    group.push(next);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        group
    }

    fn commit(&mut self, records: Vec<SeriesRecord>) -> Result<(), StoreError> {
        let mut groups: BTreeMap<(Day, SeriesKind, u32), Vec<SeriesRecord>> = BTreeMap::new();
        for record in records {
            let day = Day::of(record.time_unix_nanos());
            let place = (day, record.kind(), shard(&record));
            groups.entry(place).or_default().push(record);
        }
        let mut written = Vec::new();
        let result = groups
            .into_iter()
            .try_for_each(|((day, kind, _), mut records)| {
                // Neighbours of one breaker compress better.
                records.sort_by_key(SeriesRecord::time_unix_nanos);
                records
                    .chunks(MAX_BLOCK_RECORDS)
                    .try_for_each(|chunk| self.write(day, kind, chunk, &mut written))
            });
        let result = result.and_then(|()| self.sync());
        match &result {
            Ok(()) => self.publish(&written),
            Err(_) => self.files.clear(),
        }
        self.close_old_files();
        result
    }

    fn write(
        &mut self,
        day: Day,
        kind: SeriesKind,
        records: &[SeriesRecord],
        written: &mut Vec<(Day, u64, block::Header)>,
    ) -> Result<(), StoreError> {
        let start = records[0].time_unix_nanos();
        let room = self.room(day, kind, start, written);
        let file = self.open(day, kind)?;
        let starts_extent = !room || file.strings.is_none();
        if starts_extent {
            file.strings = Some(HashMap::new());
        }
        let strings = file.strings.get_or_insert_default();
        let (header, bytes) =
            block::encode(records, strings, starts_extent).map_err(io(Io::Encode, &file.path))?;
        file.dirty = true;
        file.file
            .write_all(&bytes)
            .map_err(io(Io::Append, &file.path))?;
        written.push((day, file.len, header));
        file.len += bytes.len() as u64;
        Ok(())
    }

    /// Returns whether the open extent of a file takes another block.
    fn room(
        &self,
        day: Day,
        kind: SeriesKind,
        start: u64,
        written: &[(Day, u64, block::Header)],
    ) -> bool {
        if kind == SeriesKind::Rollup {
            return false;
        }
        let just = |entry: &&(Day, u64, block::Header)| entry.0 == day && entry.2.kind == kind;
        if written.iter().any(|entry| just(&entry)) {
            // Only a large group has two blocks of a kind: the second one joins the first one's extent.
            return true;
        }
        let index = self
            .index
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        index
            .last(day, kind)
            .is_some_and(|extent| extent.has_room(start))
    }

    fn open(&mut self, day: Day, kind: SeriesKind) -> Result<&mut OpenFile, StoreError> {
        use std::collections::btree_map::Entry;
        match self.files.entry((day, kind)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let path = file_path(&self.root, day, kind);
                let durable = {
                    let index = self
                        .index
                        .read()
                        .unwrap_or_else(|poisoned| poisoned.into_inner());
                    index
                        .last(day, kind)
                        .map_or(0, |last| last.offset + last.len)
                };
                Ok(entry.insert(open_at(path, durable)?))
            }
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        for file in self.files.values_mut().filter(|file| file.dirty) {
            file.file.sync_data().map_err(io(Io::Sync, &file.path))?;
            file.dirty = false;
        }
        Ok(())
    }

    fn publish(&self, written: &[(Day, u64, block::Header)]) {
        let mut index = self
            .index
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for (day, offset, header) in written {
            let complete = index
                .last(*day, header.kind)
                .filter(|_| header.starts_extent);
            if let Some(complete) = complete {
                sidecar::append(&file_path(&self.root, *day, header.kind), &complete);
            }
            index.add(*day, *offset, header);
        }
    }

    fn close_old_files(&mut self) {
        while self.files.len() > MAX_OPEN_FILES {
            self.files.pop_first();
        }
    }
}

/// Returns which block of its group a record goes to. The hours of many breakers are spread by key, so that a
/// week of one breaker reads a sixteenth of them; other kinds are read by time, all breakers together.
fn shard(record: &SeriesRecord) -> u32 {
    match record {
        SeriesRecord::Rollup(_) => record.key_bit().trailing_zeros() / 4,
        _ => 0,
    }
}

/// Opens a file for appending; what lies behind its durable end (a write that failed) is cut off.
fn open_at(path: PathBuf, durable: u64) -> Result<OpenFile, StoreError> {
    let folder = path.parent().unwrap_or(&path);
    let is_new = !path.exists();
    fs::create_dir_all(folder).map_err(io(Io::CreateFolder, folder))?;
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(io(Io::Open, &path))?;
    file.set_len(durable).map_err(io(Io::Truncate, &path))?;
    file.seek(SeekFrom::Start(durable))
        .map_err(io(Io::Open, &path))?;
    if is_new {
        sync_folders(folder)?;
    }
    Ok(OpenFile {
        path,
        file,
        len: durable,
        strings: None,
        dirty: false,
    })
}

/// Makes the names of a new file and its folder durable; where folders cannot be synced, they need not be.
fn sync_folders(folder: &std::path::Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        for folder in [Some(folder), folder.parent()].into_iter().flatten() {
            let opened = File::open(folder).map_err(io(Io::Open, folder))?;
            opened.sync_all().map_err(io(Io::Sync, folder))?;
        }
    }
    Ok(())
}

type Waiting = Vec<oneshot::Sender<Result<(), StoreError>>>;

fn split(group: Vec<Append>) -> (Vec<SeriesRecord>, Waiting) {
    let mut records = Vec::new();
    let mut waiting = Vec::new();
    for append in group {
        records.extend(append.records);
        waiting.push(append.done);
    }
    (records, waiting)
}
