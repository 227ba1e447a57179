//! Extents: runs of blocks of a file that share a string table, as listed in the index and its hints.

use std::time::Duration;

use super::block::Header;
use crate::model::{MINUTE, nanos};

/// Time range after which a new extent starts, so that a query reads little more than it needs.
const EXTENT: Duration = MINUTE;
/// Size after which a new extent starts.
const EXTENT_BYTES: u64 = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) keys: u64,
}

impl Extent {
    pub(super) fn new(offset: u64, header: &Header) -> Self {
        Self {
            offset,
            len: header.block_bytes(),
            start: header.start,
            end: header.end,
            keys: header.keys,
        }
    }

    pub(super) fn add(&mut self, offset: u64, header: &Header) {
        self.len = offset + header.block_bytes() - self.offset;
        self.start = self.start.min(header.start);
        self.end = self.end.max(header.end);
        self.keys |= header.keys;
    }

    pub(super) fn end_offset(&self) -> u64 {
        self.offset + self.len
    }

    /// Returns whether a block that begins at `start` still belongs to it.
    pub(super) fn has_room(&self, start: u64) -> bool {
        self.len < EXTENT_BYTES && start.max(self.end) - start.min(self.start) < nanos(EXTENT)
    }
}
