//! The services of a segment, their operations, and the breaker marks of its spans.

use super::super::dictionary::ValueList;
use super::state::SegmentState;
use crate::store::bytes::{Reader, put_bytes, put_varint};

/// Services, operations and marks of a sealed segment.
#[derive(Debug, Default)]
pub(crate) struct ServiceTable {
    /// Names of services.
    pub(crate) services: ValueList,
    /// Breaker marks.
    pub(crate) marks: ValueList,
    /// Pairs of service and span name, sorted.
    pub(crate) operations: Vec<(u32, u32)>,
}

impl ServiceTable {
    /// Writes the open segment's.
    pub(crate) fn encode(state: &SegmentState) -> Vec<u8> {
        let mut out = Vec::new();
        for list in [state.services.list(), &state.marks] {
            let mut part = Vec::new();
            list.encode_from(0, &mut part);
            put_bytes(&mut out, &part);
        }
        let mut operations: Vec<_> = state.operations.iter().copied().collect();
        operations.sort_unstable();
        put_varint(&mut out, operations.len() as u64);
        for (service, name) in operations {
            put_varint(&mut out, u64::from(service));
            put_varint(&mut out, u64::from(name));
        }
        out
    }

    /// Reads what `encode` wrote.
    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let mut table = Self::default();
        table.services.absorb(reader.bytes()?)?;
        table.marks.absorb(reader.bytes()?)?;
        for _ in 0..reader.varint()? {
            let pair = (reader.varint_u32()?, reader.varint_u32()?);
            table.operations.push(pair);
        }
        reader.is_empty().then_some(table)
    }

    /// Returns the memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.services.memory() + self.marks.memory() + self.operations.len() * 8
    }
}
