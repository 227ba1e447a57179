//! Searches for traces, newest first: one heap of what may come next, opened from the top.
//!
//! A block's latest start bounds every trace that has a span in it, a matching span's start bounds its trace, and
//! a summary says where the trace really begins. Whatever has the highest bound is opened first, so that the rows
//! leave in their final order and blocks that are too old are never read.

mod merge;
mod predicate;
mod recount;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

pub(crate) use merge::resolve;
pub(crate) use predicate::shapes_with;

use super::catalog::Catalog;
use super::damage::{skip_missing, tolerate};
use super::limits::TRACE_SPREAD_NANOS;
use super::segment::Segment;
use crate::model::{Cursor, TracePage, TraceQuery, TraceSummary};
use crate::store::StoreError;
use predicate::SegmentQuery;

/// What may hold the next row. The order of the variants decides between equal bounds: later ones first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A finished row, ties by id ascending.
    Row(Reverse<u128>),
    /// A trace with a matching span.
    Candidate(u128),
    /// A block of a segment, both by place.
    Block(usize, u32),
}

/// Answers a search.
pub(crate) fn search(catalog: &Catalog, query: &TraceQuery) -> Result<TracePage, StoreError> {
    let segments = catalog.snapshot();
    let mut search = Search {
        catalog,
        query,
        segments: &segments,
        heap: BinaryHeap::new(),
        compiled: HashMap::new(),
        seen: HashSet::new(),
        rows: HashMap::new(),
    };
    search.push_blocks();
    let mut page = search.run()?;
    recount::recount(catalog, &segments, &mut page.traces)?;
    Ok(page)
}

/// A search under way.
struct Search<'a> {
    catalog: &'a Catalog,
    query: &'a TraceQuery,
    segments: &'a [Segment],
    heap: BinaryHeap<(u64, Kind)>,
    /// The query in each segment's numbers; `None` where nothing there can match.
    compiled: HashMap<usize, Option<SegmentQuery>>,
    seen: HashSet<u128>,
    rows: HashMap<u128, TraceSummary>,
}

impl Search<'_> {
    /// Puts every block on the heap that can hold a trace of the range.
    fn push_blocks(&mut self) {
        let range = self.query.range;
        let mut end = range.end_unix_nanos;
        if let Some(cursor) = &self.query.cursor {
            end = end.min(cursor.start_unix_nanos.saturating_add(1));
        }
        let end = end.saturating_add(TRACE_SPREAD_NANOS);
        for (place, segment) in self.segments.iter().enumerate() {
            for (number, block) in segment.blocks().iter().enumerate() {
                if block.max_start >= range.start_unix_nanos && block.min_start < end {
                    let kind = Kind::Block(place, number as u32);
                    self.heap.push((block.max_start, kind));
                }
            }
        }
    }

    /// Opens what has the highest bound until the page is full.
    fn run(mut self) -> Result<TracePage, StoreError> {
        let limit = self.query.limit.clamp(1, TraceQuery::LIMIT_MAX);
        let mut page = TracePage::default();
        while let Some((start, kind)) = self.heap.pop() {
            match kind {
                Kind::Block(place, block) => self.open_block(place, block)?,
                Kind::Candidate(id) => self.open_trace(id)?,
                Kind::Row(Reverse(id)) => {
                    if page.traces.len() == limit {
                        page.next = page.traces.last().map(Cursor::after);
                        return Ok(page);
                    }
                    debug_assert!(
                        page.traces
                            .last()
                            .is_none_or(|r| r.start_unix_nanos >= start)
                    );
                    page.traces.extend(self.rows.remove(&id));
                }
            }
        }
        Ok(page)
    }

    /// Puts the traces on the heap that have a matching span in a block.
    fn open_block(&mut self, place: usize, block: u32) -> Result<(), StoreError> {
        let segment = &self.segments[place];
        if !self.compiled.contains_key(&place) {
            let compiled = SegmentQuery::compile(self.query, segment);
            let compiled = skip_missing(compiled)?.flatten();
            self.compiled.insert(place, compiled);
        }
        let Some(Some(compiled)) = self.compiled.get_mut(&place) else {
            return Ok(());
        };
        let matching = || match compiled.file(segment) {
            Ok(file) => compiled.matching_traces(segment, &file, block),
            Err(error) => Err(error),
        };
        let found = tolerate(self.catalog, segment, block, matching);
        let found = skip_missing(found)?.flatten();
        for (id, start) in found.unwrap_or_default() {
            if start >= self.query.range.start_unix_nanos && self.seen.insert(id) {
                self.heap.push((start, Kind::Candidate(id)));
            }
        }
        Ok(())
    }

    /// Puts a trace's row on the heap if the trace as a whole matches.
    fn open_trace(&mut self, id: u128) -> Result<(), StoreError> {
        let Some(summary) = resolve(self.segments, id)? else {
            return Ok(());
        };
        let start = summary.start_unix_nanos;
        let is_wanted = self.query.traces.iter().all(|one| one.matches(&summary));
        let after_cursor = self.query.cursor.is_none_or(|cursor| {
            let other = u128::from_be_bytes(cursor.trace_id.to_bytes());
            (Reverse(start), id) > (Reverse(cursor.start_unix_nanos), other)
        });
        if self.query.range.contains(start) && is_wanted && after_cursor {
            self.rows.insert(id, summary);
            self.heap.push((start, Kind::Row(Reverse(id))));
        }
        Ok(())
    }
}
