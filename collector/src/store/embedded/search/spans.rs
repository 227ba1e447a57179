//! Reads the matching spans of a range, block by block, and of each span only some columns: for figures over many spans,
//! which need no whole traces.

use super::super::block::{BlockReader, Columns, RowReader};
use super::super::catalog::Catalog;
use super::super::damage::{skip_missing, tolerate};
use super::super::segment::LongLists;
use super::predicate::{Matching, SegmentQuery};
use super::{Blocks, Place, Unopened};
use crate::model::{Span, TraceQuery, UnixNanos};
use crate::store::cancel::TimeLimit;
use crate::store::convert::SpanCollector;
use crate::store::fitting::TRACE_BYTES_MAX;
use crate::store::{SpanSink, StoreError};

/// Spans in memory at a time: a block has rarely more.
const ROWS_AT_ONCE: usize = 16_384;

/// Passes the spans to `sink`, those of the block with the latest start first, until it wants no more. A span that was sent
/// twice is passed twice.
pub(crate) fn visit(
    catalog: &Catalog,
    query: &TraceQuery,
    columns: &Columns,
    sink: &mut impl SpanSink,
) -> Result<(), StoreError> {
    let segments = catalog.snapshot();
    let mut blocks = Blocks::new(catalog, query, &segments, TimeLimit::new(|| false));
    while let Some((latest, next)) = blocks.unopened.pop() {
        let goes_on = match next {
            Unopened::Segment(place) => blocks.open_segment(place).map(|()| true),
            Unopened::Block(place) => blocks.pass(place, columns, |spans| {
                sink.take(&spans, UnixNanos::new(latest))
            }),
        };
        if !goes_on? {
            break;
        }
    }
    Ok(())
}

impl Blocks<'_> {
    /// Passes the matching spans of a block, some at a time, until no more are wanted.
    fn pass(
        &mut self,
        place: Place,
        columns: &Columns,
        mut wants_more: impl FnMut(Vec<Span>) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let matching = Matching {
            starts: self.range,
            arrived_by: u64::MAX,
        };
        let rows = self.matching(place, matching, SegmentQuery::matching_rows)?;
        for rows in rows.chunks(ROWS_AT_ONCE) {
            if !wants_more(self.spans(place, rows, columns)?)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn spans(
        &self,
        (place, block): Place,
        rows: &[u32],
        columns: &Columns,
    ) -> Result<Vec<Span>, StoreError> {
        let segment = &self.segments[place];
        let Some(meta) = self.blocks[place].get(block as usize) else {
            return Ok(Vec::new());
        };
        let read = || {
            let (file, path) = (segment.file()?, &segment.place().path);
            let reader = BlockReader::open(&file, path, meta.offset, meta.header_bytes)?;
            let lists = LongLists::of_one_block(segment);
            RowReader::read_columns(&reader, &*segment.schema()?, &lists, rows, columns)
        };
        let read = skip_missing(tolerate(self.catalog, segment, block, read))?.flatten();
        let mut collector = SpanCollector::within(TRACE_BYTES_MAX);
        if let Some(read) = read {
            read.visit(&mut collector);
        }
        Ok(collector.spans.into_spans())
    }
}
