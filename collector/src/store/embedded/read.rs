//! Reads a trace by id, and the lists of services and operations.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;

use opentelemetry::TraceId;

use super::block::{BlockMeta, BlockReader, Extent, RowReader};
use super::catalog::Catalog;
use super::damage::{skip_missing, tolerate};
use super::limits::TRACE_SPANS_MAX;
use super::search::resolve;
use super::segment::{LongLists, Segment};
use crate::codec::otlp::Limits;
use crate::model::{Span, TimeRange, Trace, UnixNanos};
use crate::store::convert::SpanCollector;
use crate::store::matching::id_number;
use crate::store::{Received, StoreError, try_assemble};

/// Bytes of text that are read from one block at a time; what is kept of them is cut as the trace needs.
const SCRATCH_BYTES_MAX: usize = 8 << 20;
/// What a value keeps at least, where a block has more text than is read at a time.
const VALUE_BYTES_MIN: usize = 64;
/// What a value keeps where a block has few rows.
const VALUE_BYTES_USUAL: usize = 256;

/// Which spans of a trace are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// The trace.
    pub(crate) id: TraceId,
    /// Those in blocks that were written by then, Unix nanoseconds.
    pub(crate) as_of: UnixNanos,
    /// Memory that they may take.
    pub(crate) bytes_max: usize,
}

impl Wanted {
    fn number(&self) -> u128 {
        id_number(self.id)
    }
}

/// Returns which rows of a block are wanted.
type Rows<'r> = dyn Fn(&BlockReader<'_>) -> Result<Vec<u32>, StoreError> + 'r;

/// Reads what had arrived of a trace by that time.
pub(crate) fn trace(catalog: &Catalog, wanted: Wanted) -> Result<Option<Trace>, StoreError> {
    received(catalog, wanted)?.assemble()
}

/// Reads the spans of a trace that had arrived by that time, as they were received.
pub(crate) fn received(catalog: &Catalog, wanted: Wanted) -> Result<Received, StoreError> {
    let mut collector = SpanCollector::within(wanted.bytes_max);
    let mut truncated = false;
    for segment in catalog.snapshot().iter() {
        let blocks = skip_missing(segment.blocks_of(wanted.number()))?.unwrap_or_default();
        let rows = |reader: &BlockReader<'_>| match reader.header.written > wanted.as_of.get() {
            true => Ok(Vec::new()),
            false => reader.rows_of(wanted.number()),
        };
        if !blocks.is_empty() {
            truncated |= read_segment(catalog, segment, &blocks, &rows, &mut collector)?;
        }
    }
    Ok(Received {
        spans: collector.spans.into_spans(),
        is_cut: truncated,
    })
}

/// Reads several traces, each block that they share once, in the order of their ids; those that are not there are left out.
/// `None` where they do not fit into so many bytes whole and together.
pub(crate) fn traces(
    catalog: &Catalog,
    ids: &[TraceId],
    bytes_max: usize,
) -> Result<Option<Vec<Trace>>, StoreError> {
    let mut collector = SpanCollector::within(bytes_max);
    let numbers: HashSet<u128> = ids.iter().map(|id| id_number(*id)).collect();
    let are_long = Cell::new(false);
    let rows = |reader: &BlockReader<'_>| match Stripe::of(reader) {
        Stripe::All => reader.rows_of_any(&numbers),
        // Values of such a block are cut as they are read.
        Stripe::Columns(_) => {
            are_long.set(true);
            Ok(Vec::new())
        }
    };
    for segment in catalog.snapshot().iter() {
        let mut blocks = BTreeSet::new();
        for number in &numbers {
            blocks.extend(skip_missing(segment.blocks_of(*number))?.unwrap_or_default());
        }
        let blocks: Vec<u32> = blocks.into_iter().collect();
        if blocks.is_empty() {
            continue;
        }
        let is_cut = read_segment(catalog, segment, &blocks, &rows, &mut collector)?;
        if is_cut || are_long.get() {
            return Ok(None);
        }
    }
    let mut spans: HashMap<TraceId, Vec<Span>> = HashMap::new();
    for span in collector.spans.into_spans() {
        spans.entry(span.trace_id).or_default().push(span);
    }
    let found = ids.iter().filter_map(|id| spans.remove(id));
    let traces: Vec<Trace> = found.map(try_assemble).collect::<Result<_, _>>()?;
    let is_cut = traces.iter().any(Trace::is_shortened);
    Ok((!is_cut).then_some(traces))
}

