//! A block's header: lengths, totals and the place of each part, with its own checksum.

use super::super::limits::{HEADER_BYTES_MAX, PART_BYTES_MAX};
use super::super::lists::List;
use super::parity::Parity;
use crate::log::BlockCodec;
use crate::store::bytes::{Reader, put_varint};

pub(crate) const BLOCK_MAGIC: [u8; 4] = *b"FxB1";
/// Magic, header length, body length, checksum.
const PREFIX_BYTES: usize = 16;
/// First bytes of a footer, which follows the last block.
pub(crate) const FOOTER_MAGIC: [u8; 4] = *b"FxF1";

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanCodec;

impl BlockCodec for SpanCodec {
    type Header = BlockHeader;
    const PREFIX_BYTES: usize = PREFIX_BYTES;

    fn header_bytes(&self, prefix: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(prefix);
        let magic = reader.take(4)?;
        let length = reader.fixed_u32()?;
        (magic == BLOCK_MAGIC && (PREFIX_BYTES as u32..=HEADER_BYTES_MAX).contains(&length))
            .then_some(length as usize)
    }

    fn header(&self, bytes: &[u8]) -> Option<BlockHeader> {
        BlockHeader::decode(bytes.get(..self.header_bytes(bytes)?)?)
    }

    fn block_bytes(&self, header: &BlockHeader) -> u64 {
        header.total_bytes
    }

    fn is_whole(&self, header: &BlockHeader, block: &[u8]) -> bool {
        header.parts.iter().all(|part| {
            let stored = block.get(part.offset as usize..).unwrap_or_default();
            let stored = stored.get(..part.stored);
            stored.is_some_and(|stored| crc32fast::hash(stored) == part.crc)
        })
    }

    fn is_footer(&self, prefix: &[u8]) -> bool {
        prefix.starts_with(&FOOTER_MAGIC)
    }

    fn record_bytes(&self, prefix: &[u8]) -> Option<usize> {
        Parity::record_bytes(prefix)
    }

    fn is_record(&self, record: &[u8]) -> bool {
        Parity::decode(record).is_some()
    }
}

/// The content of a part. The numbers are part of the file format: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartKind {
    /// Distinct trace ids, 16 bytes each.
    TraceIds = 0,
    /// Per row: index of its trace id.
    TraceIndex = 1,
    /// Per row: 8 bytes.
    SpanIds = 2,
    /// Per row: 8 bytes, zero for a root.
    ParentIds = 3,
    /// Per row: Unix nanoseconds.
    Starts = 4,
    /// Per row: end minus start, signed.
    Durations = 5,
    /// Per row: number of its name.
    Names = 6,
    /// Per row: kind in the low four bits, status above.
    KindStatus = 7,
    /// Per row: number of its resource.
    Resources = 8,
    /// Per row: number of its scope.
    Scopes = 9,
    /// Per row: number of its shape.
    Shapes = 10,
    /// Per row: OTLP flags.
    Flags = 11,
    /// Sparse: tracestate.
    TraceStates = 12,
    /// Sparse: status message.
    StatusMessages = 13,
    /// Sparse: events, length-prefixed.
    Events = 14,
    /// Sparse: links, length-prefixed.
    Links = 15,
    /// Sparse: the three dropped counts.
    Dropped = 16,
    /// Sparse: attributes beyond the column limits.
    Overflow = 17,
    /// Dictionary column, per occurrence: number of the value.
    DictionaryIds = 32,
    /// Literal or encoded column, per occurrence: the bytes.
    Literals = 33,
    /// Int, double or bool column, per occurrence: the number.
    Numbers = 34,
    NewNames = 48,
    NewResources = 49,
    NewScopes = 50,
    NewKeys = 51,
    /// New columns: key and type.
    NewColumns = 52,
    /// New shapes: parent shape and column.
    NewShapes = 53,
    /// New values of a dictionary column.
    NewValues = 54,
}

impl PartKind {
    /// Whether the part holds texts or messages of any length.
    pub(crate) fn is_text(self) -> bool {
        matches!(
            self,
            Self::Literals
                | Self::TraceStates
                | Self::StatusMessages
                | Self::Events
                | Self::Links
                | Self::Overflow
        )
    }

