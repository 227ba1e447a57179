//! Seals a segment: merges small blocks that a low rate produced, then appends the footer.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::block::{
    BlockBuilder, BlockEncoder, BlockReader, EncodedBlock, Extent, RowReader,
};
use super::super::limits::{REWRITE_BELOW_ROWS, REWRITE_BLOCK_BYTES, REWRITE_BLOCK_ROWS};
use super::footer::Footer;
use super::state::{RowFacts, SegmentState};
use super::{Caches, FILE_MAGIC, OpenSegment, Place, SealedSegment, Segment};
use crate::log::LogFile;
use crate::store::StoreError;
use crate::store::hash::Seed;

/// Extension of a rewritten file until it replaces the old one.
pub(crate) const REWRITE_SUFFIX: &str = "tmp";

/// Seals a segment; the file must end with its last block. With `keeps_blocks`, blocks are not merged.
pub(crate) fn seal(
    open: &Arc<OpenSegment>,
    file: &mut LogFile,
    keeps_blocks: bool,
    caches: &Arc<Caches>,
) -> Result<SealedSegment, StoreError> {
    let (rows, blocks) = {
        let state = open.state();
        (state.totals.rows, state.blocks.len() as u64)
    };
    if blocks > 1 && rows < blocks * REWRITE_BELOW_ROWS && !keeps_blocks {
        let segment = Segment::Open(Arc::clone(open));
        let all = |reader: &BlockReader<'_>| Ok((0..reader.header.rows).collect());
        return rewrite(&segment, &open.place, &all, keeps_blocks, caches);
    }
    let footer = append_footer(&open.state(), file)?;
    let place = open.place.clone();
    let bytes = file.length();
    Ok(SealedSegment::new(place, bytes, footer, Arc::clone(caches)))
}

/// Returns which rows of a block are written anew.
pub(crate) type Rows<'r> = dyn Fn(&BlockReader<'_>) -> Result<Vec<u32>, StoreError> + 'r;

/// Writes rows of a segment anew under that place, which may be its own if it is open.
pub(crate) fn rewrite(
    segment: &Segment,
    place: &Place,
    rows: &Rows<'_>,
    keeps_blocks: bool,
    caches: &Arc<Caches>,
) -> Result<SealedSegment, StoreError> {
    let written = segment.totals().written;
    let mut rewritten = Rewrite::begin(place, written, keeps_blocks)?;
    let path = rewritten.path.clone();
    let copied = rewritten.copy(segment, rows);
    let sealed = copied.and_then(|()| rewritten.finish(place, Arc::clone(caches)));
    if sealed.is_err() {
        // Most likely the disk is full: leave no partial file.
        let _ = std::fs::remove_file(&path);
        if place.path != segment.place().path {
            let _ = std::fs::remove_file(&place.path);
        }
    }
    sealed
}

/// Appends the footer and syncs it; a failed footer is truncated away.
fn append_footer(state: &SegmentState, file: &mut LogFile) -> Result<Footer, StoreError> {
    let end = file.length();
    let (footer, bytes) =
        Footer::encode(state, end).map_err(|error| file.error("compress the footer of", error))?;
    let written = file.append(&bytes).and_then(|_| file.sync());
    if let Err(error) = written {
        file.cut(end)?;
        return Err(error);
    }
    Ok(footer)
}

pub(crate) fn absorb(
    state: &mut SegmentState,
    offset: u64,
    block: &EncodedBlock,
    builder: &BlockBuilder,
) {
    for (kind, column, raw) in &block.deltas {
        state
            .absorb_delta(*kind, *column, raw)
            .expect("a block continues the dictionaries of the block before it");
    }
    state.absorb_marks(builder.marks());
    let rows = &builder.rows;
    let values = builder.values();
    let facts = RowFacts {
        trace_ids: &builder.trace_ids,
        trace_index: &rows.trace_index,
        starts: &rows.starts,
        durations: &rows.durations,
        names: &rows.names,
        kind_status: &rows.kind_status,
        resources: &rows.resources,
        parent_ids: &rows.parent_ids,
        marks: &rows.marks,
        overflow_rows: builder.overflow_rows(),
        values: &values,
    };
    state.absorb_rows(offset, &block.header, &facts);
}

/// A segment being rewritten in larger blocks.
struct Rewrite {
    file: LogFile,
    path: PathBuf,
    builder: BlockBuilder,
    encoder: BlockEncoder,
    state: SegmentState,
    written: u64,
    /// Whether blocks keep their boundaries and times, which identify shipped rows.
    keeps_blocks: bool,
}

impl Rewrite {
    fn begin(place: &Place, written: u64, keeps_blocks: bool) -> Result<Self, StoreError> {
        let path = place.path.with_extension(REWRITE_SUFFIX);
        let seed = Seed::random();
        Ok(Self {
            file: LogFile::create(&path, &FILE_MAGIC)?,
            builder: BlockBuilder::new(seed),
            encoder: BlockEncoder::new()
                .map_err(|error| StoreError::io("compress blocks of", &path, error))?,
            state: SegmentState::new(seed),
            path,
            written,
            keeps_blocks,
        })
    }

    /// Copies the rows.
    fn copy(&mut self, segment: &Segment, rows: &Rows<'_>) -> Result<(), StoreError> {
        let (file, schema) = (segment.file()?, segment.schema()?);
        for block in segment.blocks().iter() {
            let path = &segment.place().path;
            let reader = BlockReader::open(&file, path, block.offset, block.header_bytes)?;
            let rows = rows(&reader)?;
            if !rows.is_empty() {
                RowReader::read(&reader, &schema, segment, &rows, Extent::Whole)?
                    .visit(&mut self.builder);
            }
            if self.keeps_blocks {
                self.written = reader.header.written;
            }
            let is_full = self.builder.len() >= REWRITE_BLOCK_ROWS
                || self.builder.bytes() >= REWRITE_BLOCK_BYTES;
            if self.keeps_blocks || is_full {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.builder.len() == 0 {
            return Ok(());
        }
        let block = self
            .encoder
            .encode(&self.builder, self.written)
            .map_err(|error| StoreError::io("compress a block of", &self.path, error))?;
        let offset = self.file.append(&block.bytes)?;
        absorb(&mut self.state, offset, &block, &self.builder);
        self.builder.finish_block();
        Ok(())
    }

    /// Appends the footer and replaces the old file.
    fn finish(mut self, place: &Place, caches: Arc<Caches>) -> Result<SealedSegment, StoreError> {
        let footer = append_footer(&self.state, &mut self.file)?;
        self.file.rename(&place.path)?;
        let bytes = self.file.length();
        Ok(SealedSegment::new(place.clone(), bytes, footer, caches))
    }
}
