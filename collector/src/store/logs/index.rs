//! The index of the log blocks: segments with their extents. In memory, and bounded, since an extent ends by
//! size or after ten minutes, and takes 1,100 bytes.
//!
//! Segments are files by arrival, so that the times that senders claim do not create files. An extent knows
//! the time range of its records, so that a past range is found whenever it arrived.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::block::{self, Header, LogCodec, Zone};
use super::columns::Columns;
use super::extent::{Extent, Placed};
use super::filter::TraceFilter;
use super::hint;
use crate::counters::{Counters, Incident};
use crate::files;
use crate::log::{BlockCodec, Day, LogFile, Position, Reason, StoreError, read, scan};
use crate::model::{LogQuery, LogRecord, UnixNanos};

/// The class of a segment's records: those of traces are stored separately, so that others cannot displace
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// They carry a trace id.
    Traced,
    /// Without a trace id.
    Other,
}

impl Class {
    pub(crate) const ALL: [Self; 2] = [Self::Traced, Self::Other];

    pub(super) fn of(record: &LogRecord) -> Self {
        match record.trace_id {
            Some(_) => Self::Traced,
            None => Self::Other,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Traced => "traced",
            Self::Other => "other",
        }
    }
}

/// A segment's name. Numbers increase with the time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentId {
    pub(super) number: u64,
    pub(super) class: Class,
    pub(super) day: Day,
}

impl SegmentId {
    pub(super) fn path(self, root: &Path) -> PathBuf {
        let Self { number, class, day } = self;
        day.folder(root)
            .join(format!("{number}-{}.log", class.word()))
    }

    fn parse(name: &str, day: Day) -> Option<Self> {
        let (number, class) = name.strip_suffix(".log")?.split_once('-')?;
        let class = Class::ALL.into_iter().find(|one| one.word() == class)?;
        let number = number.parse().ok()?;
        Some(Self { number, class, day })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) zone: Zone,
}

/// A segment as retention sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aged {
    pub(super) segment: SegmentId,
    /// When its last block was written.
    pub(super) ended: UnixNanos,
    /// The latest time that one of its records says: some clocks are ahead.
    pub(super) latest: UnixNanos,
    pub(super) bytes: u64,
    pub(super) records: u64,
}

impl Aged {
    fn of(segment: SegmentId, extents: &[Extent]) -> Self {
        let ended = extents.iter().map(|extent| extent.ended).max();
        let latest = extents.iter().map(|extent| extent.zone.end).max();
        Self {
            segment,
            ended: ended.unwrap_or_default(),
            latest: latest.unwrap_or_default(),
            bytes: end(extents),
            records: extents.iter().map(|extent| extent.records).sum(),
        }
    }
}

/// The extents of every segment, oldest segment first.
#[derive(Debug, Default)]
pub(super) struct Index {
    segments: BTreeMap<SegmentId, Vec<Extent>>,
}

impl Index {
    /// Loads the segments of earlier runs and truncates torn writes.
    pub(super) fn open(root: &Path, counters: &Counters) -> Result<Self, StoreError> {
        let mut index = Self::default();
        for day in Day::all(root)? {
            for segment in segments_of(root, day)? {
                let path = segment.path(root);
                let extents = recover(&path, counters)?;
                if !extents.is_empty() {
                    index.segments.insert(segment, extents);
                } else if std::fs::metadata(&path).is_ok_and(|found| found.len() == 0) {
                    // A crash came before the first block; retention only deletes segments in the index.
                    let _still_there = std::fs::remove_file(&path);
                }
            }
        }
        Ok(index)
    }

    pub(super) fn add(&mut self, segment: SegmentId, block: &Placed) {
        add(self.segments.entry(segment).or_default(), block);
    }

    pub(super) fn last(&self, class: Class) -> Option<SegmentId> {
        let mut segments = self.segments.keys().rev();
        segments.find(|segment| segment.class == class).copied()
    }

    /// Returns a number for a new segment, higher than all others, including deleted ones.
    pub(super) fn next_number(&self, now: UnixNanos) -> u64 {
        let last = self.segments.last_key_value();
        let next = last.map_or(0, |(segment, _)| segment.number + 1);
        next.max(now.get() / 1_000_000_000)
    }

    pub(super) fn extents(&self, segment: SegmentId) -> &[Extent] {
        self.segments.get(&segment).map_or(&[], Vec::as_slice)
    }

