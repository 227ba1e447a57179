//! The footer of a sealed segment: sections that readers load on demand, and a small directory.
//!
//! Opening a store reads only the directory; its place is in the last bytes of the file.

mod forge;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::super::block::{BlockMeta, FOOTER_MAGIC, PartStream, StoredBytes, encode_compressed};
use super::super::limits::PART_BYTES_MAX;
use super::super::place_filter::{self, Precision};
use super::bloom::Bloom;
use super::layout::Layout;
use super::schema_section;
use super::services::ServiceTable;
use super::state::{SegmentState, Totals};
use super::traces::{TraceIndex, encode_summaries, sorted};
use super::zones::Zones;
use crate::store::StoreError;
use crate::store::bytes::{Reader, put_varint};

/// Last bytes of a sealed file.
const TRAILER_MAGIC: [u8; 4] = *b"FxE1";
/// One false positive in 50, which costs the read of a zone; at most 15 runs of zones. A bit more of either would cost 0.35
/// bytes a span.
const FILTER_PRECISION: Precision = Precision {
    remainder_bits: 6,
    place_bits: 4,
};
/// Directory offset and length, its checksum, magic.
const TRAILER_BYTES: usize = 20;

/// The content of a section. The numbers are part of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SectionKind {
    /// Names, resources, scopes, keys, columns, shapes.
    Schema = 0,
    /// Values of a dictionary column.
    Values = 1,
    /// Bloom filter of traces, as the first version wrote it.
    BloomOfTenBits = 2,
    /// Trace ids and their blocks.
    Index = 3,
    /// One summary per trace.
    Summaries = 4,
    /// Services, their operations, breaker marks.
    Services = 5,
    /// Contents of runs of blocks, and the attribute keys.
    Zones = 6,
    /// Span names by zone.
    ZoneNames = 7,
    /// Filter of values without zones, as earlier versions wrote it: uncompressed pages.
    Filter = 8,
    /// Bloom filter of traces.
    Bloom = 9,
    /// Filter of values by zone: uncompressed pages.
    ZoneFilter = 10,
}

#[derive(Debug, Clone, Copy)]
struct Section {
    kind: u8,
    column: u32,
    offset: u64,
    stored: u64,
    raw: u64,
    crc: u32,
}

