//! The index of the series blocks: per kind and day one file, per file a list of extents. In memory, rebuilt
//! at open from headers alone; bounded, because an extent lasts a minute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::block::{Header, SeriesCodec};
use super::extent::Extent;
use super::hint;
use super::record::SeriesKind;
use crate::counters::{Counters, Incident};
use crate::files;
use crate::log::{Day, LogFile, Position, scan};
use crate::model::{TimeRange, UnixNanos};
use crate::store::StoreError;

pub(super) fn file_path(root: &Path, day: Day, kind: SeriesKind) -> PathBuf {
    day.folder(root).join(format!("{}.log", kind.file_stem()))
}

#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<(SeriesKind, Day), Vec<Extent>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) day: Day,
    pub(super) extent: Extent,
}

impl Index {
    /// Reads the headers of existing files and truncates torn writes.
    pub(super) fn open(root: &Path, counters: &Counters) -> Result<Self, StoreError> {
        let mut index = Self::default();
        for day in Day::all(root)? {
            for kind in SeriesKind::ALL {
                let path = file_path(root, day, kind);
                if path.exists() {
                    let extents = recover(&path, kind, counters)?;
                    index.files.insert((kind, day), extents);
                }
            }
        }
        Ok(index)
    }

    /// Adds a block; returns the previous extent if the block starts a new one.
    pub(super) fn add(&mut self, day: Day, offset: u64, header: &Header) -> Option<Extent> {
        let extents = self.files.entry((header.kind, day)).or_default();
        add(extents, offset, header)
    }

    pub(super) fn remove(&mut self, day: Day, kind: SeriesKind) {
        self.files.remove(&(kind, day));
    }

    pub(super) fn length(&self, day: Day, kind: SeriesKind) -> u64 {
        let extents = self.files.get(&(kind, day));
        let last = extents.and_then(|extents| extents.last());
        last.map_or(0, Extent::end_offset)
    }

    /// Returns the extents of a kind that may match a range and a mask of keys, oldest first.
    pub(super) fn find(&self, kind: SeriesKind, range: TimeRange, keys: u64) -> Vec<Found> {
        let days = Day::of(range.start)..=Day::of(range.end);
        self.files
            .range((kind, *days.start())..=(kind, *days.end()))
            .flat_map(|((_, day), extents)| extents.iter().map(|extent| (*day, *extent)))
            .filter(|(_, extent)| {
                extent.start < range.end.get()
                    && extent.end >= range.start.get()
                    && extent.keys & keys != 0
            })
            .map(|(day, extent)| Found { day, extent })
            .collect()
    }

    /// Returns the extents of a kind that end after a position; the segment of a position is a day.
    pub(super) fn unread(&self, kind: SeriesKind, position: &Position) -> Vec<Found> {
        let unread = self.of_kind(kind).flat_map(|(day, extents)| {
            let done = position
                .offset(day.0)
                .map_or(u64::MAX, |offset| offset.bytes);
            let first = extents.partition_point(|extent| extent.end_offset() <= done);
            let rest = extents[first..].iter();
            rest.map(move |extent| Found {
                day,
                extent: *extent,
            })
        });
        unread.collect()
    }

    pub(super) fn latest(&self, kind: SeriesKind) -> Option<UnixNanos> {
        let mut files = self.of_kind(kind).rev();
        let (_, extents) = files.find(|(_, extents)| !extents.is_empty())?;
        extents
            .iter()
            .map(|extent| UnixNanos::new(extent.end))
            .max()
    }

    fn of_kind(&self, kind: SeriesKind) -> impl DoubleEndedIterator<Item = (Day, &[Extent])> {
        let files = self.files.range((kind, Day(0))..=(kind, Day(u64::MAX)));
        files.map(|((_, day), extents)| (*day, extents.as_slice()))
    }

    pub(super) fn days(&self) -> impl Iterator<Item = Day> {
        self.files.keys().map(|(_, day)| *day)
    }

    /// Removes the days for which `is_over` is true; returns them with their bytes.
    pub(super) fn forget(&mut self, is_over: impl Fn(Day) -> bool) -> BTreeMap<Day, u64> {
        let mut days = BTreeMap::new();
        self.files.retain(|(_, day), extents| {
            let is_over = is_over(*day);
            if is_over {
                *days.entry(*day).or_default() += extents.last().map_or(0, Extent::end_offset);
            }
            !is_over
        });
        days
    }

    pub(super) fn size(&self) -> (usize, u64) {
        let extents = self.files.values().flatten();
        extents.fold((0, 0), |(count, bytes), extent| {
            (count + 1, bytes + extent.len)
        })
    }
}

fn add(extents: &mut Vec<Extent>, offset: u64, header: &Header) -> Option<Extent> {
    match extents.last_mut() {
        Some(extent) if !header.starts_extent => {
            extent.add(offset, header);
            None
        }
        last => {
            let before = last.copied();
            extents.push(Extent::new(offset, header));
            before
        }
    }
}

/// Finds the extents of a file: those of the hint, then those of the blocks after them.
fn recover(path: &Path, kind: SeriesKind, counters: &Counters) -> Result<Vec<Extent>, StoreError> {
    let read = || {
        let file = files::open_regular(path)?;
        let len = file.metadata()?.len();
        let extents = hint::read(path, len);
        let known = extents.last().map_or(0, Extent::end_offset);
        Ok((extents, scan(&SeriesCodec(kind), &file, known, len)?))
    };
    let (mut extents, found) = read().map_err(|error| StoreError::io("read", path, error))?;
    counters
        .incidents
        .add(Incident::DamagedBlock, found.damaged);
    counters
        .incidents
        .add(Incident::TornTail, u64::from(found.is_torn));
    if found.is_torn {
        LogFile::resume(path, found.end)?;
    }
    let hinted = extents.len();
    for (offset, header) in &found.blocks {
        add(&mut extents, *offset, header);
    }
    // The last extent is not in the hint: it is complete only once another one starts.
    let complete = extents.len().saturating_sub(1);
    if complete != hinted {
        hint::rewrite(path, &extents[..complete]);
    }
    Ok(extents)
}
