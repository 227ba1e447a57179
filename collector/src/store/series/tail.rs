//! Follows the records in the order of arrival, to feed another store.
//!
//! A record is filed under the day of its own time, so a late one goes to yesterday's file while today's
//! grows. A position therefore has an offset for each day's file, and no record is skipped.

use super::SeriesLog;
use super::block::{self, SeriesCodec};
use super::index::Found;
use super::record::{SeriesKind, SeriesRecord};
use crate::log::{Day, Offset, Opened, Position, blocks};
use crate::model::{TimeRange, UnixNanos};
use crate::store::StoreError;

#[derive(Debug, Default)]
pub(crate) struct Tail<T> {
    /// Records, or the requested facts of them.
    pub(crate) items: Vec<T>,
    /// Where to continue.
    pub(crate) position: Position,
}

impl SeriesLog {
    /// Reads the records of a kind that arrived after a position, up to the block with the `most`th. Blocks
    /// the thread.
    ///
    /// # Errors
    /// When a file cannot be read at the moment. Permanent damage is counted and skipped.
    pub(crate) fn tail(
        &self,
        kind: SeriesKind,
        position: &Position,
        most: usize,
    ) -> Result<Tail<SeriesRecord>, StoreError> {
        self.follow(kind, position, most, |place, extent, from, items| {
            let (end, lost) = records_behind(kind, extent, from, most, items);
            self.count_lost(kind, place, lost);
            end
        })
    }

    /// Reads the time ranges of the blocks of a kind that arrived after a position: `most` blocks and those
    /// that share an extent with the last. Blocks the thread.
    ///
    /// # Errors
    /// When a file cannot be read at the moment.
    pub(crate) fn tail_ranges(
        &self,
        kind: SeriesKind,
        position: &Position,
        most: usize,
    ) -> Result<Tail<TimeRange>, StoreError> {
        self.follow(kind, position, most, |_, extent, from, items| {
            let blocks = blocks(SeriesCodec(kind), extent);
            let new = blocks.filter(|block| block.at >= from);
            items.extend(new.map(|block| TimeRange {
                start: UnixNanos::new(block.header.start),
                end: UnixNanos::new(block.header.end.saturating_add(1)),
            }));
            extent.len()
        })
    }

    /// Passes each extent with new blocks to `take` (its place, its bytes, the offset of the new blocks, the
    /// items so far), which returns how far it read.
    fn follow<T>(
        &self,
        kind: SeriesKind,
        position: &Position,
        most: usize,
        mut take: impl FnMut(Found, &[u8], usize, &mut Vec<T>) -> usize,
    ) -> Result<Tail<T>, StoreError> {
        let (mut position, unread) = self.unread(kind, position);
        let mut items = Vec::new();
        let mut open = Opened::default();
        for place in unread {
            if items.len() >= most {
                break;
            }
            let Some(bytes) = self.extent(&mut open, kind, place)? else {
                continue;
            };
            let done = position.offset(place.day.0).unwrap_or_default().bytes;
            let from = done.saturating_sub(place.extent.offset) as usize;
            let end = take(place, &bytes, from, &mut items) as u64;
            let offset = Offset {
                bytes: place.extent.offset + end,
                ..Offset::default()
            };
            position.reach(place.day.0, offset);
        }
        Ok(Tail { items, position })
    }

    /// Returns what is unread after a position. Days that retention removed are dropped from the position,
    /// and so are offsets past the end of a file: that is a new file, to be read from its beginning.
    fn unread(&self, kind: SeriesKind, position: &Position) -> (Position, Vec<Found>) {
        let index = self.index();
        let mut position = position.clone();
        position.retain(|day, offset| {
            let length = index.length(Day(day), kind);
            length > 0 && offset.bytes <= length
        });
        let unread = index.unread(kind, &position);
        (position, unread)
    }
}

/// Reads the records of the blocks from offset `from` on into `items`, until there are `most`; earlier blocks
/// are read for the strings they introduced. Returns where it stopped, and how many records were lost.
fn records_behind(
    kind: SeriesKind,
    extent: &[u8],
    from: usize,
    most: usize,
    items: &mut Vec<SeriesRecord>,
) -> (usize, u64) {
    let mut strings = Vec::new();
    let mut lost = 0;
    for block in blocks(SeriesCodec(kind), extent) {
        let is_new = block.at >= from;
        if is_new && items.len() >= most {
            return (block.at, lost);
        }
        let mut keep = |record| {
            if is_new {
                items.push(record);
            }
        };
        let missed = block::decode(&block, &mut strings, None, &mut keep);
        lost += if is_new { missed } else { 0 };
    }
    (extent.len(), lost)
}