    const ALL: [Self; 28] = [
        Self::TraceIds,
        Self::TraceIndex,
        Self::SpanIds,
        Self::ParentIds,
        Self::Starts,
        Self::Durations,
        Self::Names,
        Self::KindStatus,
        Self::Resources,
        Self::Scopes,
        Self::Shapes,
        Self::Flags,
        Self::TraceStates,
        Self::StatusMessages,
        Self::Events,
        Self::Links,
        Self::Dropped,
        Self::Overflow,
        Self::DictionaryIds,
        Self::Literals,
        Self::Numbers,
        Self::NewNames,
        Self::NewResources,
        Self::NewScopes,
        Self::NewKeys,
        Self::NewColumns,
        Self::NewShapes,
        Self::NewValues,
    ];

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// Returns the list that such a part extends.
    pub(crate) fn list(self, column: u32) -> Option<List> {
        match self {
            Self::NewNames => Some(List::Names),
            Self::NewResources => Some(List::Resources),
            Self::NewScopes => Some(List::Scopes),
            Self::NewValues => Some(List::Values(column)),
            _ => None,
        }
    }

    /// Whether the part has values of few rows.
    pub(super) fn is_sparse(self) -> bool {
        (Self::TraceStates..=Self::Overflow).contains(&self)
    }

    /// Whether such parts extend the segment's dictionaries.
    pub(crate) fn is_dictionary(self) -> bool {
        self as u8 >= Self::NewNames as u8
    }
}

/// Place and encoding of a part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PartEntry {
    pub(crate) kind: PartKind,
    pub(crate) column: u32,
    /// Offset from the start of the block.
    pub(crate) offset: u64,
    /// Stored bytes; equal to `raw` if not compressed.
    pub(crate) stored: usize,
    /// Inflated bytes.
    pub(crate) raw: usize,
    /// CRC-32 of the stored bytes.
    pub(crate) crc: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct BlockHeader {
    pub(crate) header_bytes: u32,
    pub(crate) total_bytes: u64,
    pub(crate) rows: u32,
    pub(crate) min_start: u64,
    pub(crate) max_start: u64,
    pub(crate) max_end: u64,
    pub(crate) written: u64,
    pub(crate) parts: Vec<PartEntry>,
}

impl BlockHeader {
    /// Writes the header; offsets follow from the order of the parts.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let body: usize = self.parts.iter().map(|part| part.stored).sum();
        out.extend_from_slice(&[0; PREFIX_BYTES]);
        put_varint(out, u64::from(self.rows));
        for time in [self.min_start, self.max_start, self.max_end, self.written] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        put_varint(out, self.parts.len() as u64);
        for part in &self.parts {
            out.push(part.kind as u8);
            put_varint(out, u64::from(part.column));
            put_varint(out, part.stored as u64);
            put_varint(out, part.raw as u64);
            out.extend_from_slice(&part.crc.to_le_bytes());
        }
        let length = (out.len() - begin) as u32;
        let header = &mut out[begin..];
        header[..4].copy_from_slice(&BLOCK_MAGIC);
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..12].copy_from_slice(&(body as u32).to_le_bytes());
        let crc = checksum(header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
    }

    /// Decodes and verifies a header of exactly these bytes.
    fn decode(header: &[u8]) -> Option<Self> {
        let length = header.len() as u32;
        let mut reader = Reader::new(header.get(8..)?);
        let body = reader.fixed_u32()?;
        if reader.fixed_u32()? != checksum(header) {
            return None;
        }
        let mut read = Self {
            header_bytes: length,
            total_bytes: u64::from(length) + u64::from(body),
            rows: reader.varint_u32()?,
            min_start: reader.fixed_u64()?,
            max_start: reader.fixed_u64()?,
            max_end: reader.fixed_u64()?,
            written: reader.fixed_u64()?,
            parts: Vec::new(),
        };
        let mut offset = u64::from(length);
        for _ in 0..reader.varint()? {
            let part = PartEntry {
                kind: PartKind::from_number(reader.byte()?)?,
                column: reader.varint_u32()?,
                offset,
                stored: reader.varint()? as usize,
                raw: reader.varint()? as usize,
                crc: reader.fixed_u32()?,
            };
            if part.raw > PART_BYTES_MAX || part.stored > part.raw {
                return None;
            }
            offset += part.stored as u64;
            read.parts.push(part);
        }
        (offset == read.total_bytes).then_some(read)
    }
}

/// Checksum over the header except the checksum field.
fn checksum(header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(&header[PREFIX_BYTES..]);
    hasher.finalize()
}
