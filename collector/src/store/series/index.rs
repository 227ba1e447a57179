//! Where the blocks are: per day and kind one file, per file a list of extents (runs of blocks that share one
//! string table). Kept in memory, rebuilt at open from headers alone; bounded, because an extent lasts a minute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use time::{Date, Duration, OffsetDateTime};

use super::block::Header;
use super::record::SeriesKind;
use crate::log::Position;
use crate::model::TimeRange;

/// A new extent starts after that long, so that a query reads little more than it needs.
pub(super) const EXTENT_NANOS: u64 = 60_000_000_000;
/// A new extent starts after that many bytes.
pub(super) const EXTENT_BYTES: u64 = 256 * 1024;

const DAY_SECONDS: u64 = 86_400;
const SECOND_NANOS: u64 = 1_000_000_000;

/// A day since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(u64);

impl Day {
    pub(super) fn of(unix_nanos: u64) -> Self {
        Self(unix_nanos / SECOND_NANOS / DAY_SECONDS)
    }

    /// Returns the day of that number.
    pub(super) fn from_number(days_since_1970: u64) -> Self {
        Self(days_since_1970)
    }

    /// Returns its number, counted from 1970.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// Returns the first nanosecond after it.
    pub(super) fn end_unix_nanos(self) -> u64 {
        (self.0 + 1).saturating_mul(DAY_SECONDS * SECOND_NANOS)
    }

    /// Returns its folder: `2026-11-23`.
    pub(super) fn folder(self, root: &Path) -> PathBuf {
        let days = i64::try_from(self.0).unwrap_or(i64::MAX);
        let date = OffsetDateTime::UNIX_EPOCH
            .date()
            .checked_add(Duration::days(days.min(1_000_000)))
            .unwrap_or(Date::MAX);
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        root.join(format!("{year:04}-{month:02}-{day:02}"))
    }

    /// Reads the name of a folder; `None` when it is not ours.
    pub(super) fn parse(folder: &str) -> Option<Self> {
        let mut parts = folder.splitn(3, '-');
        let year = parts.next()?.parse().ok()?;
        let month: u8 = parts.next()?.parse().ok()?;
        let day = parts.next()?.parse().ok()?;
        let date = Date::from_calendar_date(year, month.try_into().ok()?, day).ok()?;
        let days = (date - OffsetDateTime::UNIX_EPOCH.date()).whole_days();
        u64::try_from(days).ok().map(Self)
    }
}

/// Returns the path of a file.
pub(super) fn file_path(root: &Path, day: Day, kind: SeriesKind) -> PathBuf {
    day.folder(root).join(format!("{}.log", kind.file_stem()))
}

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) keys: u64,
}

impl Extent {
    /// Returns whether a block that begins then still belongs to it.
    pub(super) fn has_room(&self, start: u64) -> bool {
        self.len < EXTENT_BYTES && start.max(self.end) - start.min(self.start) < EXTENT_NANOS
    }
}

/// The extents of every file.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: BTreeMap<(SeriesKind, Day), Vec<Extent>>,
}

/// An extent to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) day: Day,
    pub(super) extent: Extent,
}

impl Index {
    /// Adds a block that was written at that offset.
    pub(super) fn add(&mut self, day: Day, offset: u64, header: &Header) {
        let extents = self.files.entry((header.kind, day)).or_default();
        match extents.last_mut() {
            Some(extent) if !header.starts_extent => {
                extent.len = offset + header.block_len() - extent.offset;
                extent.start = extent.start.min(header.start);
                extent.end = extent.end.max(header.end);
                extent.keys |= header.keys;
            }
            _ => extents.push(Extent {
                offset,
                len: header.block_len(),
                start: header.start,
                end: header.end,
                keys: header.keys,
            }),
        }
    }

    /// Takes over extents of a file that are known to be complete.
    pub(super) fn take_over(&mut self, day: Day, kind: SeriesKind, extents: Vec<Extent>) {
        self.files.insert((kind, day), extents);
    }

    /// Returns the extents of a file.
    pub(super) fn extents(&self, day: Day, kind: SeriesKind) -> &[Extent] {
        self.files.get(&(kind, day)).map_or(&[], Vec::as_slice)
    }

    /// Returns the extent that the next block of a file would join.
    pub(super) fn last(&self, day: Day, kind: SeriesKind) -> Option<Extent> {
        self.files.get(&(kind, day))?.last().copied()
    }

    /// Returns the extents of a kind that may hold something of that range and key, oldest first.
    pub(super) fn find(&self, kind: SeriesKind, range: TimeRange, keys: u64) -> Vec<Found> {
        let first = Day::of(range.start_unix_nanos);
        let last = Day::of(range.end_unix_nanos);
        self.files
            .range((kind, first)..=(kind, last))
            .flat_map(|((_, day), extents)| extents.iter().map(|extent| (*day, *extent)))
            .filter(|(_, extent)| {
                extent.start < range.end_unix_nanos
                    && extent.end >= range.start_unix_nanos
                    && extent.keys & keys != 0
            })
            .map(|(day, extent)| Found { day, extent })
            .collect()
    }

    /// Returns the extents of a kind that reach beyond a position; the segment of a position is a day.
    pub(super) fn unread(&self, kind: SeriesKind, position: &Position) -> Vec<Found> {
        let files = self.files.range((kind, Day(0))..=(kind, Day(u64::MAX)));
        let unread = files.flat_map(|((_, day), extents)| {
            let done = position
                .offset(day.0)
                .map_or(u64::MAX, |offset| offset.bytes);
            let first = extents.partition_point(|extent| extent.offset + extent.len <= done);
            let rest = extents[first..].iter();
            rest.map(|extent| Found {
                day: *day,
                extent: *extent,
            })
        });
        unread.collect()
    }

    /// Returns the latest time of any record of that kind.
    pub(super) fn latest(&self, kind: SeriesKind) -> Option<u64> {
        let files = self.files.range((kind, Day(0))..=(kind, Day(u64::MAX)));
        let (_, extents) = files.rev().find(|(_, extents)| !extents.is_empty())?;
        extents.iter().map(|extent| extent.end).max()
    }

    /// Forgets the days that ended before that time; returns them.
    pub(super) fn forget_before(&mut self, unix_nanos: u64) -> Vec<Day> {
        let mut days: Vec<Day> = self
            .files
            .keys()
            .map(|(_, day)| *day)
            .filter(|day| day.end_unix_nanos() <= unix_nanos)
            .collect();
        days.sort_unstable();
        days.dedup();
        self.files.retain(|(_, day), _| !days.contains(day));
        days
    }

    /// Returns how many extents it knows and how many bytes they have.
    pub(super) fn size(&self) -> (usize, u64) {
        let extents = self.files.values().flatten();
        extents.fold((0, 0), |(count, bytes), extent| {
            (count + 1, bytes + extent.len)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_folders_come_back() {
        let day = Day::of(1_795_397_646_700_000_000);
        let folder = day.folder(Path::new(""));
        assert_eq!(folder, Path::new("2026-11-23"));
        assert_eq!(Day::parse("2026-11-23"), Some(day));
        assert_eq!(Day::parse("lost+found"), None);
    }
}
