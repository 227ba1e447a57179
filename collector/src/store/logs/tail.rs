//! Follows the records in the order of arrival: what another store is fed from.
//!
//! A position has an offset for each segment. Those of a class are read one after the other, and a segment that is still
//! written as far as it is.

use super::LogStore;
use super::block::LogCodec;
use super::index::Class;
use super::search::visit;
use crate::log::{Offset, Opened, Position, blocks};
use crate::model::LogRecord;
use crate::store::StoreError;

/// Memory of the records of one reading, but for the last block.
const TAIL_BYTES_MAX: usize = 4 << 20;

/// What arrived behind a position.
#[derive(Debug)]
pub(crate) struct Tail {
    /// The records, block by block; those of one commit in the order of their times.
    pub(crate) records: Vec<LogRecord>,
    /// Where the next reading goes on.
    pub(crate) position: Position,
}

impl LogStore {
    /// Reads the records of a class that arrived behind a position: some blocks; `None` where there are none. Blocks the
    /// thread.
    ///
    /// # Errors
    /// When a file cannot be read just now; what stays damaged is counted and passed over.
    pub(crate) fn tail(
        &self,
        class: Class,
        position: &Position,
    ) -> Result<Option<Tail>, StoreError> {
        let (mut position, found) = self.inner.index.read().unread(class, position);
        let Some(place) = found else {
            return Ok(None);
        };
        let Some(bytes) = self.bytes(&mut Opened::default(), place)? else {
            return Ok(None);
        };
        let mut records = Vec::new();
        let (mut end, mut rows, mut lost, mut memory) = (bytes.len(), 0, 0, 0);
        for block in blocks(LogCodec, &bytes) {
            if memory >= TAIL_BYTES_MAX {
                end = block.at;
                break;
            }
            let keep = |record: LogRecord| {
                memory += record.own_bytes();
                records.push(record);
                Ok(())
            };
            lost += visit(&block, |_, _| true, keep)?;
            rows += u64::from(block.header.records);
        }
        self.count_lost(place, lost);
        let number = place.segment.number;
        let before = position.offset(number).unwrap_or_default();
        let reached = Offset {
            bytes: place.offset + end as u64,
            rows: before.rows + rows,
            ..before
        };
        position.reach(number, reached);
        Ok(Some(Tail { records, position }))
    }
}
