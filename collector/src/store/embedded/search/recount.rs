//! Counts the spans of a page's rows again, from the blocks: summaries count a span each time it was received, and a
//! trace shows it once (`assemble` defines what a repeat is).
//!
//! Only ids, starts, kinds, ends and resources are read, each block once for all rows. What is past the bounds or
//! cannot be read keeps the counts of its summary.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;

use super::super::block::attributes::service_of;
use super::super::block::{BlockMeta, BlockReader, PartKind, ints};
use super::super::catalog::Catalog;
use super::super::damage::{skip_missing, tolerate};
use super::super::limits::{RECOUNT_BLOCKS_MAX, RECOUNT_SPANS_MAX};
use super::super::segment::Segment;
use super::Place;
use crate::model::{ServiceCount, TraceSummary};
use crate::store::StoreError;

/// Which rows are counted, from which blocks.
#[derive(Debug, Default)]
struct Plan {
    /// The blocks to read (place of the segment, number), each with the traces that it is read for.
    blocks: BTreeMap<Place, Vec<u128>>,
    /// The traces to count, each with its place on the page.
    wanted: HashMap<u128, usize>,
}

/// What counting needs of a span.
#[derive(Debug)]
struct Counted {
    /// Place of its trace on the page.
    row: usize,
    start: u64,
    id: [u8; 8],
    kind: u8,
    end: u64,
    failed: bool,
    /// Place of the segment that knows the resource.
    segment: usize,
    resource: u32,
}

impl Counted {
    /// Returns what makes the span, as `assemble` sees it.
    fn identity(&self) -> (usize, u64, [u8; 8], u8) {
        (self.row, self.start, self.id, self.kind)
    }
}

/// Corrects the counts of rows whose spans came more than once.
pub(super) fn recount(
    catalog: &Catalog,
    segments: &[Segment],
    places: &HashMap<u128, Vec<Place>>,
    rows: &mut [TraceSummary],
) -> Result<(), StoreError> {
    let Plan { blocks, mut wanted } = Plan::new(places, rows);
    let mut spans = Vec::new();
    let mut open: Option<(usize, Arc<File>)> = None;
    for (&(place, block), traces) in &blocks {
        let segment = &segments[place];
        if open.as_ref().is_none_or(|(opened, _)| *opened != place) {
            open = skip_missing(segment.file())?.map(|file| (place, file));
        }
        let metas = segment.blocks();
        let mut read = None;
        if let (Some((_, file)), Some(meta)) = (&open, metas.get(block as usize)) {
            let attempt = || read_block(segment, file, meta, place, &wanted);
            read = skip_missing(tolerate(catalog, segment, block, attempt))?.flatten();
        }
        match read {
            Some(read) => spans.extend(read),
            // Fewer spans than there are would look like repeats.
            None => wanted.retain(|id, _| !traces.contains(id)),
        }
    }
    let mut counted = vec![false; rows.len()];
    wanted.into_values().for_each(|row| counted[row] = true);
    spans.retain(|span| counted[span.row]);
    drop_repeats(&mut spans);
    for spans in spans.chunk_by(|a, b| a.row == b.row) {
        let row = &mut rows[spans[0].row];
        if spans.len() < row.span_count as usize {
            correct(row, spans, segments)?;
        }
    }
    Ok(())
}

impl Plan {
    /// Chooses rows, newest first until a bound is met.
    fn new(places: &HashMap<u128, Vec<Place>>, rows: &[TraceSummary]) -> Self {
        let mut plan = Self::default();
        let mut room = RECOUNT_SPANS_MAX;
        // A single span cannot be a repeat.
        for (place, row) in rows.iter().enumerate().filter(|(_, r)| r.span_count > 1) {
            let id = u128::from_be_bytes(row.trace_id.to_bytes());
            let places = places.get(&id).map_or(&[][..], Vec::as_slice);
            let more = places.iter().filter(|at| !plan.blocks.contains_key(at));
            let blocks = plan.blocks.len() + more.count();
            if row.span_count > room || blocks > RECOUNT_BLOCKS_MAX {
                break;
            }
            room -= row.span_count;
            plan.wanted.insert(id, place);
            for &at in places {
                plan.blocks.entry(at).or_default().push(id);
            }
        }
        plan
    }
}

/// Reads the spans of the wanted traces from one block.
fn read_block(
    segment: &Segment,
    file: &File,
    meta: &BlockMeta,
    place: usize,
    wanted: &HashMap<u128, usize>,
) -> Result<Vec<Counted>, StoreError> {
    let path = &segment.place().path;
    let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
    let (traces, index) = reader.traces()?;
    let rows: Vec<Option<usize>> = traces.iter().map(|id| wanted.get(id).copied()).collect();
    let ids = reader.ids::<8>(PartKind::SpanIds)?;
    if ids.len() != index.len() {
        return Err(reader.damage("column of ids"));
    }
    let starts = reader.row_numbers(PartKind::Starts)?;
    let durations = reader.row_numbers(PartKind::Durations)?;
    let kind_status = reader.row_numbers(PartKind::KindStatus)?;
    let resources = reader.row_numbers(PartKind::Resources)?;
    let counted = |(at, &trace): (usize, &u64)| {
        Some(Counted {
            row: rows[trace as usize]?,
            start: starts[at],
            id: ids[at],
            kind: kind_status[at] as u8 & 15,
            end: starts[at].wrapping_add(ints::from_ordered(durations[at]) as u64),
            failed: kind_status[at] >> 4 == 2,
            segment: place,
            resource: resources[at] as u32,
        })
    };
    Ok(index.iter().enumerate().filter_map(counted).collect())
}

/// Keeps one span of each identity, the one that ends last, sorted by row.
fn drop_repeats(spans: &mut Vec<Counted>) {
    spans.sort_unstable_by_key(|s| (s.identity(), Reverse(s.end), Reverse(s.failed)));
    spans.dedup_by(|later, earlier| later.identity() == earlier.identity());
}

/// Gives a row the counts of those spans.
fn correct(
    row: &mut TraceSummary,
    spans: &[Counted],
    segments: &[Segment],
) -> Result<(), StoreError> {
    let mut services: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for of_segment in spans.chunk_by(|a, b| a.segment == b.segment) {
        let Some(schema) = skip_missing(segments[of_segment[0].segment].schema())? else {
            return Ok(());
        };
        for span in of_segment {
            let service = service_of(schema.resources.get(span.resource));
            let sum = match services.get_mut(service) {
                Some(sum) => sum,
                None => services.entry(service.to_owned()).or_default(),
            };
            sum.0 += 1;
            sum.1 += u32::from(span.failed);
        }
    }
    row.span_count = spans.len() as u32;
    row.error_count = services.values().map(|sum| sum.1).sum();
    let counts = services.into_iter().map(|(service, sum)| ServiceCount {
        service,
        spans: sum.0,
        errors: sum.1,
    });
    row.services = counts.collect();
    row.services.sort_by_key(|count| Reverse(count.spans));
    Ok(())
}
