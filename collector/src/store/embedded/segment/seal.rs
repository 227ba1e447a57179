//! Seals a segment: joins small blocks of small requests, or compresses a single one, then appends the footer. Also writes
//! segments anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::warn;

use super::super::block::{
    BlockBuilder, BlockEncoder, BlockMeta, BlockReader, EncodedBlock, Extent, JoinedBlocks, Parity,
    RowReader, is_intact,
};
use super::super::limits::{REWRITE_BLOCK_BYTES, REWRITE_BLOCK_ROWS};
use super::footer::Footer;
use super::layout::Layout;
use super::state::{RowFacts, SegmentState};
use super::{Caches, FILE_MAGIC, OpenSegment, Place, SealedSegment, Segment};
use crate::log::{self, LogFile};
use crate::store::StoreError;
use crate::store::hash::Seed;

/// Extension of a rewritten file until it replaces the old one.
pub(crate) const REWRITE_SUFFIX: &str = "tmp";

/// Seals a segment; the file must end with its last block. With `keeps_blocks`, blocks are not joined.
pub(crate) fn seal(
    open: &Arc<OpenSegment>,
    file: &mut LogFile,
    keeps_blocks: bool,
    caches: &Arc<Caches>,
) -> Result<SealedSegment, StoreError> {
    let place = open.place.clone();
    let is_joined = {
        let state = open.state();
        !keeps_blocks && !state.blocks.is_empty() && state.has_small_blocks()
    };
    if is_joined && let Some(sealed) = join(open, &place, caches)? {
        return Ok(sealed);
    }
    let state = open.state();
    let footer = append_footer(&state, Layout::of(&state), file)?;
    let bytes = file.length();
    Ok(SealedSegment::new(place, bytes, footer, Arc::clone(caches)))
}

/// Writes the blocks of each zone as one, or as few as fit into memory, in place of the open file. Returns `None` if that
/// fails before the file is replaced: a footer may fit on a full disk, and a damaged block must not hold up the others.
fn join(
    open: &Arc<OpenSegment>,
    place: &Place,
    caches: &Arc<Caches>,
) -> Result<Option<SealedSegment>, StoreError> {
    let path = place.path.with_extension(REWRITE_SUFFIX);
    let joined = Join::begin(open, &path).and_then(|mut join| {
        join.copy()?;
        join.finish()
    });
    let (mut file, footer) = match joined {
        Ok(joined) => joined,
        Err(error) => {
            let _ = std::fs::remove_file(&path);
            warn!(%error, "small blocks of a segment could not be joined, it is sealed as it is");
            return Ok(None);
        }
    };
    file.rename(&place.path)?;
    let bytes = file.length();
    let sealed = SealedSegment::new(place.clone(), bytes, footer, Arc::clone(caches));
    Ok(Some(sealed))
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
fn append_footer(
    state: &SegmentState,
    layout: Layout,
    file: &mut LogFile,
) -> Result<Footer, StoreError> {
    let end = file.length();
    let (footer, bytes) = Footer::encode(state, layout, end)
        .map_err(|error| file.error("compress the footer of", error))?;
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

/// A segment whose blocks are being joined.
struct Join<'a> {
    open: &'a Arc<OpenSegment>,
    file: LogFile,
    encoder: BlockEncoder,
    /// The current block, and how many are in it.
    block: (JoinedBlocks, u32),
    written: Vec<(BlockMeta, u32)>,
}

impl<'a> Join<'a> {
    fn begin(open: &'a Arc<OpenSegment>, path: &Path) -> Result<Self, StoreError> {
        let encoder = BlockEncoder::new();
        Ok(Self {
            open,
            file: LogFile::create(path, &FILE_MAGIC)?,
            encoder: encoder.map_err(|error| StoreError::io("compress blocks of", path, error))?,
            block: Default::default(),
            written: Vec::new(),
        })
    }

    fn copy(&mut self) -> Result<(), StoreError> {
        let (zones, blocks) = {
            let state = self.open.state();
            let sizes = state.zones.list().iter().map(|zone| zone.blocks);
            (sizes.collect::<Vec<u32>>(), Arc::clone(&state.blocks))
        };
        let mut blocks = blocks.iter();
        for zone in zones {
            for block in blocks.by_ref().take(zone as usize) {
                self.add(block)?;
            }
            self.flush()?;
        }
        Ok(())
    }

    fn add(&mut self, meta: &BlockMeta) -> Result<(), StoreError> {
        let open = self.open;
        let (file, path) = (&open.file, &open.place.path);
        let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
        let bytes = log::read(file, meta.offset, reader.header.total_bytes)
            .map_err(|error| StoreError::io("read", path, error))?;
        let content: usize = reader.header.parts.iter().map(|part| part.raw).sum();
        if self.block.0.bytes() + content > REWRITE_BLOCK_BYTES {
            self.flush()?;
        }
        let added = match content > REWRITE_BLOCK_BYTES {
            true => return self.copy_whole(&reader, bytes),
            false => self.block.0.add(&reader.header, &bytes),
        };
        self.block.1 += 1;
        added.ok_or_else(|| reader.damage("block"))
    }

    /// Copies a block that is too large to be held in memory decompressed.
    fn copy_whole(
        &mut self,
        block: &BlockReader<'_>,
        mut bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        if !is_intact(&block.header, &bytes) {
            return Err(block.damage("block"));
        }
        Parity::append(&mut bytes);
        let offset = self.file.append(&bytes)?;
        self.written
            .push((BlockMeta::new(offset, &block.header), 1));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let (block, count) = std::mem::take(&mut self.block);
        if count == 0 {
            return Ok(());
        }
        let encoded = self.encoder.encode_joined(block);
        let (header, bytes) =
            encoded.map_err(|error| self.file.error("compress a block of", error))?;
        let offset = self.file.append(&bytes)?;
        self.written.push((BlockMeta::new(offset, &header), count));
        Ok(())
    }

    fn finish(mut self) -> Result<(LogFile, Footer), StoreError> {
        let layout = Layout::joined(self.written);
        let footer = append_footer(&self.open.state(), layout, &mut self.file)?;
        Ok((self.file, footer))
    }
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
        let footer = append_footer(&self.state, Layout::of(&self.state), &mut self.file)?;
        self.file.rename(&place.path)?;
        let bytes = self.file.length();
        Ok(SealedSegment::new(place.clone(), bytes, footer, caches))
    }
}