impl Section {
    fn bytes(&self) -> StoredBytes {
        StoredBytes {
            offset: self.offset,
            stored: self.stored as usize,
            raw: self.raw as usize,
            crc: Some(self.crc),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Footer {
    pub(crate) totals: Totals,
    pub(crate) blocks: Arc<Vec<BlockMeta>>,
    sections: Vec<Section>,
}

impl Footer {
    /// Encodes the footer of a segment whose blocks end at `offset`.
    pub(crate) fn encode(
        state: &SegmentState,
        layout: Layout,
        offset: u64,
    ) -> io::Result<(Self, Vec<u8>)> {
        let mut out = FOOTER_MAGIC.to_vec();
        let mut sections = Vec::new();
        let mut put = |kind: SectionKind, column: u32, raw: &[u8]| -> io::Result<()> {
            let begin = out.len();
            match kind {
                SectionKind::ZoneFilter => out.extend_from_slice(raw),
                _ => encode_compressed(raw, &mut out)?,
            }
            sections.push(Section {
                kind: kind as u8,
                column,
                offset: offset + begin as u64,
                stored: (out.len() - begin) as u64,
                raw: raw.len() as u64,
                crc: crc32fast::hash(&out[begin..]),
            });
            Ok(())
        };
        let partials = sorted(state);
        let ids: Vec<u128> = partials.iter().map(|partial| partial.id).collect();
        put(
            SectionKind::Schema,
            0,
            &schema_section::encode(&state.schema, &state.lists),
        )?;
        put(SectionKind::Bloom, 0, &Bloom::new(&ids).encode())?;
        let index = TraceIndex::encode(state, &layout, &partials);
        put(SectionKind::Index, 0, &index)?;
        put(
            SectionKind::Summaries,
            0,
            &encode_summaries(state, &partials),
        )?;
        put(SectionKind::Services, 0, &ServiceTable::encode(state))?;
        for (column, values) in state.lists.columns() {
            let mut raw = Vec::new();
            values.encode_from(0, &mut raw);
            put(SectionKind::Values, column, &raw)?;
        }
        let has_columns = state.totals.overflow_rows == 0;
        let columns = has_columns.then_some((&*state.schema, &state.lists, &state.tokens));
        let zones = layout.zones(state.zones.list());
        let zones = Zones::encode(state.services.list(), &zones, columns);
        put(SectionKind::Zones, 0, &zones)?;
        put(SectionKind::ZoneNames, 0, &state.zones.encode_names())?;
        if has_columns && let Some(filter) = encode_filter(state) {
            put(SectionKind::ZoneFilter, 0, &filter)?;
        }
        let footer = Self {
            totals: state.totals,
            blocks: layout.blocks,
            sections,
        };
        let mut directory = Vec::new();
        footer.encode_directory(&mut directory);
        let at = offset + out.len() as u64;
        out.extend_from_slice(&directory);
        encode_trailer(at, &directory, &mut out);
        Ok((footer, out))
    }

    /// Reads the directory of a sealed file; `None` if it has no valid footer.
    pub(crate) fn read(file: &File, length: u64) -> io::Result<Option<Self>> {
        let mut trailer = [0; TRAILER_BYTES];
        let Some(at) = length.checked_sub(TRAILER_BYTES as u64) else {
            return Ok(None);
        };
        file.read_exact_at(&mut trailer, at)?;
        let mut reader = Reader::new(&trailer);
        let (Some(offset), Some(bytes), Some(crc)) =
            (reader.fixed_u64(), reader.fixed_u32(), reader.fixed_u32())
        else {
            return Ok(None);
        };
        let ends_there = offset.checked_add(u64::from(bytes)) == Some(at);
        if reader.take(4) != Some(&TRAILER_MAGIC) || !ends_there {
            return Ok(None);
        }
        let mut directory = vec![0; bytes as usize];
        file.read_exact_at(&mut directory, offset)?;
        if crc32fast::hash(&directory) != crc {
            return Ok(None);
        }
        Ok(Self::decode_directory(&directory))
    }

    /// Reads a section; `None` if the segment has none of that kind.
    pub(crate) fn section(
        &self,
        file: &File,
        path: &Path,
        kind: SectionKind,
        column: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let section = self.find(kind, column);
        section
            .map(|section| section.bytes().read(file, path))
            .transpose()
    }

    /// Opens a section as a stream; `None` if the segment has none of that kind.
    pub(crate) fn stream<'a>(
        &self,
        file: &'a File,
        path: &Path,
        kind: SectionKind,
        column: u32,
    ) -> Result<Option<PartStream<'a>>, StoreError> {
        let section = self.find(kind, column);
        section
            .map(|section| section.bytes().stream(file, path))
            .transpose()
    }

    /// Inflated size of a section; 0 if there is none.
    pub(crate) fn raw_bytes(&self, kind: SectionKind, column: u32) -> usize {
        self.find(kind, column)
            .map_or(0, |section| section.raw as usize)
    }

    pub(crate) fn longest(&self, kind: SectionKind) -> usize {
        let of_kind = self.sections.iter().filter(|s| s.kind == kind as u8);
        of_kind.map(|s| s.raw as usize).max().unwrap_or_default()
    }

    pub(crate) fn has(&self, kind: SectionKind) -> bool {
        self.find(kind, 0).is_some()
    }

    /// Returns the number of pages in an uncompressed section; `None` if there is no such section.
    pub(crate) fn pages(&self, kind: SectionKind, bytes: usize) -> Option<u64> {
        let section = self.find(kind, 0)?;
        (section.stored == section.raw).then_some(section.raw / bytes as u64)
    }

    /// Reads a page of such a section; the page has its own checksum.
    pub(crate) fn page<const N: usize>(
        &self,
        file: &File,
        path: &Path,
        kind: SectionKind,
        page: u64,
    ) -> Result<[u8; N], StoreError> {
        let mut bytes = [0; N];
        let begin = self.find(kind, 0).map_or(0, |section| section.offset);
        file.read_exact_at(&mut bytes, begin + page * N as u64)
            .map_err(|error| StoreError::io("read", path, error))?;
        Ok(bytes)
    }

    fn find(&self, kind: SectionKind, column: u32) -> Option<&Section> {
        let mut sections = self.sections.iter();
        sections.find(|section| section.kind == kind as u8 && section.column == column)
    }

    fn encode_directory(&self, out: &mut Vec<u8>) {
        let totals = &self.totals;
        for number in [
            totals.rows,
            totals.overflow_rows,
            totals.min_start,
            totals.max_start,
            totals.max_end,
            totals.written,
        ] {
            put_varint(out, number);
        }
        put_varint(out, self.blocks.len() as u64);
        for block in self.blocks.iter() {
            put_varint(out, block.offset);
            put_varint(out, u64::from(block.header_bytes));
            put_varint(out, u64::from(block.rows));
            put_varint(out, block.min_start);
            put_varint(out, block.max_start);
        }
        put_varint(out, self.sections.len() as u64);
        for section in &self.sections {
            out.push(section.kind);
            put_varint(out, u64::from(section.column));
            put_varint(out, section.offset);
            put_varint(out, section.stored);
            put_varint(out, section.raw);
            out.extend_from_slice(&section.crc.to_le_bytes());
        }
    }

    fn decode_directory(directory: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(directory);
        let totals = Totals {
            rows: reader.varint()?,
            overflow_rows: reader.varint()?,
            min_start: reader.varint()?,
            max_start: reader.varint()?,
            max_end: reader.varint()?,
            written: reader.varint()?,
        };
        let mut blocks = Vec::new();
        for _ in 0..reader.varint()? {
            blocks.push(BlockMeta {
                offset: reader.varint()?,
                header_bytes: reader.varint_u32()?,
                rows: reader.varint_u32()?,
                min_start: reader.varint()?,
                max_start: reader.varint()?,
            });
        }
        let mut sections = Vec::new();
        for _ in 0..reader.varint()? {
            let section = Section {
                kind: reader.byte()?,
                column: reader.varint_u32()?,
                offset: reader.varint()?,
                stored: reader.varint()?,
                raw: reader.varint()?,
                crc: reader.fixed_u32()?,
            };
            if section.raw > PART_BYTES_MAX as u64 || section.stored > section.raw {
                return None;
            }
            sections.push(section);
        }
        reader.is_empty().then_some(Self {
            totals,
            blocks: Arc::new(blocks),
            sections,
        })
    }
}

/// Returns `None` if there are too many values for a filter.
fn encode_filter(state: &SegmentState) -> Option<Vec<u8>> {
    let mut tokens = state.tokens.all(&state.schema, &state.lists)?;
    place_filter::encode(&mut tokens, state.zones.list().len(), FILTER_PRECISION)
}

/// Encodes the last bytes of a file whose directory begins at `at`.
fn encode_trailer(at: u64, directory: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&at.to_le_bytes());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(directory).to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC);
}
