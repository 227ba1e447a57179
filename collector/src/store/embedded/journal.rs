//! The segments as a journal for followers: blocks in the order of arrival, whose rows are passed to a
//! visitor.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::block::{BlockMeta, BlockReader, Extent, RowReader};
use super::catalog::Catalog;
use super::damage::{skip_missing, tolerate};
use super::segment::Segment;
use crate::codec::otlp::SpanVisitor;
use crate::log::Offset;
use crate::model::UnixNanos;
use crate::store::StoreError;

/// The segments, oldest first; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    catalog: Arc<Catalog>,
}

#[derive(Debug)]
pub(crate) struct JournalSegment {
    catalog: Arc<Catalog>,
    segment: Segment,
    blocks: Arc<Vec<BlockMeta>>,
    file: Option<Arc<File>>,
    pub(crate) is_finished: bool,
}

/// The known facts of a block before its rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockArrival {
    pub(crate) block: u32,
    pub(crate) rows: u32,
    /// Arrival time of the first row; 0 if the header is damaged.
    written: u64,
    end: u64,
}

impl BlockArrival {
    /// Returns the arrival time of its first row, for a follower that has read up to `from`.
    pub(crate) fn base(&self, from: Offset) -> u64 {
        self.written.max(from.until)
    }

    pub(crate) fn behind(&self, from: Offset) -> Offset {
        let rows = u64::from(self.rows);
        Offset {
            bytes: self.end,
            rows: from.rows + rows,
            until: self.base(from).saturating_add(rows),
        }
    }
}

impl Journal {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }

    /// Returns the arrival time before which every row is in the segments that are asked for afterwards, and which no later
    /// row precedes, whatever the clock does.
    pub(crate) fn complete_until(&self) -> u64 {
        self.catalog.arrival.settled(UnixNanos::default()).get() + 1
    }

    /// Returns the segments with blocks, oldest first.
    pub(crate) fn segments(&self) -> Vec<JournalSegment> {
        let snapshot = self.catalog.snapshot();
        let segments = snapshot.iter().map(|segment| JournalSegment {
            catalog: Arc::clone(&self.catalog),
            // Read first: a block added in between is then seen later, not missed.
            is_finished: segment.is_finished(),
            blocks: segment.blocks(),
            segment: segment.clone(),
            file: None,
        });
        segments.collect()
    }

    /// Passes a range of a block's rows to a visitor; `None` if the block is damaged or was deleted
    /// meanwhile.
    pub(crate) fn visit(
        &self,
        of: &mut JournalSegment,
        block: u32,
        rows: Range<u32>,
        visitor: &mut impl SpanVisitor,
    ) -> Result<Option<()>, StoreError> {
        let Some(file) = of.open()? else {
            return Ok(None);
        };
        let Some(meta) = of.blocks.get(block as usize) else {
            return Ok(None);
        };
        let segment = &of.segment;
        let read = || {
            let path = &segment.place().path;
            let reader = BlockReader::open(&file, path, meta.offset, meta.header_bytes)?;
            let rows: Vec<u32> = (rows.start..rows.end.min(meta.rows)).collect();
            let schema = segment.schema()?;
            RowReader::read(&reader, &schema, segment, &rows, Extent::Whole)
        };
        let Some(reader) = tolerate(&self.catalog, segment, block, read)? else {
            return Ok(None);
        };
        reader.visit(visitor);
        Ok(Some(()))
    }
}

impl JournalSegment {
    pub(crate) fn sequence(&self) -> u64 {
        self.segment.place().sequence
    }

    pub(crate) fn has_block_at(&self, offset: Offset) -> bool {
        self.blocks
            .last()
            .is_some_and(|block| block.offset >= offset.bytes)
    }

    pub(crate) fn written(&self) -> u64 {
        self.segment.totals().written
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        (self.segment.totals().rows, self.segment.bytes())
    }

    /// Returns the first block at or after an offset; `None` if there is none or retention deleted it.
    pub(crate) fn arrival(&mut self, from: Offset) -> Result<Option<BlockArrival>, StoreError> {
        let Some(file) = self.open()? else {
            return Ok(None);
        };
        let block = self
            .blocks
            .partition_point(|block| block.offset < from.bytes);
        let Some(meta) = self.blocks.get(block) else {
            return Ok(None);
        };
        let segment = &self.segment;
        let path = &segment.place().path;
        let open = || BlockReader::open(&file, path, meta.offset, meta.header_bytes);
        let (written, end) = match tolerate(&self.catalog, segment, block as u32, open)? {
            Some(BlockReader { header, .. }) => (header.written, meta.offset + header.total_bytes),
            // Its rows cannot be read either; those after it can.
            None => (0, meta.offset + 1),
        };
        Ok(Some(BlockArrival {
            block: block as u32,
            rows: meta.rows,
            written,
            end,
        }))
    }

    /// Opens the file once; `None` if retention deleted it.
    fn open(&mut self) -> Result<Option<Arc<File>>, StoreError> {
        if self.file.is_none() {
            self.file = skip_missing(self.segment.file())?;
        }
        Ok(self.file.clone())
    }
}
