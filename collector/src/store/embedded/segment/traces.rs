//! The trace index of a sealed segment (id to blocks) and its summaries (id to a row of a list).
//!
//! Both are sorted by the low half of the id, then the high half, so that one search serves whole ids and the
//! 16 digits that older senders use. Storing whole ids takes 1.3 bytes a span more than short ones, and saves
//! reading a block to confirm a hit.

use super::super::block::{Blobs, ints};
use super::super::summary::{Circuit, Origin, Partial, ServiceSpans};
use super::layout::Layout;
use super::state::SegmentState;
use crate::store::bytes::{Reader, put_varint};

/// Sort key of ids.
fn order(id: u128) -> u128 {
    id.rotate_left(64)
}

/// Returns the open segment's traces in index order.
pub(crate) fn sorted(state: &SegmentState) -> Vec<&Partial> {
    let mut partials: Vec<&Partial> = state.traces.partials().iter().collect();
    partials.sort_unstable_by_key(|partial| order(partial.id));
    partials
}

#[derive(Debug, Default)]
pub(crate) struct TraceIndex {
    ids: Vec<u128>,
    ends: Vec<u32>,
    blocks: Vec<u32>,
}

impl TraceIndex {
    pub(crate) fn encode(state: &SegmentState, layout: &Layout, partials: &[&Partial]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut ends = Vec::with_capacity(partials.len());
        let mut blocks = Vec::new();
        put_varint(&mut out, partials.len() as u64);
        for partial in partials {
            out.extend_from_slice(&partial.id.to_be_bytes());
            blocks.extend(layout.translate(state.traces.blocks(partial)));
            ends.push(blocks.len() as u32);
        }
        ints::encode(&mut out, &ends, u64::from);
        ints::encode(&mut out, &blocks, u64::from);
        out
    }

    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let count = usize::try_from(reader.varint()?).ok()?;
        let (ids, _) = reader.take(count.checked_mul(16)?)?.as_chunks::<16>();
        let ids = ids.iter().map(|id| u128::from_be_bytes(*id)).collect();
        let narrow = |numbers: Vec<u64>| -> Vec<u32> {
            numbers.into_iter().map(|number| number as u32).collect()
        };
        let ends = narrow(ints::decode(&mut reader)?);
        let blocks = narrow(ints::decode(&mut reader)?);
        let sorted = ends.windows(2).all(|pair| pair[0] <= pair[1]);
        let complete =
            ends.len() == count && ends.last().map_or(0, |&end| end as usize) == blocks.len();
        (sorted && complete).then_some(Self { ids, ends, blocks })
    }

    pub(crate) fn memory(&self) -> usize {
        self.ids.len() * 20 + self.blocks.len() * 4
    }

    /// Returns the ids, by their low half.
    pub(crate) fn ids(&self) -> &[u128] {
        &self.ids
    }

    /// Finds a trace's place.
    pub(crate) fn find(&self, id: u128) -> Option<usize> {
        let wanted = order(id);
        self.ids.binary_search_by_key(&wanted, |&id| order(id)).ok()
    }

    pub(crate) fn blocks(&self, place: usize) -> &[u32] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.blocks[start as usize..self.ends[place] as usize]
    }

    /// Returns the traces whose id has these low 64 bits.
    pub(crate) fn by_low_half(&self, low: u64) -> &[u128] {
        let begin = self.ids.partition_point(|&id| (id as u64) < low);
        let end = self.ids.partition_point(|&id| id as u64 <= low);
        &self.ids[begin..end]
    }
}

/// A segment's summary of a trace, with its lists.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) max_end: u64,
    pub(crate) spans: u32,
    pub(crate) errors: u32,
    pub(crate) root: Option<Origin>,
    pub(crate) first: Origin,
    pub(crate) services: Vec<ServiceSpans>,
    pub(crate) circuits: Vec<Circuit>,
}

