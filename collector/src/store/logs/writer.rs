//! Writes groups of log records: blocks to the open segment of each class, with one sync each.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::block;
use super::columns::content_hash;
use super::extent::{Extent, Placed};
use super::filter::TraceFilter;
use super::hint;
use super::index::{Class, Index, SegmentId};
use crate::log::{Day, LogFile, StoreError};
use crate::model::{HOUR, LogRecord, UnixNanos};
use crate::sync::RwLock;

const BLOCK_RECORDS_MAX: usize = 4_096;
/// Memory size after which a block ends: the amount that a search decompresses at once.
const BLOCK_BYTES: usize = 2 << 20;
/// Age after which a new segment starts, since retention deletes whole segments.
const SEGMENT_LENGTH: Duration = HOUR;

#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    index: Arc<RwLock<Index>>,
    /// Size after which a new segment of a class starts.
    segment_bytes: BTreeMap<Class, u64>,
    open: BTreeMap<Class, Open>,
}

#[derive(Debug)]
struct Open {
    segment: SegmentId,
    file: LogFile,
}

impl Writer {
    pub(super) fn new(
        root: PathBuf,
        index: Arc<RwLock<Index>>,
        segment_bytes: BTreeMap<Class, u64>,
    ) -> Self {
        Self {
            root,
            index,
            segment_bytes,
            open: BTreeMap::new(),
        }
    }

    /// Makes records durable and visible; per class all of them or, after an error, none.
    pub(super) fn commit(&mut self, records: Vec<LogRecord>) -> Result<(), StoreError> {
        let now = UnixNanos::now();
        let (traced, other): (Vec<_>, Vec<_>) = records
            .into_iter()
            .partition(|record| Class::of(record) == Class::Traced);
        let traced = self.commit_class(Class::Traced, traced, now);
        traced.and(self.commit_class(Class::Other, other, now))
    }

    fn commit_class(
        &mut self,
        class: Class,
        mut records: Vec<LogRecord>,
        now: UnixNanos,
    ) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        for record in &mut records {
            record.id = content_hash(record);
        }
        // Records close in time are read together, and compress better.
        records.sort_by_key(|record| record.time);
        let written = self.write(class, &records, now);
        match &written {
            Ok((segment, blocks)) => self.publish(*segment, blocks),
            Err(_) => self.abandon(class),
        }
        written.map(|_| ())
    }

    fn write(
        &mut self,
        class: Class,
        records: &[LogRecord],
        now: UnixNanos,
    ) -> Result<(SegmentId, Vec<Placed>), StoreError> {
        let open = self.open(class, now)?;
        let mut blocks = Vec::new();
        for records in chunks(records) {
            let encoded = block::encode(records, now);
            let (header, bytes) =
                encoded.map_err(|error| open.file.error("encode a block for", error))?;
            let offset = open.file.append(&bytes)?;
            let mut traces = TraceFilter::default();
            let ids = records.iter().filter_map(|record| record.trace_id);
            ids.for_each(|id| traces.add(id.to_bytes()));
            blocks.push(Placed {
                offset,
                header,
                traces,
            });
        }
        open.file.sync()?;
        Ok((open.segment, blocks))
    }

    fn publish(&self, segment: SegmentId, blocks: &[Placed]) {
        let mut index = self.index.write();
        blocks.iter().for_each(|block| index.add(segment, block));
    }

    /// Returns the open segment of a class: the newest one, unless it is full or deleted.
    fn open(&mut self, class: Class, now: UnixNanos) -> Result<&mut Open, StoreError> {
        let index = self.index.read();
        let last = index.last(class);
        let length = last.map_or(0, |last| end(index.extents(last)));
        let has_room = last.is_some_and(|last| self.has_room(index.extents(last), last, now));
        let number = index.next_number(now);
        drop(index);
        let usable = last.filter(|last| has_room && last.path(&self.root).exists());
        let is_open = usable.is_some() && self.open.get(&class).map(|open| open.segment) == usable;
        if !is_open {
            self.close(class, last);
            let open = match usable {
                Some(segment) => Open {
                    segment,
                    file: LogFile::resume(&segment.path(&self.root), length)?,
                },
                None => self.create(SegmentId {
                    number,
                    class,
                    day: Day::of(now),
                })?,
            };
            self.open.insert(class, open);
        }
        Ok(self.open.get_mut(&class).expect("it was just inserted"))
    }

    fn has_room(&self, extents: &[Extent], segment: SegmentId, now: UnixNanos) -> bool {
        let began = extents.first().map_or(now, |extent| extent.began);
        let is_young = began <= now && now - began < SEGMENT_LENGTH;
        is_young && end(extents) < self.segment_bytes[&segment.class]
    }

    fn create(&self, segment: SegmentId) -> Result<Open, StoreError> {
        let file = LogFile::create(&segment.path(&self.root), b"")?;
        Ok(Open { segment, file })
    }

    /// Leaves a segment after a failure. When opened again, its file is truncated to the indexed blocks;
    /// without any it is removed, so that a full disk does not collect a file per attempt.
    fn abandon(&mut self, class: Class) {
        let Some(Open { segment, .. }) = self.open.remove(&class) else {
            return;
        };
        if self.index.read().extents(segment).is_empty() {
            let _still_there = fs::remove_file(segment.path(&self.root));
        }
    }

    /// Closes a segment, as the next one is about to be opened.
    fn close(&mut self, class: Class, last: Option<SegmentId>) {
        let closed = self.open.remove(&class).map(|open| open.segment);
        if let Some(segment) = closed.filter(|closed| Some(*closed) == last) {
            hint::write(
                &segment.path(&self.root),
                self.index.read().extents(segment),
            );
        }
    }
}

fn end(extents: &[Extent]) -> u64 {
    extents.last().map_or(0, Extent::end_offset)
}

/// Splits records into blocks.
fn chunks(mut records: &[LogRecord]) -> impl Iterator<Item = &[LogRecord]> {
    std::iter::from_fn(move || {
        let (mut bytes, mut seen) = (0, HashSet::new());
        let fits = records.iter().take(BLOCK_RECORDS_MAX).take_while(|record| {
            let fits = bytes < BLOCK_BYTES;
            let shared = (
                Arc::as_ptr(&record.resource).addr(),
                Arc::as_ptr(&record.scope).addr(),
            );
            bytes += match seen.insert(shared) {
                true => record.memory_bytes(),
                false => record.own_bytes(),
            };
            fits
        });
        let (block, rest) = records.split_at(fits.count());
        records = rest;
        (!block.is_empty()).then_some(block)
    })
}
