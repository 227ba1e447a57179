//! The embedded store as a source of the search engine.
//!
//! The latest start in a segment or block is an upper bound of the position of every trace in it. So the one
//! with the latest start is opened next, and data too old for a page is never read.

mod merge;
mod needs;
mod predicate;
mod recount;
pub(crate) mod spans;
#[cfg(test)]
mod tests;

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use opentelemetry::TraceId;
use tokio::time::Instant;

pub(crate) use merge::{Resolved, resolve};

use super::block::BlockMeta;
use super::catalog::Catalog;
use super::damage::{skip_missing, tolerate};
use super::segment::{Reach, Segment};
use crate::model::{Cursor, NANOSECOND, TimeRange, TracePage, TraceQuery, UnixNanos};
use crate::store::StoreError;
use crate::store::cancel::TimeLimit;
use crate::store::matching::id_number;
use crate::store::search::{self, Candidate, Row, Source};
use predicate::{Matching, SegmentQuery};

/// A block: index of its segment in the snapshot, block number.
type Place = (usize, u32);

/// A segment or block that was not opened yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unopened {
    /// Index in the snapshot.
    Segment(usize),
    /// A block of an opened segment.
    Block(Place),
}

/// Runs a search; past the deadline it returns what was found.
pub(crate) fn search(
    catalog: &Catalog,
    query: &TraceQuery,
    deadline: Instant,
) -> Result<TracePage, StoreError> {
    let limit = TimeLimit::new(move || Instant::now() > deadline);
    search_within(catalog, query, deadline, limit)
}

fn search_within(
    catalog: &Catalog,
    query: &TraceQuery,
    deadline: Instant,
    limit: TimeLimit,
) -> Result<TracePage, StoreError> {
    // Taken before the snapshot: what arrives later is not in it, and the next page must know that.
    let as_of = catalog.arrival.settled(UnixNanos::now());
    let segments = catalog.snapshot();
    let mut blocks = Blocks::new(catalog, query, &segments, limit);
    blocks.as_of = as_of;
    let found = search::search(&mut blocks, query, deadline).now_or_never();
    let mut found = found.expect("files are read without waiting")?;
    recount::recount(catalog, &segments, &blocks.places, &mut found.traces)?;
    Ok(found)
}

struct Blocks<'a> {
    catalog: &'a Catalog,
    query: &'a TraceQuery,
    segments: &'a [Segment],
    /// The blocks of each segment when the search began.
    blocks: Vec<Arc<Vec<BlockMeta>>>,
    /// Possible positions on this page.
    range: TimeRange,
    /// Unopened segments and blocks, by latest start.
    unopened: BinaryHeap<(u64, Unopened)>,
    /// Blocks of each trace that became a row.
    places: HashMap<u128, Vec<Place>>,
    /// The query compiled for each segment; `None` if nothing in it can match.
    compiled: HashMap<usize, Option<SegmentQuery>>,
    /// Everything that arrived until then, and nothing later, is included.
    as_of: UnixNanos,
    /// Traces of a block that match after the cursor's position, so they are on earlier pages.
    shown: HashMap<Place, HashSet<u128>>,
    /// Limits finding candidates; the rows of those found are made in any case.
    limit: TimeLimit,
}

impl<'a> Blocks<'a> {
    fn new(
        catalog: &'a Catalog,
        query: &'a TraceQuery,
        segments: &'a [Segment],
        limit: TimeLimit,
    ) -> Self {
        let range = query.page_range();
        let blocks = segments.iter().map(Segment::blocks).collect();
        let mut unopened = BinaryHeap::new();
        for (place, segment) in segments.iter().enumerate() {
            let totals = segment.totals();
            if totals.rows > 0 && overlaps(totals.min_start, totals.max_start, range) {
                let latest = totals.max_start.min(range.end.get() - 1);
                unopened.push((latest, Unopened::Segment(place)));
            }
        }
        Self {
            catalog,
            query,
            segments,
            blocks,
            range,
            unopened,
            places: HashMap::new(),
            compiled: HashMap::new(),
            as_of: UnixNanos::default(),
            shown: HashMap::new(),
            limit,
        }
    }

    /// Reads what matches in a block by a function of the query compiled for its segment.
    fn matching<T: Default>(
        &mut self,
        (place, block): Place,
        matching: Matching,
        read: impl Fn(&SegmentQuery, &Segment, &File, u32, Matching) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let segment = &self.segments[place];
        self.compile(place)?;
        let Some(Some(compiled)) = self.compiled.get_mut(&place) else {
            return Ok(T::default());
        };
        let read = || {
            let file = compiled.file(segment)?;
            read(compiled, segment, &file, block, matching)
        };
        let found = tolerate(self.catalog, segment, block, read);
        Ok(skip_missing(found)?.flatten().unwrap_or_default())
    }