impl Piece {
    pub(crate) fn new(state: &SegmentState, partial: &Partial) -> Self {
        Self {
            max_end: partial.max_end,
            spans: partial.spans,
            errors: partial.errors,
            root: partial.root,
            first: partial.first,
            services: state.traces.services(partial).collect(),
            circuits: state.traces.circuits(partial).collect(),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = u64> + '_ {
        self.origins().map(|origin| u64::from(origin.name))
    }

    pub(crate) fn service_numbers(&self) -> impl Iterator<Item = u64> + '_ {
        let of_spans = self.services.iter().map(|entry| entry.service);
        let of_circuits = self.circuits.iter().map(|circuit| circuit.service);
        let of_origins = self.origins().map(|origin| origin.service);
        let all = of_spans.chain(of_circuits).chain(of_origins);
        all.map(u64::from)
    }

    pub(crate) fn marks(&self) -> impl Iterator<Item = u64> + '_ {
        self.circuits.iter().map(|circuit| u64::from(circuit.mark))
    }

    fn origins(&self) -> impl Iterator<Item = Origin> {
        [Some(self.first), self.root].into_iter().flatten()
    }

    /// Times are relative to `base`, the segment's earliest start.
    fn encode(&self, base: u64, out: &mut Vec<u8>) {
        let origin = |out: &mut Vec<u8>, origin: &Origin| {
            put_varint(out, origin.start.wrapping_sub(base));
            put_varint(out, u64::from(origin.service));
            put_varint(out, u64::from(origin.name));
        };
        origin(out, &self.first);
        put_varint(out, self.max_end.wrapping_sub(self.first.start));
        put_varint(out, u64::from(self.spans));
        put_varint(out, u64::from(self.errors));
        let root_is_first = self.root == Some(self.first);
        let root_failed = self.root.is_some_and(|root| root.failed);
        out.push(
            u8::from(self.root.is_some())
                | u8::from(root_is_first) << 1
                | u8::from(root_failed) << 2
                | u8::from(self.first.failed) << 3,
        );
        if let Some(root) = self.root.filter(|_| !root_is_first) {
            origin(out, &root);
        }
        put_varint(out, self.services.len() as u64);
        for service in &self.services {
            put_varint(out, u64::from(service.service));
            put_varint(out, u64::from(service.spans));
            put_varint(out, u64::from(service.errors));
        }
        put_varint(out, self.circuits.len() as u64);
        for circuit in &self.circuits {
            put_varint(out, u64::from(circuit.service));
            put_varint(out, u64::from(circuit.mark));
        }
    }

    pub(crate) fn decode(encoded: &[u8], base: u64) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let origin = |reader: &mut Reader<'_>| {
            Some(Origin {
                start: reader.varint()?.wrapping_add(base),
                service: reader.varint_u32()?,
                name: reader.varint_u32()?,
                failed: false,
            })
        };
        let mut first = origin(&mut reader)?;
        let max_end = reader.varint()?.wrapping_add(first.start);
        let (spans, errors) = (reader.varint_u32()?, reader.varint_u32()?);
        // Segments of earlier versions have no failure bits: their requests count as degraded.
        let flags = reader.byte()?;
        first.failed = flags & 8 != 0;
        let root = match flags & 3 {
            0 => None,
            1 => Some(Origin {
                failed: flags & 4 != 0,
                ..origin(&mut reader)?
            }),
            _ => Some(first),
        };
        let mut services = Vec::new();
        for _ in 0..reader.varint()? {
            services.push(ServiceSpans {
                service: reader.varint_u32()?,
                spans: reader.varint_u32()?,
                errors: reader.varint_u32()?,
            });
        }
        let mut circuits = Vec::new();
        for _ in 0..reader.varint()? {
            circuits.push(Circuit {
                service: reader.varint_u32()?,
                mark: reader.varint_u32()?,
            });
        }
        Some(Self {
            max_end,
            spans,
            errors,
            root,
            first,
            services,
            circuits,
        })
    }
}

pub(crate) fn encode_summaries(state: &SegmentState, partials: &[&Partial]) -> Vec<u8> {
    let mut blobs = Blobs::default();
    let mut scratch = Vec::new();
    for partial in partials {
        scratch.clear();
        Piece::new(state, partial).encode(state.totals.min_start, &mut scratch);
        blobs.push(&scratch);
    }
    let mut out = Vec::new();
    blobs.encode(&mut out);
    out
}
