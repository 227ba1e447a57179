//! Encodes the open block: each column becomes a part, compressed by itself.

use std::fmt;
use std::io;

use super::super::limits::COMPRESS_FROM_BYTES;
use super::builder::{BlockBuilder, Rows};
use super::column::ColumnData;
use super::header::{BlockHeader, PartEntry, PartKind};
use super::parity::Parity;
use super::schema::{encode_columns, encode_shapes};
use super::{Sparse, ints};

/// zstd level of every part: measured on spans, level 3 gains 2 % in size for 14 % more time.
const COMPRESSION_LEVEL: i32 = 1;

/// Compresses parts and joins them; reuses its buffers.
pub(crate) struct BlockEncoder {
    compressor: zstd::bulk::Compressor<'static>,
    raw: Vec<u8>,
    compressed: Vec<u8>,
    body: Vec<u8>,
    parts: Vec<PartEntry>,
    deltas: Vec<(PartKind, u32, Vec<u8>)>,
    /// Blocks of fewer rows are not compressed.
    plain_below: usize,
    /// Whether the current block is such a one.
    is_plain: bool,
}

#[derive(Debug)]
pub(crate) struct EncodedBlock {
    pub(crate) header: BlockHeader,
    /// Header, parts and parity record.
    pub(crate) bytes: Vec<u8>,
    /// The uncompressed parts that extend the segment's dictionaries.
    pub(crate) deltas: Vec<(PartKind, u32, Vec<u8>)>,
}

impl fmt::Debug for BlockEncoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockEncoder").finish_non_exhaustive()
    }
}