    /// Returns the extents that may have matching records, those with the latest records first.
    pub(super) fn find(&self, query: &LogQuery) -> Vec<Found> {
        let is_asked =
            |segment: &SegmentId| query.trace_id.is_none() || segment.class == Class::Traced;
        let segments = self
            .segments
            .iter()
            .filter(|(segment, _)| is_asked(segment));
        let extents = segments.flat_map(|(segment, extents)| {
            let may_hold = extents.iter().filter(|extent| extent.may_hold(query));
            may_hold.map(|extent| Found {
                segment: *segment,
                offset: extent.offset,
                len: extent.len,
                zone: extent.zone,
            })
        });
        let mut found: Vec<Found> = extents.collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.zone.end));
        found
    }

    /// Forgets the segments of a class for which there is a reason, the oldest first; `reason` gets a segment and the bytes
    /// of the class with it. One that ended in the future, by a clock that was ahead, does not keep those after it.
    pub(super) fn forget(
        &mut self,
        class: Class,
        reason: impl Fn(&Aged, u64) -> Option<Reason>,
    ) -> Vec<(Aged, Reason)> {
        let (mut bytes_left, _) = self.size(class);
        let mut expired = Vec::new();
        for aged in self.aged(class) {
            let Some(reason) = reason(&aged, bytes_left) else {
                continue;
            };
            bytes_left = bytes_left.saturating_sub(aged.bytes);
            expired.push((aged, reason));
        }
        for (aged, _) in &expired {
            self.segments.remove(&aged.segment);
        }
        expired
    }

    /// Returns the segments of a class, oldest first.
    pub(super) fn aged(&self, class: Class) -> Vec<Aged> {
        let segments = self.segments.iter();
        let of_class = segments.filter(|(segment, _)| segment.class == class);
        of_class
            .map(|(segment, extents)| Aged::of(*segment, extents))
            .collect()
    }

    /// Returns the first stretch of a class that lies behind a position, and that position without segments that are gone
    /// and without offsets behind a segment's end: that is another file, which is read from its beginning.
    pub(super) fn unread(&self, class: Class, position: &Position) -> (Position, Option<Found>) {
        let mut position = position.clone();
        let ends = self.segments.iter();
        let ends = ends.map(|(segment, extents)| (segment.number, end(extents)));
        let ends: BTreeMap<u64, u64> = ends.collect();
        position.retain(|number, offset| ends.get(&number).is_some_and(|end| offset.bytes <= *end));
        let segments = self.segments.iter();
        let mut of_class = segments.filter(|(segment, _)| segment.class == class);
        let found = of_class.find_map(|(segment, extents)| {
            let done = position.offset(segment.number).unwrap_or_default().bytes;
            let extent = extents.iter().find(|extent| extent.end_offset() > done)?;
            let offset = extent.offset.max(done);
            Some(Found {
                segment: *segment,
                offset,
                len: extent.end_offset() - offset,
                zone: extent.zone,
            })
        });
        (position, found)
    }

    pub(super) fn size(&self, class: Class) -> (u64, u64) {
        let segments = self.segments.iter();
        let extents = segments
            .filter(|(segment, _)| segment.class == class)
            .flat_map(|(_, e)| e);
        extents.fold((0, 0), |(bytes, records), extent| {
            (bytes + extent.len, records + extent.records)
        })
    }
}

fn end(extents: &[Extent]) -> u64 {
    extents.last().map_or(0, Extent::end_offset)
}

fn add(extents: &mut Vec<Extent>, block: &Placed) {
    match extents.last_mut() {
        Some(extent) if extent.has_room(block) => extent.add(block),
        _ => extents.push(Extent::of(block)),
    }
}

fn segments_of(root: &Path, day: Day) -> Result<Vec<SegmentId>, StoreError> {
    let folder = day.folder(root);
    let list = || -> std::io::Result<Vec<SegmentId>> {
        let mut segments = Vec::new();
        for entry in std::fs::read_dir(&folder)? {
            let name = entry?.file_name();
            segments.extend(name.to_str().and_then(|name| SegmentId::parse(name, day)));
        }
        Ok(segments)
    };
    list().map_err(|error| StoreError::io("list", &folder, error))
}

/// Finds the extents of a file: from its hint if that matches, else from its blocks.
fn recover(path: &Path, counters: &Counters) -> Result<Vec<Extent>, StoreError> {
    let open = || {
        let file = files::open_regular(path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    };
    let failed = |error| StoreError::io("read", path, error);
    let (file, length) = open().map_err(failed)?;
    if let Some(extents) = hint::read(path, length) {
        return Ok(extents);
    }
    let found = scan(&LogCodec, &file, 0, length).map_err(failed)?;
    let incidents = &counters.incidents;
    incidents.add(Incident::DamagedBlock, found.damaged);
    incidents.add(Incident::TornTail, u64::from(found.is_torn));
    if found.is_torn {
        LogFile::resume(path, found.end)?;
    }
    let mut extents = Vec::new();
    for (offset, header) in found.blocks {
        let traces = traces_of(&file, offset, &header).unwrap_or_else(TraceFilter::full);
        add(
            &mut extents,
            &Placed {
                offset,
                header,
                traces,
            },
        );
    }
    Ok(extents)
}

/// Reads the traces of a block; `None` if it is damaged.
fn traces_of(file: &File, offset: u64, header: &Header) -> Option<TraceFilter> {
    let block = read(file, offset, LogCodec.block_bytes(header)).ok()?;
    if !LogCodec.is_whole(header, &block) {
        return None;
    }
    let columns = block::columns_of(header, &block)?;
    let mut traces = TraceFilter::default();
    let heads = Columns::read(&columns)?.heads;
    let ids = heads.iter().filter_map(|head| head.trace_id);
    ids.for_each(|id| traces.add(id.to_bytes()));
    Some(traces)
}
