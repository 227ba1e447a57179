//! Recounts the spans of a page's rows from the blocks: summaries count repeats, whereas a trace shows each
//! span once (`assemble` defines what a repeat is).
//!
//! Of most traces only the ids of spans are read: without two equal ones there is nothing to correct. Of the others,
//! ids, times, names, kinds, statuses, flags and resources are read, each block once for all rows. Spans that share
//! an id and differ only in scopes, attributes, events, links or dropped counts are therefore counted once here,
//! although the trace shows each of them. Rows beyond the limits, or with unreadable blocks, keep the counts of their
//! summaries.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;

use super::super::block::attributes::sender_of;
use super::super::block::{BlockReader, PartKind, ints};
use super::super::catalog::Catalog;
use super::super::damage::{skip_missing, tolerate};
use super::super::limits::{RECOUNT_BLOCKS_MAX, RECOUNT_SPANS_MAX};
use super::super::lists::{List, Lists};
use super::super::segment::{LongLists, Segment};
use super::Place;
use crate::model::{ServiceCount, SpanKind, StatusCode, TraceSummary};
use crate::store::StoreError;
use crate::store::assemble::parts::{Wholes, rank, sender};
use crate::store::content::{Head, Key, Outline};

/// A block to read, and the traces to read from it.
type Planned = (Place, Vec<u128>);

#[derive(Debug, Default)]
struct Plan {
    /// Blocks to read (index of the segment, block number), each with the traces to read from it.
    blocks: BTreeMap<Place, Vec<u128>>,
    /// Traces to count, each with its row on the page.
    wanted: HashMap<u128, usize>,
}

/// The fields of a span that counting needs.
#[derive(Debug, Clone, Copy)]
struct Counted {
    row: usize,
    start: u64,
    id: [u8; 8],
    kind: SpanKind,
    /// 0 for none.
    end: u64,
    failed: bool,
    outline: Key,
    sender: Key,
    service: usize,
}

/// Corrects the counts of rows, without repeats.
pub(super) fn recount(
    catalog: &Catalog,
    segments: &[Segment],
    places: &HashMap<u128, Vec<Place>>,
    rows: &mut [TraceSummary],
) -> Result<(), StoreError> {
    let Plan { blocks, mut wanted } = Plan::new(places, rows);
    let mut blocks: Vec<Planned> = blocks.into_iter().collect();
    keep_repeated(catalog, segments, &blocks, &mut wanted)?;
    blocks.retain(|(_, traces)| traces.iter().any(|id| wanted.contains_key(id)));
    let (mut spans, mut services) = (Vec::new(), Services::default());
    for of_segment in blocks.chunk_by(|a, b| a.0.0 == b.0.0) {
        let segment = &segments[of_segment[0].0.0];
        let read = read_segment(catalog, segment, of_segment, &mut wanted, &mut services);
        match skip_missing(read)? {
            Some(read) => spans.extend(read),
            None => of_segment
                .iter()
                .for_each(|planned| leave(&mut wanted, planned)),
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
            correct(row, spans, &services);
        }
    }
    Ok(())
}

