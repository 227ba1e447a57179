//! Follows the journal in the order of arrival: what another store is fed from.
//!
//! A record is filed under the day of its own time, and a late one goes into yesterday's file while today's grows;
//! so a position is an offset for each day's file, and nothing that arrives is ever passed over.

use super::block;
use super::index::{Day, Found};
use super::record::{SeriesKind, SeriesRecord};
use super::{SeriesLog, blocks};
use crate::log::{Offset, Position};
use crate::model::TimeRange;
use crate::store::StoreError;

/// What arrived behind a position.
#[derive(Debug, Default)]
pub(crate) struct Tail<T> {
    /// Records, or what is asked of them.
    pub(crate) items: Vec<T>,
    /// Where the next reading goes on.
    pub(crate) position: Position,
}

impl SeriesLog {
    /// Reads the records of a kind that arrived behind a position: the blocks up to the one with the `most`th.
    /// Blocks the thread.
    ///
    /// # Errors
    /// When a file cannot be read just now; what stays damaged is counted and passed over.
    pub(crate) fn tail(
        &self,
        kind: SeriesKind,
        position: &Position,
        most: usize,
    ) -> Result<Tail<SeriesRecord>, StoreError> {
        self.follow(kind, position, most, |place, extent, from, items| {
            let (end, lost) = records_behind(extent, from, most, items);
            self.count_lost(kind, place, lost);
            end
        })
    }

    /// Reads which ranges of time the blocks of a kind have that arrived behind a position: `most` blocks and those
    /// that share an extent with the last. Blocks the thread.
    ///
    /// # Errors
    /// When a file cannot be read just now.
    pub(crate) fn tail_ranges(
        &self,
        kind: SeriesKind,
        position: &Position,
        most: usize,
    ) -> Result<Tail<TimeRange>, StoreError> {
        self.follow(kind, position, most, |_, extent, from, items| {
            for (_, header, _) in blocks(extent).filter(|(at, ..)| *at >= from) {
                items.push(TimeRange {
                    start_unix_nanos: header.start,
                    end_unix_nanos: header.end.saturating_add(1),
                });
            }
            extent.len()
        })
    }

    /// Hands each extent with something new to `take` (its place, its bytes, where the news begin, what was found so far),
    /// which returns how far it read.
    fn follow<T>(
        &self,
        kind: SeriesKind,
        position: &Position,
        most: usize,
        mut take: impl FnMut(Found, &[u8], usize, &mut Vec<T>) -> usize,
    ) -> Result<Tail<T>, StoreError> {
        let mut tail = Tail {
            items: Vec::new(),
            position: self.believable(kind, position),
        };
        let unread = self.index().unread(kind, &tail.position);
        let mut open = None;
        for place in unread {
            if tail.items.len() >= most {
                break;
            }
            let Some(bytes) = self.extent(&mut open, kind, place)? else {
                continue;
            };
            let day = place.day.number();
            let done = tail.position.offset(day).unwrap_or_default().bytes;
            let from = done.saturating_sub(place.extent.offset) as usize;
            let end = take(place, &bytes, from, &mut tail.items) as u64;
            let offset = Offset {
                bytes: place.extent.offset + end,
                ..Offset::default()
            };
            tail.position.reach(day, offset);
        }
        Ok(tail)
    }

    /// Returns a position without days that retention removed, and without offsets behind a file's end: somebody put
    /// another file there, which is read from its beginning.
    fn believable(&self, kind: SeriesKind, position: &Position) -> Position {
        let index = self.index();
        let end = |day: u64| {
            let last = index.last(Day::from_number(day), kind);
            last.map(|extent| extent.offset + extent.len)
        };
        let mut position = position.clone();
        position.retain(|day, offset| end(day).is_some_and(|end| offset.bytes <= end));
        position
    }
}

/// Reads the records of the blocks that begin at `from` or later into `items`, until there are `most`; the blocks
/// before them are read for the strings they introduced. Returns where it stopped, and how many records are lost.
fn records_behind(
    extent: &[u8],
    from: usize,
    most: usize,
    items: &mut Vec<SeriesRecord>,
) -> (usize, u64) {
    let mut strings = Vec::new();
    let mut lost = 0;
    for (at, header, payload) in blocks(extent) {
        let is_news = at >= from;
        if is_news && items.len() >= most {
            return (at, lost);
        }
        let mut keep = |record| {
            if is_news {
                items.push(record);
            }
        };
        let missed = block::decode(&header, payload, &mut strings, None, &mut keep);
        lost += if is_news { missed } else { 0 };
    }
    (extent.len(), lost)
}
