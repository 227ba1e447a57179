//! Extents: runs of blocks of a file that share one string table, as the index and its hints list them.

use std::time::Duration;

use super::block::Header;
use crate::model::{MINUTE, nanos};

/// A new extent starts after that long, so that a query reads little more than it needs.
const EXTENT: Duration = MINUTE;
/// A new extent starts after that many bytes.
const EXTENT_BYTES: u64 = 256 * 1024;

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
    /// Returns an extent of one block at that offset.
    pub(super) fn new(offset: u64, header: &Header) -> Self {
        Self {
            offset,
            len: header.block_bytes(),
            start: header.start,
            end: header.end,
            keys: header.keys,
        }
    }

    /// Adds the block at that offset.
    pub(super) fn add(&mut self, offset: u64, header: &Header) {
        self.len = offset + header.block_bytes() - self.offset;
        self.start = self.start.min(header.start);
        self.end = self.end.max(header.end);
        self.keys |= header.keys;
    }

    /// Returns the offset behind its last block.
    pub(super) fn end_offset(&self) -> u64 {
        self.offset + self.len
    }

    /// Returns whether a block that begins then still belongs to it.
    pub(super) fn has_room(&self, start: u64) -> bool {
        self.len < EXTENT_BYTES && start.max(self.end) - start.min(self.start) < nanos(EXTENT)
    }
}
