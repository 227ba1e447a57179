//! Writes groups of records: one block per kind and day, one sync per file.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::block::{self, MAX_BLOCK_RECORDS};
use super::extent::Extent;
use super::hint;
use super::index::{Index, file_path};
use super::record::{SeriesKind, SeriesRecord};
use crate::log::{Day, LogFile};
use crate::model::MINUTE;
use crate::store::StoreError;
use crate::sync::RwLock;

/// Files kept open: today's and, around midnight, yesterday's.
const MAX_OPEN_FILES: usize = 2 * SeriesKind::ALL.len();

#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    index: Arc<RwLock<Index>>,
    files: BTreeMap<(Day, SeriesKind), OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: LogFile,
    /// The open extent and its strings; `None` after opening, so that the next block starts an extent.
    extent: Option<(Extent, HashMap<String, u64>)>,
    is_dirty: bool,
}

/// A written block that readers cannot see yet.
type Written = (Day, u64, block::Header);

impl Writer {
    pub(super) fn new(root: PathBuf, index: Arc<RwLock<Index>>) -> Self {
        Self {
            root,
            index,
            files: BTreeMap::new(),
        }
    }

    /// Makes records durable and visible; all of them or, after an error, none.
    pub(super) fn commit(&mut self, records: Vec<SeriesRecord>) -> Result<(), StoreError> {
        let written = self.write(records).and_then(|written| {
            self.sync()?;
            Ok(written)
        });
        let result = written.map(|written| self.publish(&written));
        if result.is_err() {
            // When opened again, a file is truncated to the indexed blocks.
            self.files.clear();
        }
        while self.files.len() > MAX_OPEN_FILES {
            self.files.pop_first();
        }
        result
    }

    fn write(&mut self, records: Vec<SeriesRecord>) -> Result<Vec<Written>, StoreError> {
        let mut groups: BTreeMap<(Day, SeriesKind, u32), Vec<SeriesRecord>> = BTreeMap::new();
        for record in records {
            let day = Day::of(record.time());
            let group = (day, record.kind(), shard(&record));
            groups.entry(group).or_default().push(record);
        }
        let mut written = Vec::new();
        for ((day, kind, _), mut records) in groups {
            // Records close in time compress better.
            records.sort_by_key(SeriesRecord::time);
            for records in records.chunks(MAX_BLOCK_RECORDS) {
                let (offset, header) = self.open(day, kind)?.append(kind, records)?;
                written.push((day, offset, header));
            }
        }
        Ok(written)
    }

    fn open(&mut self, day: Day, kind: SeriesKind) -> Result<&mut OpenFile, StoreError> {
        use std::collections::btree_map::Entry;
        match self.files.entry((day, kind)) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let path = file_path(&self.root, day, kind);
                let index = self.index.read();
                let length = index.length(day, kind);
                drop(index);
                let file = if length > 0 && path.exists() {
                    LogFile::resume(&path, length)?
                } else {
                    let mut index = self.index.write();
                    index.remove(day, kind);
                    drop(index);
                    LogFile::create(&path, b"")?
                };
                Ok(entry.insert(OpenFile {
                    file,
                    extent: None,
                    is_dirty: false,
                }))
            }
        }
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        for file in self.files.values_mut().filter(|file| file.is_dirty) {
            file.file.sync()?;
            file.is_dirty = false;
        }
        Ok(())
    }

    fn publish(&self, written: &[Written]) {
        let mut index = self.index.write();
        for (day, offset, header) in written {
            if let Some(complete) = index.add(*day, *offset, header) {
                hint::append(&file_path(&self.root, *day, header.kind), &complete);
            }
        }
    }
}

impl OpenFile {
    fn append(
        &mut self,
        kind: SeriesKind,
        records: &[SeriesRecord],
    ) -> Result<(u64, block::Header), StoreError> {
        let start = records[0].time();
        let has_room = |extent: &Extent| kind != SeriesKind::Rollup && extent.has_room(start.get());
        let open = self.extent.take().filter(|(extent, _)| has_room(extent));
        let (extent, mut strings) = open.unzip();
        let strings = strings.get_or_insert_default();
        let (header, bytes) = block::encode(records, strings, extent.is_none())
            .map_err(|error| self.file.error("encode a block for", error))?;
        self.is_dirty = true;
        let offset = self.file.append(&bytes)?;
        let extent = match extent {
            Some(mut extent) => {
                extent.add(offset, &header);
                extent
            }
            None => Extent::new(offset, &header),
        };
        self.extent = Some((extent, std::mem::take(strings)));
        Ok((offset, header))
    }
}

/// Returns which block of a group a record goes to. Hourly rollups are spread by key, so that reading a week
/// of one breaker reads a sixteenth of them; other kinds are read by time, all breakers together. Calls between services
/// may have begun hours apart: a block of one minute each, so that no minute between is shipped again.
fn shard(record: &SeriesRecord) -> u32 {
    match record {
        SeriesRecord::Dependency(calls) => calls.minute.window(MINUTE) as u32,
        SeriesRecord::Rollup(_) => record.key_bit().trailing_zeros() / 4,
        _ => 0,
    }
}
