//! Counts the spans of a page's rows again, from the blocks: summaries count a span each time it was received, and a
//! trace shows it once (`assemble` defines what a repeat is).
//!
//! Only ids, times, names, kinds, statuses, flags and resources are read, each block once for all rows: of spans that
//! share an id and differ in nothing else but scopes, attributes, events, links or dropped counts, the trace shows each,
//! and here they count once. What is past the bounds or cannot be read keeps the counts of its summary.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::Arc;

use super::super::block::attributes::{sender_of, service_of};
use super::super::block::schema::Schema;
use super::super::block::{BlockMeta, BlockReader, PartKind, ints};
use super::super::catalog::Catalog;
use super::super::damage::{skip_missing, tolerate};
use super::super::limits::{RECOUNT_BLOCKS_MAX, RECOUNT_SPANS_MAX};
use super::super::segment::Segment;
use super::Place;
use crate::model::{ServiceCount, SpanKind, StatusCode, TraceSummary};
use crate::store::StoreError;
use crate::store::assemble::parts::{Wholes, rank, sender};
use crate::store::content::{Head, Key, Outline};

/// Which rows are counted, from which blocks.
#[derive(Debug, Default)]
struct Plan {
    /// The blocks to read (place of the segment, number), each with the traces that it is read for.
    blocks: BTreeMap<Place, Vec<u128>>,
    /// The traces to count, each with its place on the page.
    wanted: HashMap<u128, usize>,
}

/// What counting needs of a span.
#[derive(Debug, Clone, Copy)]
struct Counted {
    /// Place of its trace on the page.
    row: usize,
    start: u64,
    id: [u8; 8],
    kind: SpanKind,
    /// 0 for none.
    end: u64,
    failed: bool,
    outline: Key,
    sender: Key,
    /// Place of the segment that knows the resource.
    segment: usize,
    resource: u32,
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
    merge_parts(&mut spans);
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
    let columns = Columns::read(&reader)?;
    let schema = segment.schema()?;
    let counted = |(at, &trace): (usize, &u64)| {
        let row = rows[trace as usize]?;
        Some(columns.counted(at, &schema, (row, ids[at], place)))
    };
    Ok(index.iter().enumerate().filter_map(counted).collect())
}

/// The columns of one block that counting needs.
#[derive(Debug)]
struct Columns {
    parents: Vec<[u8; 8]>,
    starts: Vec<u64>,
    durations: Vec<u64>,
    names: Vec<u64>,
    kind_status: Vec<u64>,
    flags: Vec<u64>,
    resources: Vec<u64>,
}

impl Columns {
    fn read(reader: &BlockReader<'_>) -> Result<Self, StoreError> {
        let numbers = |kind| reader.row_numbers(kind);
        let columns = Self {
            parents: reader.ids::<8>(PartKind::ParentIds)?,
            starts: numbers(PartKind::Starts)?,
            durations: numbers(PartKind::Durations)?,
            names: numbers(PartKind::Names)?,
            kind_status: numbers(PartKind::KindStatus)?,
            flags: numbers(PartKind::Flags)?,
            resources: numbers(PartKind::Resources)?,
        };
        match columns.parents.len() == columns.starts.len() {
            true => Ok(columns),
            false => Err(reader.damage("column of parents")),
        }
    }

    /// Returns a span, given its row on the page, its id and the place of its segment.
    fn counted(
        &self,
        at: usize,
        schema: &Schema,
        (row, id, segment): (usize, [u8; 8], usize),
    ) -> Counted {
        let start = self.starts[at];
        let kind = SpanKind::from_otlp(self.kind_status[at] & 15);
        let end = match start.wrapping_add(ints::from_ordered(self.durations[at]) as u64) {
            0 => 0,
            end => end.max(start),
        };
        let resource = self.resources[at] as u32;
        let (service, instance) = sender_of(schema.resources.get(resource));
        let head = Head {
            kind: kind.as_otlp(),
            start,
            end,
            parent: self.parents[at],
            name: schema.names.text(self.names[at] as u32),
            service,
        };
        let status = StatusCode::from_otlp(self.kind_status[at] >> 4);
        let outline = Outline {
            head,
            instance,
            status,
            flags: self.flags[at] as u32,
        };
        Counted {
            row,
            start,
            id,
            kind,
            end,
            failed: status == StatusCode::Error,
            outline: Key::of(&outline),
            sender: sender(service, instance),
            segment,
            resource,
        }
    }
}

/// Keeps one of the spans of each outline, sorted by row, then as `assemble` looks at them: those without an end last.
fn drop_repeats(spans: &mut Vec<Counted>) {
    spans.sort_unstable_by_key(|s| {
        let order = (Reverse(s.end), s.start, rank(s.kind));
        (s.row, s.id, order, s.outline)
    });
    spans.dedup_by_key(|s| (s.row, s.id, s.outline));
}

/// Counts parts of one span once.
fn merge_parts(spans: &mut Vec<Counted>) {
    if spans.iter().all(|span| span.end != 0) {
        return;
    }
    let mut merged: Vec<Counted> = Vec::with_capacity(spans.len());
    for of_id in spans.chunk_by(|a, b| (a.row, a.id) == (b.row, b.id)) {
        let mut wholes = Wholes::default();
        for span in of_id {
            let whole = match span.end {
                0 => wholes.find(span.sender, span.kind),
                _ => None,
            };
            match whole {
                Some(place) => merged[place].failed |= span.failed,
                None => {
                    wholes.add(span.sender, span.kind, merged.len());
                    merged.push(*span);
                }
            }
        }
    }
    *spans = merged;
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