impl BlockEncoder {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            compressor: zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?,
            raw: Vec::new(),
            compressed: Vec::new(),
            body: Vec::new(),
            parts: Vec::new(),
            deltas: Vec::new(),
            plain_below: 0,
            is_plain: false,
        })
    }

    /// Leaves blocks of fewer rows uncompressed from now on: they are joined, and then compressed, when the segment is
    /// sealed.
    pub(crate) fn leave_plain_below(&mut self, rows: usize) {
        self.plain_below = rows;
    }

    pub(crate) fn encode(
        &mut self,
        block: &BlockBuilder,
        written: u64,
    ) -> io::Result<EncodedBlock> {
        self.begin();
        self.is_plain = block.len() < self.plain_below;
        self.put_dictionaries(block)?;
        self.put_ids(block)?;
        self.put_rows(&block.rows)?;
        self.put_rare(&block.rows)?;
        self.put_columns(block)?;
        let rows = &block.rows;
        let ends = rows.starts.iter().zip(&rows.durations);
        let end =
            |(&start, &duration): (&u64, &i64)| start.max(start.wrapping_add(duration as u64));
        let header = BlockHeader {
            rows: rows.starts.len() as u32,
            min_start: rows.starts.iter().copied().min().unwrap_or(0),
            max_start: rows.starts.iter().copied().max().unwrap_or(0),
            max_end: ends.map(end).max().unwrap_or(0),
            written,
            ..BlockHeader::default()
        };
        let (header, bytes) = self.finish(header);
        Ok(EncodedBlock {
            header,
            bytes,
            deltas: std::mem::take(&mut self.deltas),
        })
    }

    /// Begins a block.
    pub(super) fn begin(&mut self) {
        self.body.clear();
        self.parts.clear();
        self.deltas.clear();
        self.is_plain = false;
    }

    /// Returns the header of the parts so far, completed, and all bytes of the block with its parity record.
    pub(super) fn finish(&mut self, mut header: BlockHeader) -> (BlockHeader, Vec<u8>) {
        header.parts = std::mem::take(&mut self.parts);
        let room = 32 * header.parts.len() + 64 + Parity::room(self.body.len());
        let mut bytes = Vec::with_capacity(self.body.len() + room);
        header.encode(&mut bytes);
        header.header_bytes = bytes.len() as u32;
        bytes.extend_from_slice(&self.body);
        header.total_bytes = bytes.len() as u64;
        Parity::append(&mut bytes);
        (header, bytes)
    }

    pub(crate) fn release_memory(&mut self) {
        self.raw = Vec::new();
        self.compressed = Vec::new();
        self.body = Vec::new();
        self.parts = Vec::new();
    }

    /// Writes the new values of dictionaries.
    fn put_dictionaries(&mut self, block: &BlockBuilder) -> io::Result<()> {
        for (kind, dictionary) in [
            (PartKind::NewNames, &block.names),
            (PartKind::NewResources, &block.resources),
            (PartKind::NewScopes, &block.scopes),
            (PartKind::NewKeys, &block.attributes.keys),
        ] {
            self.delta(kind, 0, |out| {
                dictionary.encode_new(out);
            })?;
        }
        let attributes = &block.attributes;
        self.delta(PartKind::NewColumns, 0, |out| {
            if attributes.columns_flushed < attributes.column_defs.len() {
                encode_columns(&attributes.column_defs, attributes.columns_flushed, out);
            }
        })?;
        self.delta(PartKind::NewShapes, 0, |out| {
            if attributes.shapes_flushed < attributes.shape_defs.len() {
                encode_shapes(&attributes.shape_defs, attributes.shapes_flushed, out);
            }
        })?;
        for (id, column) in attributes.columns.iter().enumerate() {
            if let ColumnData::Dictionary(column) = &column.data {
                self.delta(PartKind::NewValues, id as u32, |out| {
                    column.dictionary.encode_new(out);
                })?;
            }
        }
        Ok(())
    }

    /// Writes ids: random bytes that do not compress, but a block stores each trace id once.
    fn put_ids(&mut self, block: &BlockBuilder) -> io::Result<()> {
        self.plain(PartKind::TraceIds, |out| {
            for id in &block.trace_ids {
                out.extend_from_slice(&id.to_be_bytes());
            }
        });
        self.part(PartKind::TraceIndex, 0, |out| {
            ints::encode(out, &block.rows.trace_index, u64::from);
        })?;
        self.plain(PartKind::SpanIds, |out| {
            out.extend_from_slice(block.rows.span_ids.as_flattened());
        });
        self.part(PartKind::ParentIds, 0, |out| {
            out.extend_from_slice(block.rows.parent_ids.as_flattened());
        })
    }

    /// Writes the columns that have a value in every row.
    fn put_rows(&mut self, rows: &Rows) -> io::Result<()> {
        self.part(PartKind::Starts, 0, |out| {
            ints::encode(out, &rows.starts, |start| start);
        })?;
        self.part(PartKind::Durations, 0, |out| {
            ints::encode(out, &rows.durations, ints::ordered);
        })?;
        self.part(PartKind::KindStatus, 0, |out| {
            ints::encode(out, &rows.kind_status, u64::from);
        })?;
        for (kind, ids) in [
            (PartKind::Names, &rows.names),
            (PartKind::Resources, &rows.resources),
            (PartKind::Scopes, &rows.scopes),
            (PartKind::Shapes, &rows.shapes),
            (PartKind::Flags, &rows.flags),
        ] {
            self.part(kind, 0, |out| ints::encode(out, ids, u64::from))?;
        }
        Ok(())
    }

    fn put_rare(&mut self, rows: &Rows) -> io::Result<()> {
        let columns: [(PartKind, &Sparse); 6] = [
            (PartKind::TraceStates, &rows.trace_states),
            (PartKind::StatusMessages, &rows.status_messages),
            (PartKind::Events, &rows.events),
            (PartKind::Links, &rows.links),
            (PartKind::Dropped, &rows.dropped),
            (PartKind::Overflow, &rows.overflow),
        ];
        for (kind, column) in columns {
            if !column.is_empty() {
                self.part(kind, 0, |out| column.encode(out))?;
            }
        }
        Ok(())
    }

    /// Writes the attribute columns that have values.
    fn put_columns(&mut self, block: &BlockBuilder) -> io::Result<()> {
        for (id, column) in block.attributes.columns.iter().enumerate() {
            let id = id as u32;
            match &column.data {
                ColumnData::Dictionary(column) if !column.ids.is_empty() => {
                    self.part(PartKind::DictionaryIds, id, |out| {
                        ints::encode(out, &column.ids, u64::from);
                    })?;
                }
                ColumnData::Literal(texts) | ColumnData::Encoded(texts) if texts.len() > 0 => {
                    self.part(PartKind::Literals, id, |out| texts.encode(out))?;
                }
                ColumnData::Int(values) if !values.is_empty() => {
                    self.part(PartKind::Numbers, id, |out| {
                        ints::encode(out, values, ints::ordered);
                    })?;
                }
                ColumnData::Double(values) if !values.is_empty() => {
                    self.part(PartKind::Numbers, id, |out| {
                        ints::encode(out, values, f64::to_bits);
                    })?;
                }
                ColumnData::Bool(values) if !values.is_empty() => {
                    self.part(PartKind::Numbers, id, |out| {
                        ints::encode(out, values, u64::from);
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes a part that extends a dictionary, unless it is empty.
    fn delta(
        &mut self,
        kind: PartKind,
        column: u32,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        let mut raw = Vec::new();
        fill(&mut raw);
        if raw.is_empty() {
            return Ok(());
        }
        self.part(kind, column, |out| out.extend_from_slice(&raw))?;
        self.deltas.push((kind, column, raw));
        Ok(())
    }

    /// Writes an uncompressed part.
    pub(super) fn plain(&mut self, kind: PartKind, fill: impl FnOnce(&mut Vec<u8>)) {
        let begin = self.body.len();
        fill(&mut self.body);
        self.enter(kind, 0, begin, self.body.len() - begin);
    }

    /// Writes a part, compressed if that makes it smaller.
    pub(super) fn part(
        &mut self,
        kind: PartKind,
        column: u32,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> io::Result<()> {
        self.raw.clear();
        fill(&mut self.raw);
        let begin = self.body.len();
        let stored = match self.is_plain {
            true => &self.raw,
            false => compress(&mut self.compressor, &self.raw, &mut self.compressed)?,
        };
        self.body.extend_from_slice(stored);
        self.enter(kind, column, begin, self.raw.len());
        Ok(())
    }

    fn enter(&mut self, kind: PartKind, column: u32, begin: usize, raw: usize) {
        let stored = &self.body[begin..];
        self.parts.push(PartEntry {
            kind,
            column,
            offset: 0,
            stored: stored.len(),
            raw,
            crc: crc32fast::hash(stored),
        });
    }
}

/// Appends bytes, compressed if that makes them smaller, with a temporary compressor.
pub(crate) fn encode_compressed(raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut compressor = zstd::bulk::Compressor::new(COMPRESSION_LEVEL)?;
    let mut buffer = Vec::new();
    out.extend_from_slice(compress(&mut compressor, raw, &mut buffer)?);
    Ok(())
}

/// Compresses bytes; returns the input if it is short or does not shrink.
fn compress<'a>(
    compressor: &mut zstd::bulk::Compressor<'_>,
    raw: &'a [u8],
    buffer: &'a mut Vec<u8>,
) -> io::Result<&'a [u8]> {
    if raw.len() < COMPRESS_FROM_BYTES {
        return Ok(raw);
    }
    buffer.clear();
    buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
    let length = compressor.compress_to_buffer(raw, buffer)?;
    Ok(if length < raw.len() {
        &buffer[..length]
    } else {
        raw
    })
}
