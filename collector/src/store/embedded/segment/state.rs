//! The in-memory state of an unsealed segment; grows with each commit, or during recovery.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::block::attributes::service_of;
use super::super::block::schema::Schema;
use super::super::block::{BlockHeader, BlockMeta, BlockValues, PartKind};
use super::super::dictionary::{Dictionary, ValueList};
use super::super::limits::{SMALL_BLOCK_ROWS, SMALL_SHARE};
use super::super::lists::{Lent, List, ListSet, Lists};
use super::super::summary::{Circuit, SpanFacts, TraceTable};
use super::tokens::Tokens;
use super::zones::{ServiceRange, ZoneTable};
use crate::store::StoreError;
use crate::store::hash::Seed;

/// Totals over the blocks of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) rows: u64,
    /// Spans whose attributes are beyond the column limits.
    pub(crate) overflow_rows: u64,
    pub(crate) min_start: u64,
    pub(crate) max_start: u64,
    pub(crate) max_end: u64,
    /// When the last block was written.
    pub(crate) written: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            rows: 0,
            overflow_rows: 0,
            min_start: u64::MAX,
            max_start: 0,
            max_end: 0,
            written: 0,
        }
    }
}

impl Totals {
    fn add(&mut self, header: &BlockHeader) {
        self.rows += u64::from(header.rows);
        self.min_start = self.min_start.min(header.min_start);
        self.max_start = self.max_start.max(header.max_start);
        self.max_end = self.max_end.max(header.max_end);
        self.written = self.written.max(header.written);
    }
}

/// The fields of a block's rows that indexes need.
#[derive(Debug)]
pub(crate) struct RowFacts<'a> {
    pub(crate) trace_ids: &'a [u128],
    pub(crate) trace_index: &'a [u32],
    pub(crate) starts: &'a [u64],
    pub(crate) durations: &'a [i64],
    pub(crate) names: &'a [u32],
    pub(crate) kind_status: &'a [u8],
    pub(crate) resources: &'a [u32],
    pub(crate) parent_ids: &'a [[u8; 8]],
    /// Rows that passed a breaker, with the number of the mark.
    pub(crate) marks: &'a [(u32, u32)],
    pub(crate) overflow_rows: u64,
    pub(crate) values: &'a BlockValues<'a>,
}

#[derive(Debug)]
pub(crate) struct SegmentState {
    /// A commit copies it only while a reader holds it.
    pub(crate) schema: Arc<Schema>,
    /// Readers never hold long ones.
    pub(crate) lists: ListSet,
    pub(crate) blocks: Arc<Vec<BlockMeta>>,
    pub(crate) services: Dictionary,
    resource_services: Vec<u32>,
    pub(crate) marks: ValueList,
    pub(crate) operations: HashSet<(u32, u32), Seed>,
    pub(crate) traces: TraceTable,
    pub(crate) totals: Totals,
    /// Rows in small blocks.
    small_rows: u64,
    pub(super) zones: ZoneTable,
    /// Hashes of the values that are in no dictionary.
    pub(super) tokens: Tokens,
}

impl SegmentState {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            schema: Arc::default(),
            lists: ListSet::default(),
            blocks: Arc::default(),
            services: Dictionary::new(seed),
            resource_services: Vec::new(),
            marks: ValueList::default(),
            operations: HashSet::with_hasher(seed),
            traces: TraceTable::new(seed),
            totals: Totals::default(),
            small_rows: 0,
            zones: ZoneTable::new(seed),
            tokens: Tokens::new(seed),
        }
    }

    /// Returns whether a good part of the rows are in small blocks, or there are none yet.
    pub(crate) fn has_small_blocks(&self) -> bool {
        self.small_rows * SMALL_SHARE > self.totals.rows || self.blocks.is_empty()
    }

    /// Adds the contents of a block's dictionary part; `None` if it does not continue the list.
    pub(crate) fn absorb_delta(&mut self, kind: PartKind, column: u32, raw: &[u8]) -> Option<()> {
        let Some(list) = kind.list(column) else {
            return Arc::make_mut(&mut self.schema).absorb(kind, raw);
        };
        self.lists.absorb(list, raw)?;
        if list == List::Resources {
            self.note_services();
        }
        Some(())
    }

    /// Extends a list with lost values, if needed, so that it has that number.
    pub(super) fn fill_up(&mut self, list: List, number: Option<u32>) {
        if let Some(number) = number {
            self.lists.fill_up(list, number);
        }
        if list == List::Resources {
            self.note_services();
        }
    }

    /// Finds the service of each new resource.
    fn note_services(&mut self) {
        let resources = Arc::clone(self.lists.get(List::Resources));
        for id in self.resource_services.len()..resources.len() {
            let service = service_of(resources.get(id as u32));
            let (service, _) = self.services.intern(service.as_bytes());
            self.resource_services.push(service);
        }
    }

    pub(crate) fn absorb_marks(&mut self, marks: &ValueList) {
        for id in self.marks.len()..marks.len() {
            self.marks.push(marks.get(id as u32));
        }
    }

    pub(crate) fn absorb_rows(&mut self, offset: u64, header: &BlockHeader, rows: &RowFacts<'_>) {
        let block = self.blocks.len() as u32;
        Arc::make_mut(&mut self.blocks).push(BlockMeta::new(offset, header));
        if header.rows < SMALL_BLOCK_ROWS as u32 {
            self.small_rows += u64::from(header.rows);
        }
        self.totals.add(header);
        self.totals.overflow_rows += rows.overflow_rows;
        let zone = self.zones.begin_block(rows.starts.len());
        self.tokens.add_block(zone, rows.values, &self.schema);
        let slots: Vec<u32> = rows
            .trace_ids
            .iter()
            .map(|&id| self.traces.enter(id, block))
            .collect();
        let mut last = None;
        for row in 0..rows.starts.len() {
            let service = self.service(rows.resources[row]);
            let name = rows.names[row];
            if last != Some((service, name)) {
                last = Some((service, name));
                self.operations.insert((service, name));
                self.zones.add_name(name);
            }
            let duration = rows.durations[row].max(0) as u64;
            self.zones.add(ServiceRange {
                service,
                min_duration: duration,
                max_duration: duration,
                statuses: 1 << (rows.kind_status[row] >> 4),
            });
            let start = rows.starts[row];
            let end = start.wrapping_add(rows.durations[row] as u64);
            let facts = SpanFacts {
                start,
                end: end.max(start),
                error: rows.kind_status[row] >> 4 == 2,
                root: rows.parent_ids[row] == [0; 8],
                service,
                name,
            };
            self.traces
                .add(slots[rows.trace_index[row] as usize], facts);
        }
        for &(row, mark) in rows.marks {
            let service = self.service(rows.resources[row as usize]);
            let slot = slots[rows.trace_index[row as usize] as usize];
            self.traces.add_circuit(slot, Circuit { service, mark });
        }
    }

    /// Returns the service of a resource; an unnamed one if the resource is unknown.
    fn service(&mut self, resource: u32) -> u32 {
        match self.resource_services.get(resource as usize) {
            Some(&service) => service,
            None => self.services.intern(b"").0,
        }
    }
}

impl Lists for SegmentState {
    fn lend(&self, list: List, _: &[u64]) -> Result<Lent, StoreError> {
        Ok(Lent::Whole(Arc::clone(self.lists.get(list))))
    }
}
