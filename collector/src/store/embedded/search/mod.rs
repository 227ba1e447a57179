//! The embedded store as a source of the search engine.
//!
//! A block's latest start bounds the position of every trace that has a span in it, so the block with the latest one is
//! opened next, and blocks that are too old for a page are never read.

mod merge;
mod predicate;
mod recount;

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use futures_util::FutureExt;
use opentelemetry::TraceId;

pub(crate) use merge::resolve;
pub(crate) use predicate::shapes_with;

use super::catalog::Catalog;
use super::damage::{skip_missing, tolerate};
use super::segment::Segment;
use crate::model::{Cursor, NANOSECOND, TimeRange, TraceQuery, UnixNanos};
use crate::store::StoreError;
use crate::store::matching::id_number;
use crate::store::search::{self, Candidate, Found, Row, Source};
use predicate::{Matching, SegmentQuery};

/// A block: number of its segment in the snapshot, and its own.
type Place = (usize, u32);

/// Answers a search.
pub(crate) fn search(catalog: &Catalog, query: &TraceQuery) -> Result<Found, StoreError> {
    let segments = catalog.snapshot();
    let mut blocks = Blocks::new(catalog, query, &segments);
    let found = search::search(&mut blocks, query, search::TIME_MAX).now_or_never();
    let mut found = found.expect("files are read without waiting")?;
    recount::recount(catalog, &segments, &mut found.page.traces)?;
    Ok(found)
}

/// The blocks that a search looks through.
struct Blocks<'a> {
    catalog: &'a Catalog,
    query: &'a TraceQuery,
    segments: &'a [Segment],
    /// Where positions of this page can be.
    range: TimeRange,
    /// The blocks that are not opened yet, by their latest start.
    unopened: BinaryHeap<(u64, Place)>,
    /// The query in each segment's numbers; `None` where nothing there can match.
    compiled: HashMap<usize, Option<SegmentQuery>>,
    /// The traces of a block that match after the cursor's position: they stand on earlier pages.
    shown: HashMap<Place, HashSet<u128>>,
}

impl<'a> Blocks<'a> {
    fn new(catalog: &'a Catalog, query: &'a TraceQuery, segments: &'a [Segment]) -> Self {
        let range = query.page_range();
        let mut unopened = BinaryHeap::new();
        for (place, segment) in segments.iter().enumerate() {
            for (number, block) in segment.blocks().iter().enumerate() {
                let is_before = block.min_start < range.end.get();
                if block.max_start >= range.start.get() && is_before {
                    let latest = block.max_start.min(range.end.get() - 1);
                    unopened.push((latest, (place, number as u32)));
                }
            }
        }
        Self {
            catalog,
            query,
            segments,
            range,
            unopened,
            compiled: HashMap::new(),
            shown: HashMap::new(),
        }
    }

    /// Returns the traces with a matching span in a block that starts in that range, each with the latest such start.
    fn matching(
        &mut self,
        (place, block): Place,
        matching: Matching,
    ) -> Result<Vec<(u128, u64)>, StoreError> {
        let segment = &self.segments[place];
        if !self.compiled.contains_key(&place) {
            let compiled = SegmentQuery::compile(self.query, segment);
            let compiled = skip_missing(compiled)?.flatten();
            self.compiled.insert(place, compiled);
        }
        let Some(Some(compiled)) = self.compiled.get_mut(&place) else {
            return Ok(Vec::new());
        };
        let read = || {
            let file = compiled.file(segment)?;
            compiled.matching_traces(segment, &file, block, matching)
        };
        let found = tolerate(self.catalog, segment, block, read);
        Ok(skip_missing(found)?.flatten().unwrap_or_default())
    }

    fn row(&mut self, candidate: &Candidate) -> Result<Option<Row>, StoreError> {
        let Candidate { id, position } = *candidate;
        let number = id_number(id);
        let Some(summary) = resolve(self.segments, number)? else {
            return Ok(None);
        };
        let mut conditions = self.query.traces.iter();
        if !conditions.all(|condition| condition.matches(&summary)) {
            return Ok(None);
        }
        let end = summary.start + Duration::from_nanos(summary.duration_nanos);
        if let Some(cursor) = self.query.cursor
            && (!self.query.is_behind_cursor(position, id)
                || (end > cursor.position && self.is_shown(number, cursor)?))
        {
            return Ok(None);
        }
        Ok(Some(Row { position, summary }))
    }

    /// Returns whether a trace stood on an earlier page: a span matches after the cursor's position that had arrived
    /// when the first page was made.
    fn is_shown(&mut self, id: u128, cursor: Cursor) -> Result<bool, StoreError> {
        let after = cursor.position + NANOSECOND;
        let earlier_pages = Matching {
            starts: TimeRange {
                start: after.max(self.query.range.start),
                ..self.query.range
            },
            arrived_by: cursor.as_of.get(),
        };
        for (number, segment) in self.segments.iter().enumerate() {
            let blocks = skip_missing(segment.blocks_of(id))?.unwrap_or_default();
            for block in blocks {
                let is_late = |meta: &super::block::BlockMeta| meta.max_start >= after.get();
                if !segment.blocks().get(block as usize).is_some_and(is_late) {
                    continue;
                }
                let place = (number, block);
                if !self.shown.contains_key(&place) {
                    let found = self.matching(place, earlier_pages)?;
                    let ids = found.into_iter().map(|(id, _)| id).collect();
                    self.shown.insert(place, ids);
                }
                if self.shown[&place].contains(&id) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Source for Blocks<'_> {
    fn frontier(&self) -> Option<UnixNanos> {
        // A block may hold another trace at its latest start.
        self.unopened
            .peek()
            .map(|(latest, _)| UnixNanos::new(latest + 1))
    }

    async fn step(&mut self) -> Result<Vec<Candidate>, StoreError> {
        let Some((_, place)) = self.unopened.pop() else {
            return Ok(Vec::new());
        };
        let of_page = Matching {
            starts: self.range,
            arrived_by: u64::MAX,
        };
        let found = self.matching(place, of_page)?.into_iter();
        let candidate = |(id, position): (u128, u64)| Candidate {
            id: TraceId::from_bytes(id.to_be_bytes()),
            position: UnixNanos::new(position),
        };
        Ok(found.map(candidate).collect())
    }

    async fn resolve(&mut self, candidates: &[Candidate]) -> Result<Vec<Option<Row>>, StoreError> {
        candidates
            .iter()
            .map(|candidate| self.row(candidate))
            .collect()
    }
}