    fn compile(&mut self, place: usize) -> Result<(), StoreError> {
        if self.compiled.contains_key(&place) {
            return Ok(());
        }
        let segment = &self.segments[place];
        let compiled = SegmentQuery::compile(self.query, segment);
        let compiled = skip_missing(compiled)?.flatten();
        self.compiled.insert(place, compiled);
        Ok(())
    }

    fn open_segment(&mut self, place: usize) -> Result<(), StoreError> {
        let segment = &self.segments[place];
        let conditions = &self.query.conditions;
        let reach = skip_missing(needs::reach(conditions, segment))?;
        let Some(reach) = reach.filter(|reach| *reach != Reach::Nothing) else {
            return Ok(());
        };
        self.compile(place)?;
        if !matches!(self.compiled.get(&place), Some(Some(_))) {
            return Ok(());
        }
        let named = needs::with_names(reach, conditions, segment);
        let reach = skip_missing(named)?.unwrap_or(Reach::Nothing);
        for (number, block) in self.blocks[place].iter().enumerate() {
            let is_reached = reach.includes(number);
            if is_reached && overlaps(block.min_start, block.max_start, self.range) {
                let latest = block.max_start.min(self.range.end.get() - 1);
                let block = Unopened::Block((place, number as u32));
                self.unopened.push((latest, block));
            }
        }
        Ok(())
    }

    fn row(
        &mut self,
        candidate: &Candidate,
        resolved: Option<Resolved>,
    ) -> Result<Option<Row>, StoreError> {
        let Candidate { id, position } = *candidate;
        let number = id_number(id);
        let Some(Resolved { summary, blocks }) = resolved else {
            return Ok(None);
        };
        let mut conditions = self.query.traces.iter();
        if !conditions.all(|condition| condition.matches(&summary)) {
            return Ok(None);
        }
        let end = summary.start + Duration::from_nanos(summary.duration_nanos);
        if let Some(cursor) = self.query.cursor
            && (!self.query.is_behind_cursor(position, id)
                || (end > cursor.position && self.is_shown(number, &blocks, cursor)?))
        {
            return Ok(None);
        }
        self.places.insert(number, blocks);
        Ok(Some(Row { position, summary }))
    }

    /// Returns whether a trace was on an earlier page: a span matches after the cursor's position and had
    /// arrived when the first page was made.
    fn is_shown(&mut self, id: u128, blocks: &[Place], cursor: Cursor) -> Result<bool, StoreError> {
        let after = cursor.position + NANOSECOND;
        let earlier_pages = Matching {
            starts: TimeRange {
                start: after.max(self.query.range.start),
                ..self.query.range
            },
            arrived_by: cursor.as_of.get(),
        };
        for &place in blocks {
            let is_late = |meta: &BlockMeta| meta.max_start >= after.get();
            let metas = &self.blocks[place.0];
            if !metas.get(place.1 as usize).is_some_and(is_late) {
                continue;
            }
            if !self.shown.contains_key(&place) {
                let _limited = self.limit.enter();
                let found = self.matching(place, earlier_pages, SegmentQuery::matching_traces)?;
                let ids = found.into_iter().map(|(id, _)| id).collect();
                self.shown.insert(place, ids);
            }
            if self.shown[&place].contains(&id) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns whether two time ranges overlap; `max_start` is inclusive.
fn overlaps(min_start: u64, max_start: u64, range: TimeRange) -> bool {
    max_start >= range.start.get() && min_start < range.end.get()
}

impl Source for Blocks<'_> {
    fn as_of(&self) -> UnixNanos {
        self.as_of
    }

    fn frontier(&self) -> Option<UnixNanos> {
        // An unopened block may have another trace at exactly its latest start.
        self.unopened
            .peek()
            .map(|(latest, _)| UnixNanos::new(latest + 1))
    }

    async fn step(&mut self) -> Result<Vec<Candidate>, StoreError> {
        let _limited = self.limit.enter();
        let place = match self.unopened.pop() {
            Some((_, Unopened::Block(place))) => place,
            Some((_, Unopened::Segment(place))) => {
                self.open_segment(place)?;
                return Ok(Vec::new());
            }
            None => return Ok(Vec::new()),
        };
        let of_page = Matching {
            starts: self.range,
            arrived_by: u64::MAX,
        };
        let found = self
            .matching(place, of_page, SegmentQuery::matching_traces)?
            .into_iter();
        let candidate = |(id, position): (u128, u64)| Candidate {
            id: TraceId::from_bytes(id.to_be_bytes()),
            position: UnixNanos::new(position),
        };
        Ok(found.map(candidate).collect())
    }

    async fn resolve(&mut self, candidates: &[Candidate]) -> Result<Vec<Option<Row>>, StoreError> {
        let ids: Vec<u128> = candidates.iter().map(|c| id_number(c.id)).collect();
        let resolved = resolve(self.catalog, self.segments, &ids)?;
        let rows = candidates.iter().zip(resolved);
        rows.map(|(candidate, resolved)| self.row(candidate, resolved))
            .collect()
    }
}
