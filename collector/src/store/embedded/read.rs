//! Reads a trace by id, and the lists of services and operations.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use opentelemetry::TraceId;

use super::block::{BlockMeta, BlockReader, RowReader};
use super::catalog::Catalog;
use super::damage::{skip_missing, tolerate};
use super::limits::{OPERATIONS_MAX, TRACE_SPANS_MAX};
use super::search::resolve;
use super::segment::Segment;
use crate::model::{TimeRange, Trace};
use crate::store::StoreError;
use crate::store::assemble;
use crate::store::convert::SpanCollector;

/// Which spans of a trace are read.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    id: u128,
    /// Those in blocks that were written by then.
    as_of: u64,
}

/// Reads what had arrived of a trace by that time.
pub(crate) fn trace(
    catalog: &Catalog,
    id: TraceId,
    as_of: u64,
) -> Result<Option<Trace>, StoreError> {
    let id = u128::from_be_bytes(id.to_bytes());
    let wanted = Wanted { id, as_of };
    let mut collector = SpanCollector::default();
    let mut truncated = false;
    for segment in catalog.snapshot().iter() {
        let blocks = skip_missing(segment.blocks_of(id))?.unwrap_or_default();
        if !blocks.is_empty() {
            truncated |= read_segment(catalog, segment, &blocks, wanted, &mut collector)?;
        }
    }
    if collector.spans.is_empty() {
        return Ok(None);
    }
    let mut trace = assemble(collector.spans);
    trace.truncated = truncated;
    Ok(Some(trace))
}

/// Reads a trace's spans from those blocks of a segment; returns whether the cap cut some off.
fn read_segment(
    catalog: &Catalog,
    segment: &Segment,
    blocks: &[u32],
    wanted: Wanted,
    collector: &mut SpanCollector,
) -> Result<bool, StoreError> {
    let metas = segment.blocks();
    let Some(file) = skip_missing(segment.file())? else {
        return Ok(false);
    };
    for &block in blocks {
        let Some(meta) = metas.get(block as usize) else {
            continue;
        };
        let room = TRACE_SPANS_MAX - collector.spans.len();
        let read = || read_block(segment, &file, meta, wanted, room, collector);
        if let Some(true) = tolerate(catalog, segment, block, read)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads a trace's spans from one block; returns whether there were more than there is room.
fn read_block(
    segment: &Segment,
    file: &Arc<std::fs::File>,
    meta: &BlockMeta,
    wanted: Wanted,
    room: usize,
    collector: &mut SpanCollector,
) -> Result<bool, StoreError> {
    let path = &segment.place().path;
    let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
    if reader.header.written > wanted.as_of {
        return Ok(false);
    }
    let (ids, index) = reader.traces()?;
    let Some(trace) = ids.iter().position(|&id| id == wanted.id) else {
        return Ok(false);
    };
    let rows = (0..index.len() as u32).filter(|&row| index[row as usize] == trace as u64);
    let mut rows: Vec<u32> = rows.collect();
    let cut = rows.len() > room;
    rows.truncate(room);
    RowReader::read(&reader, segment.schema()?, segment, &rows)?.visit(&rows, collector);
    Ok(cut)
}

/// Lists the traces whose low 64 bits are that number, newest first.
pub(crate) fn trace_ids_by_low_half(
    catalog: &Catalog,
    low: u64,
) -> Result<Vec<TraceId>, StoreError> {
    let segments = catalog.snapshot();
    let mut ids = HashSet::new();
    for segment in segments.iter() {
        ids.extend(skip_missing(segment.by_low_half(low))?.unwrap_or_default());
    }
    let mut found = Vec::new();
    for id in ids {
        if let Some(summary) = resolve(&segments, id)? {
            found.push((std::cmp::Reverse(summary.start), id));
        }
    }
    found.sort_unstable();
    let ids = found.into_iter().map(|(_, id)| id);
    Ok(ids
        .map(|id| TraceId::from_bytes(id.to_be_bytes()))
        .collect())
}

/// Lists the services that sent spans in a range.
pub(crate) fn services(catalog: &Catalog, range: TimeRange) -> Result<Vec<String>, StoreError> {
    let mut names = BTreeSet::new();
    for segment in catalog.snapshot().iter().filter(|s| overlaps(s, range)) {
        skip_missing(segment.add_services(&mut names))?;
    }
    Ok(names.into_iter().collect())
}

/// Lists the operations of a service in a range.
pub(crate) fn operations(
    catalog: &Catalog,
    service: &str,
    range: TimeRange,
) -> Result<Vec<String>, StoreError> {
    let mut names = BTreeSet::new();
    for segment in catalog.snapshot().iter().filter(|s| overlaps(s, range)) {
        skip_missing(segment.add_operations(service, &mut names))?;
    }
    Ok(names.into_iter().take(OPERATIONS_MAX).collect())
}

/// Returns whether spans of the segment start in the range.
fn overlaps(segment: &Segment, range: TimeRange) -> bool {
    let totals = segment.totals();
    totals.rows > 0 && totals.max_start >= range.start && totals.min_start < range.end
}
