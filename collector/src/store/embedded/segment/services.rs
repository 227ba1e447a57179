//! The services of a segment, their operations, and the breaker marks of its spans.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::block::PartStream;
use super::super::dictionary::ValueList;
use super::super::lists::List;
use super::schema_section::read_short;
use super::state::SegmentState;
use crate::store::bytes::{put_bytes, put_varint};

#[derive(Debug, Default)]
pub(crate) struct ServiceTable {
    /// Service names and breaker marks, except long lists.
    pub(crate) lists: BTreeMap<List, Arc<ValueList>>,
    /// Pairs of service and span name, sorted.
    pub(crate) operations: Vec<(u32, u32)>,
}

impl ServiceTable {
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

    pub(super) fn read(section: &mut PartStream<'_>) -> Option<Self> {
        let lists = read_short(section, &List::OF_SERVICES)?;
        let mut operations = Vec::new();
        for _ in 0..section.varint()? {
            let (service, name) = (section.varint()?, section.varint()?);
            let pair = (u32::try_from(service).ok()?, u32::try_from(name).ok()?);
            operations.push(pair);
        }
        section.is_at_end().then_some(Self { lists, operations })
    }

    pub(crate) fn memory(&self) -> usize {
        let lists = self.lists.values().map(|list| list.memory());
        lists.sum::<usize>() + self.operations.len() * 8
    }
}