/// Reads the rows that are wanted of those blocks of a segment; returns whether a limit cut some off.
fn read_segment(
    catalog: &Catalog,
    segment: &Segment,
    blocks: &[u32],
    rows: &Rows<'_>,
    collector: &mut SpanCollector,
) -> Result<bool, StoreError> {
    let metas = segment.blocks();
    let opened = segment.file().and_then(|file| {
        let lists = LongLists::new(segment)?;
        Ok((file, lists))
    });
    let Some((file, mut lists)) = skip_missing(opened)? else {
        return Ok(false);
    };
    let metas: Vec<(u32, &BlockMeta)> = blocks
        .iter()
        .filter_map(|&block| Some((block, metas.get(block as usize)?)))
        .collect();
    if lists.is_noting() {
        for &(block, meta) in &metas {
            let note = || note_block(segment, &file, meta, rows, &lists);
            tolerate(catalog, segment, block, note)?;
        }
        if skip_missing(lists.pick())?.is_none() {
            return Ok(false);
        }
    }
    for (block, meta) in metas {
        let mut collecting = Collecting {
            collector: &mut *collector,
            passed: 0,
        };
        let read = || read_block(segment, &file, meta, rows, &lists, &mut collecting);
        if let Some(true) = tolerate(catalog, segment, block, read)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens a block, with the rows of it that are wanted.
fn open_block<'a>(
    segment: &'a Segment,
    file: &'a File,
    meta: &BlockMeta,
    rows: &Rows<'_>,
) -> Result<(BlockReader<'a>, Vec<u32>), StoreError> {
    let path = &segment.place().path;
    let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
    let rows = rows(&reader)?;
    Ok((reader, rows))
}

/// Notes which values of long lists the wanted rows of a block need.
fn note_block(
    segment: &Segment,
    file: &File,
    meta: &BlockMeta,
    rows: &Rows<'_>,
    lists: &LongLists<'_>,
) -> Result<(), StoreError> {
    let (reader, mut rows) = open_block(segment, file, meta, rows)?;
    if !rows.is_empty() {
        rows.truncate(TRACE_SPANS_MAX);
        let extent = Extent::Values { bytes_max: 0 };
        RowReader::read(&reader, &*segment.schema()?, lists, &rows, extent)?;
    }
    Ok(())
}

/// The rows of one block on their way into a trace.
struct Collecting<'c> {
    collector: &'c mut SpanCollector,
    /// How many are there: a block that is repaired half-way is gone on with, not begun again.
    passed: usize,
}

/// Reads the wanted rows of one block but those that were passed; returns whether there were more than there is room.
fn read_block(
    segment: &Segment,
    file: &File,
    meta: &BlockMeta,
    rows: &Rows<'_>,
    lists: &LongLists<'_>,
    collecting: &mut Collecting<'_>,
) -> Result<bool, StoreError> {
    let Collecting { collector, passed } = collecting;
    let (reader, rows) = open_block(segment, file, meta, rows)?;
    let rest = rows.get(*passed..).unwrap_or_default();
    let room = TRACE_SPANS_MAX - collector.spans.len();
    let (mut rest, beyond) = rest.split_at(rest.len().min(room));
    let stripe = Stripe::of(&reader);
    while !rest.is_empty() && !collector.spans.is_full() {
        let (here, later) = rest.split_at(stripe.rows(collector).min(rest.len()));
        let extent = stripe.extent(collector, here.len());
        RowReader::read(&reader, &*segment.schema()?, lists, here, extent)?.visit(&mut **collector);
        *passed += here.len();
        rest = later;
    }
    Ok(!beyond.is_empty() || collector.spans.is_full())
}

/// How many rows of a block are read at a time, and how much of each value, so that all fit into the scratch memory.
#[derive(Debug, Clone, Copy)]
enum Stripe {
    /// All rows: the block has less text than that.
    All,
    /// A block of much text has so many columns of it.
    Columns(usize),
}

impl Stripe {
    fn of(reader: &BlockReader<'_>) -> Self {
        let parts = || {
            reader
                .header
                .parts
                .iter()
                .filter(|part| part.kind.is_text())
        };
        match parts().map(|part| part.raw).sum::<usize>() {
            0..=SCRATCH_BYTES_MAX => Self::All,
            // No row has a value in more columns than that, but for keys that it has several times.
            _ => Self::Columns(parts().count().min(Limits::ATTRIBUTES)),
        }
    }

    fn rows(self, collector: &SpanCollector) -> usize {
        match self {
            Self::Columns(columns) if collector.spans.text_bytes().is_some() => {
                SCRATCH_BYTES_MAX / (columns * VALUE_BYTES_USUAL)
            }
            _ => usize::MAX,
        }
    }

    fn extent(self, collector: &SpanCollector, rows: usize) -> Extent {
        match (self, collector.spans.text_bytes()) {
            (_, None) => Extent::Bare,
            (Self::All, Some(_)) => Extent::Whole,
            (Self::Columns(columns), Some(bytes_max)) => Extent::Values {
                bytes_max: (SCRATCH_BYTES_MAX / (columns * rows))
                    .clamp(VALUE_BYTES_MIN, bytes_max.max(VALUE_BYTES_MIN)),
            },
        }
    }
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
    let ids: Vec<u128> = ids.into_iter().collect();
    let mut found = Vec::new();
    for (&id, resolved) in ids.iter().zip(resolve(&segments, &ids)?) {
        if let Some(resolved) = resolved {
            found.push((std::cmp::Reverse(resolved.summary.start), id));
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
    Ok(names.into_iter().collect())
}

/// Returns whether spans of the segment start in the range.
fn overlaps(segment: &Segment, range: TimeRange) -> bool {
    let totals = segment.totals();
    totals.rows > 0 && totals.max_start >= range.start.get() && totals.min_start < range.end.get()
}
