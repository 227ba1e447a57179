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

/// Bytes of text read from one block at a time; the collector then cuts them as the trace needs.
const SCRATCH_BYTES_MAX: usize = 8 << 20;
/// Lower bound of a value's length when a block has too much text to read at once.
const VALUE_BYTES_MIN: usize = 64;
/// A value's length in a block of few rows.
const VALUE_BYTES_USUAL: usize = 256;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) id: TraceId,
    /// Only blocks written until then.
    pub(crate) as_of: UnixNanos,
    /// Memory budget, bytes.
    pub(crate) bytes_max: usize,
}

impl Wanted {
    fn number(&self) -> u128 {
        id_number(self.id)
    }
}

type Rows<'r> = dyn Fn(&BlockReader<'_>) -> Result<Vec<u32>, StoreError> + 'r;

pub(crate) fn trace(catalog: &Catalog, wanted: Wanted) -> Result<Option<Trace>, StoreError> {
    received(catalog, wanted)?.assemble()
}

/// As `trace`, but with the spans as received.
pub(crate) fn received(catalog: &Catalog, wanted: Wanted) -> Result<Received, StoreError> {
    let mut collector = SpanCollector::within(wanted.bytes_max);
    let mut truncated = false;
    let shortlist = catalog.shortlist(&[wanted.number()])?;
    for segment in catalog.snapshot().iter() {
        if !shortlist.may_have(segment, 0) {
            continue;
        }
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

/// Reads several traces in the order of their ids, each shared block once. Missing traces are left out.
/// `None` if together they do not fit untruncated into `bytes_max`.
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
        // Values of such a block are cut while reading.
        Stripe::Columns(_) => {
            are_long.set(true);
            Ok(Vec::new())
        }
    };
    let listed: Vec<u128> = numbers.iter().copied().collect();
    let shortlist = catalog.shortlist(&listed)?;
    for segment in catalog.snapshot().iter() {
        let mut blocks = BTreeSet::new();
        for number in shortlist.of(segment).map(|at| listed[at]) {
            blocks.extend(skip_missing(segment.blocks_of(number))?.unwrap_or_default());
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

/// Reads the selected rows of those blocks of a segment; returns whether a limit cut some off.
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

/// Notes which values of long lists the selected rows need.
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

/// State of collecting the rows of one block.
struct Collecting<'c> {
    collector: &'c mut SpanCollector,
    /// Rows already passed: if the block is repaired half-way, reading continues there.
    passed: usize,
}

/// Reads the selected rows of a block except those already passed; returns whether some did not fit.
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

/// How many rows of a block are read at a time, and how much of each value, so that they fit into the scratch
/// memory.
#[derive(Debug, Clone, Copy)]
enum Stripe {
    /// All rows: the block's text fits.
    All,
    /// The text does not fit; the block has this many columns of text.
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
            // No row has values in more columns than this, unless keys repeat.
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

/// Lists the traces whose id has these low 64 bits, newest first.
pub(crate) fn trace_ids_by_low_half(
    catalog: &Catalog,
    low: u64,
) -> Result<Vec<TraceId>, StoreError> {
    let segments = catalog.snapshot();
    let mut ids = HashSet::new();
    let shortlist = catalog.shortlist(&[low.into()])?;
    for segment in segments
        .iter()
        .filter(|segment| shortlist.may_have(segment, 0))
    {
        ids.extend(skip_missing(segment.by_low_half(low))?.unwrap_or_default());
    }
    let ids: Vec<u128> = ids.into_iter().collect();
    let mut found = Vec::new();
    for (&id, resolved) in ids.iter().zip(resolve(catalog, &segments, &ids)?) {
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

pub(crate) fn services(catalog: &Catalog, range: TimeRange) -> Result<Vec<String>, StoreError> {
    let mut names = BTreeSet::new();
    for segment in catalog.snapshot().iter().filter(|s| overlaps(s, range)) {
        skip_missing(segment.add_services(&mut names))?;
    }
    Ok(names.into_iter().collect())
}

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

fn overlaps(segment: &Segment, range: TimeRange) -> bool {
    let totals = segment.totals();
    totals.rows > 0 && totals.max_start >= range.start.get() && totals.min_start < range.end.get()
}
