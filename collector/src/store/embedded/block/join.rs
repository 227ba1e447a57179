//! Joins blocks of one segment into a larger one without decoding their spans: they share the segment's dictionaries,
//! so their columns are appended.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;

use super::encode::BlockEncoder;
use super::header::{BlockHeader, PartEntry, PartKind};
use super::inflate::inflate;
use super::{Blobs, Sparse, ints};
use crate::store::bytes::{Reader, put_varint};
use crate::store::hash::Seed;

/// The columns of the blocks so far.
#[derive(Debug, Default)]
pub(crate) struct JoinedBlocks {
    header: BlockHeader,
    trace_ids: Vec<u128>,
    traces: HashMap<u128, u64, Seed>,
    /// Columns of ids.
    ids: BTreeMap<PartKind, Vec<u8>>,
    numbers: BTreeMap<(PartKind, u32), Vec<u64>>,
    texts: BTreeMap<u32, Blobs>,
    sparse: BTreeMap<PartKind, Sparse>,
    dictionaries: BTreeMap<(PartKind, u32), NewEntries>,
    bytes: usize,
}

/// New entries of a dictionary.
#[derive(Debug)]
struct NewEntries {
    first: u64,
    count: u64,
    encoded: Vec<u8>,
}

impl JoinedBlocks {
    /// Uncompressed size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the next block of the segment, given all its bytes; `None` if it is damaged or does not follow.
    pub(crate) fn add(&mut self, header: &BlockHeader, block: &[u8]) -> Option<()> {
        let trace_map = self.trace_map(header, block)?;
        for part in &header.parts {
            let raw = read(part, block)?;
            self.bytes += raw.len();
            self.add_part(part, &raw, &trace_map)?;
        }
        let joined = &mut self.header;
        let is_first = joined.rows == 0;
        let before = |start: u64| if is_first { u64::MAX } else { start };
        joined.min_start = before(joined.min_start).min(header.min_start);
        joined.max_start = joined.max_start.max(header.max_start);
        joined.max_end = joined.max_end.max(header.max_end);
        joined.written = joined.written.max(header.written);
        joined.rows = joined.rows.checked_add(header.rows)?;
        Some(())
    }

    /// Adds the traces of a block; returns their numbers in the joined one.
    fn trace_map(&mut self, header: &BlockHeader, block: &[u8]) -> Option<Vec<u64>> {
        let mut parts = header.parts.iter();
        let part = parts.find(|part| part.kind == PartKind::TraceIds)?;
        let raw = read(part, block)?;
        let (ids, rest) = raw.as_chunks::<16>();
        let numbers = ids.iter().map(|id| {
            let id = u128::from_be_bytes(*id);
            let next = self.trace_ids.len() as u64;
            let number = *self.traces.entry(id).or_insert(next);
            if number == next {
                self.trace_ids.push(id);
            }
            number
        });
        let numbers = numbers.collect();
        rest.is_empty().then_some(numbers)
    }

    fn add_part(&mut self, part: &PartEntry, raw: &[u8], trace_map: &[u64]) -> Option<()> {
        let (kind, key) = (part.kind, (part.kind, part.column));
        let mut reader = Reader::new(raw);
        match kind {
            PartKind::TraceIds => {}
            PartKind::TraceIndex => {
                let numbers = self.numbers.entry(key).or_default();
                for trace in ints::decode(&mut reader)? {
                    numbers.push(*trace_map.get(trace as usize)?);
                }
            }
            PartKind::SpanIds | PartKind::ParentIds => {
                self.ids.entry(kind).or_default().extend_from_slice(raw);
            }
            PartKind::Literals => {
                let texts = self.texts.entry(part.column).or_default();
                texts.append(&Blobs::decode(raw)?);
            }
            kind if kind.is_sparse() => {
                let rows = self.header.rows;
                let sparse = self.sparse.entry(kind).or_default();
                for (row, value) in Sparse::decode(raw)?.iter() {
                    sparse.push(rows + row, value);
                }
            }
            kind if kind.is_dictionary() => self.add_entries(key, &mut reader)?,
            _ => {
                let numbers = self.numbers.entry(key).or_default();
                numbers.extend(ints::decode(&mut reader)?);
            }
        }
        Some(())
    }

    fn add_entries(&mut self, key: (PartKind, u32), reader: &mut Reader<'_>) -> Option<()> {
        let (first, count) = (reader.varint()?, reader.varint()?);
        let entries = self.dictionaries.entry(key).or_insert(NewEntries {
            first,
            count: 0,
            encoded: Vec::new(),
        });
        let follows = entries.first.checked_add(entries.count) == Some(first);
        entries.count += count;
        entries.encoded.extend_from_slice(reader.rest());
        follows.then_some(())
    }
}

/// Whether every part of a block is as it was written.
pub(crate) fn is_intact(header: &BlockHeader, block: &[u8]) -> bool {
    let mut parts = header.parts.iter();
    parts.all(|part| stored(part, block).is_some())
}

/// Returns the stored bytes of a part; `None` if they are damaged.
fn stored<'a>(part: &PartEntry, block: &'a [u8]) -> Option<&'a [u8]> {
    let stored = block.get(usize::try_from(part.offset).ok()?..)?;
    let stored = stored.get(..part.stored)?;
    (crc32fast::hash(stored) == part.crc).then_some(stored)
}

/// Returns the content of a part; `None` if it is damaged.
fn read<'a>(part: &PartEntry, block: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let stored = stored(part, block)?;
    match part.stored == part.raw {
        true => Some(Cow::Borrowed(stored)),
        false => inflate(stored, part.raw).map(Cow::Owned),
    }
}

impl BlockEncoder {
    /// Encodes blocks that were joined; returns the header, and all bytes of the block.
    pub(crate) fn encode_joined(
        &mut self,
        joined: JoinedBlocks,
    ) -> io::Result<(BlockHeader, Vec<u8>)> {
        self.begin();
        self.plain(PartKind::TraceIds, |out| {
            let ids = joined.trace_ids.iter();
            out.extend(ids.flat_map(|id| id.to_be_bytes()));
        });
        for (kind, ids) in &joined.ids {
            match kind {
                PartKind::SpanIds => self.plain(*kind, |out| out.extend_from_slice(ids)),
                _ => self.part(*kind, 0, |out| out.extend_from_slice(ids))?,
            }
        }
        for ((kind, column), numbers) in &joined.numbers {
            self.part(*kind, *column, |out| {
                ints::encode(out, numbers, |number| number);
            })?;
        }
        for (kind, sparse) in &joined.sparse {
            self.part(*kind, 0, |out| sparse.encode(out))?;
        }
        for (column, texts) in &joined.texts {
            self.part(PartKind::Literals, *column, |out| texts.encode(out))?;
        }
        for ((kind, column), entries) in &joined.dictionaries {
            self.part(*kind, *column, |out| {
                put_varint(out, entries.first);
                put_varint(out, entries.count);
                out.extend_from_slice(&entries.encoded);
            })?;
        }
        Ok(self.finish(joined.header))
    }
}
