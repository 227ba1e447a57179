//! The segments as a journal: blocks in the order of arrival, each row shown to a visitor, for whoever follows.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::block::{BlockMeta, BlockReader, RowReader};
use super::catalog::Catalog;
use super::read::tolerate;
use super::search::skip_missing;
use super::segment::Segment;
use crate::codec::otlp::SpanVisitor;
use crate::store::StoreError;

/// The segments, oldest first; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    catalog: Arc<Catalog>,
}

/// A segment as it was when it was asked for.
#[derive(Debug)]
pub(crate) struct JournalSegment {
    segment: Segment,
    blocks: Arc<Vec<BlockMeta>>,
    file: Option<Arc<File>>,
    /// Whether no block will be added to it.
    pub(crate) is_finished: bool,
}

/// What is known of a block before its rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockArrival {
    /// When it was written, by the arrival clock.
    pub(crate) written: u64,
    /// Its rows.
    pub(crate) rows: u32,
}

impl Journal {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }

    /// Returns the segments that hold blocks, oldest first.
    pub(crate) fn segments(&self) -> Vec<JournalSegment> {
        let snapshot = self.catalog.snapshot();
        let segments = snapshot.iter().map(|segment| JournalSegment {
            // First: a block that is added in between is then not overlooked, only seen later.
            is_finished: segment.is_finished(),
            blocks: segment.blocks(),
            segment: segment.clone(),
            file: None,
        });
        segments.collect()
    }

    /// Shows a visitor those rows of a block; `None` when it is damaged, or was deleted meanwhile.
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
            RowReader::read(&reader, schema, segment, &rows).map(|read| (read, rows))
        };
        let Some((mut reader, rows)) = tolerate(&self.catalog, segment, block, read)? else {
            return Ok(None);
        };
        reader.visit(&rows, visitor);
        Ok(Some(()))
    }
}

impl JournalSegment {
    /// Returns its number.
    pub(crate) fn sequence(&self) -> u64 {
        self.segment.place().sequence
    }

    /// Returns how many blocks it has.
    pub(crate) fn blocks(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Returns when its last block was written.
    pub(crate) fn written(&self) -> u64 {
        self.segment.totals().written
    }

    /// Returns how many rows and bytes it has.
    pub(crate) fn size(&self) -> (u64, u64) {
        (self.segment.totals().rows, self.segment.bytes())
    }

    /// Returns when a block was written, 0 when its header is damaged; `None` when retention deleted it.
    pub(crate) fn arrival(&mut self, block: u32) -> Result<Option<BlockArrival>, StoreError> {
        let Some(file) = self.open()? else {
            return Ok(None);
        };
        let Some(meta) = self.blocks.get(block as usize) else {
            return Ok(None);
        };
        let path = &self.segment.place().path;
        let written = match BlockReader::open(&file, path, meta.offset, meta.header_bytes) {
            Ok(reader) => reader.header.written,
            // Its rows cannot be read either; those behind it can.
            Err(StoreError::Damaged { .. }) => 0,
            Err(error) => return Err(error),
        };
        Ok(Some(BlockArrival {
            written,
            rows: meta.rows,
        }))
    }

    /// Opens its file once; `None` when retention deleted it.
    fn open(&mut self) -> Result<Option<Arc<File>>, StoreError> {
        if self.file.is_none() {
            self.file = skip_missing(self.segment.file())?;
        }
        Ok(self.file.clone())
    }
}