impl Plan {
    /// Selects rows, newest first, up to the limits.
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

/// Keeps the traces in which two spans have the same id.
fn keep_repeated(
    catalog: &Catalog,
    segments: &[Segment],
    blocks: &[Planned],
    wanted: &mut HashMap<u128, usize>,
) -> Result<(), StoreError> {
    let mut ids = Vec::new();
    for of_segment in blocks.chunk_by(|a, b| a.0.0 == b.0.0) {
        let segment = &segments[of_segment[0].0.0];
        let Some(file) = skip_missing(segment.file())? else {
            of_segment.iter().for_each(|planned| leave(wanted, planned));
            continue;
        };
        for planned @ ((_, block), _) in of_segment {
            let read = || span_ids(segment, &file, *block, wanted);
            match skip_missing(tolerate(catalog, segment, *block, read))?.flatten() {
                Some(read) => ids.extend(read),
                None => leave(wanted, planned),
            }
        }
    }
    ids.sort_unstable();
    let pairs = ids.windows(2).filter(|pair| pair[0] == pair[1]);
    let repeated: HashSet<usize> = pairs.map(|pair| pair[0].0).collect();
    wanted.retain(|_, row| repeated.contains(row));
    Ok(())
}

/// Reads the ids of the wanted spans of a block, each with its row on the page.
fn span_ids(
    segment: &Segment,
    file: &File,
    block: u32,
    wanted: &HashMap<u128, usize>,
) -> Result<Vec<(usize, [u8; 8])>, StoreError> {
    let (path, metas) = (&segment.place().path, segment.blocks());
    let Some(meta) = metas.get(block as usize) else {
        return Ok(Vec::new());
    };
    let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
    let (traces, index) = reader.traces()?;
    let rows: Vec<Option<usize>> = traces.iter().map(|id| wanted.get(id).copied()).collect();
    let (places, rows): (Vec<u32>, Vec<usize>) = (0..)
        .zip(&index)
        .filter_map(|(place, &trace)| Some((place, rows[trace as usize]?)))
        .unzip();
    let ids = reader.gather_ids(PartKind::SpanIds, &places, Some(reader.header.rows))?;
    Ok(rows.into_iter().zip(ids).collect())
}

/// Excludes the traces of an unread block: with some spans missing, their counts would be too low.
fn leave(wanted: &mut HashMap<u128, usize>, (_, traces): &Planned) {
    wanted.retain(|id, _| !traces.contains(id));
}

fn read_segment(
    catalog: &Catalog,
    segment: &Segment,
    blocks: &[Planned],
    wanted: &mut HashMap<u128, usize>,
    services: &mut Services,
) -> Result<Vec<Counted>, StoreError> {
    let file = segment.file()?;
    let mut lists = LongLists::new(segment)?;
    if lists.is_noting() {
        for ((_, block), _) in blocks {
            let note = || read_block(segment, &file, *block, &lists, wanted, services);
            tolerate(catalog, segment, *block, note)?;
        }
        lists.pick()?;
    }
    let mut spans = Vec::new();
    for planned @ ((_, block), _) in blocks {
        let read = || read_block(segment, &file, *block, &lists, wanted, services);
        match tolerate(catalog, segment, *block, read)?.flatten() {
            Some(read) => spans.extend(read),
            None => leave(wanted, planned),
        }
    }
    Ok(spans)
}

/// Reads the spans of the wanted traces from one block; `None` if the segment no longer has the block.
fn read_block(
    segment: &Segment,
    file: &File,
    block: u32,
    lists: &LongLists<'_>,
    wanted: &HashMap<u128, usize>,
    services: &mut Services,
) -> Result<Option<Vec<Counted>>, StoreError> {
    let (path, metas) = (&segment.place().path, segment.blocks());
    let Some(meta) = metas.get(block as usize) else {
        return Ok(None);
    };
    let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
    let (traces, index) = reader.traces()?;
    let rows: Vec<Option<usize>> = traces.iter().map(|id| wanted.get(id).copied()).collect();
    let ids = reader.ids::<8>(PartKind::SpanIds)?;
    if ids.len() != index.len() {
        return Err(reader.damage("column of ids"));
    }
    let columns = Columns::read(&reader)?;
    let rows: Vec<(usize, usize)> = (0..)
        .zip(&index)
        .filter_map(|(at, &trace)| Some((at, rows[trace as usize]?)))
        .collect();
    let of_rows = |column: &[u64]| rows.iter().map(|row| column[row.0]).collect::<Vec<_>>();
    let names = lists.lend(List::Names, &of_rows(&columns.names))?;
    let resources = lists.lend(List::Resources, &of_rows(&columns.resources))?;
    let counted = rows.into_iter().map(|(at, row)| {
        let name = names.text(columns.names[at] as u32);
        let sender = sender_of(resources.get(columns.resources[at] as u32));
        let service = services.number(sender.0);
        columns.counted(at, (row, ids[at]), name, sender, service)
    });
    Ok(Some(counted.collect()))
}

/// Service names by number.
#[derive(Debug, Default)]
struct Services {
    names: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Services {
    fn number(&mut self, name: &str) -> usize {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }
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

    /// Returns a span, given its row on the page, its id and its resolved names.
    fn counted(
        &self,
        at: usize,
        (row, id): (usize, [u8; 8]),
        name: &str,
        (service, instance): (&str, &str),
        service_number: usize,
    ) -> Counted {
        let start = self.starts[at];
        let kind = SpanKind::from_otlp(self.kind_status[at] & 15);
        let end = match start.wrapping_add(ints::from_ordered(self.durations[at]) as u64) {
            0 => 0,
            end => end.max(start),
        };
        let head = Head {
            kind: kind.as_otlp(),
            start,
            end,
            parent: self.parents[at],
            name,
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
            service: service_number,
        }
    }
}

/// Deduplicates spans by outline; sorts by row and then as `assemble` does, those without an end last.
fn drop_repeats(spans: &mut Vec<Counted>) {
    spans.sort_unstable_by_key(|s| {
        let order = (Reverse(s.end), s.start, rank(s.kind));
        (s.row, s.id, order, s.outline)
    });
    spans.dedup_by_key(|s| (s.row, s.id, s.outline));
}

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

fn correct(row: &mut TraceSummary, spans: &[Counted], services: &Services) {
    let mut counts: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for span in spans {
        let sum = counts.entry(&services.names[span.service]).or_default();
        sum.0 += 1;
        sum.1 += u32::from(span.failed);
    }
    row.span_count = spans.len() as u32;
    row.error_count = counts.values().map(|sum| sum.1).sum();
    let counts = counts.into_iter().map(|(service, sum)| ServiceCount {
        service: service.to_owned(),
        spans: sum.0,
        errors: sum.1,
    });
    row.services = counts.collect();
    row.services.sort_by_key(|count| Reverse(count.spans));
}
