//! Gathers the rows of one block: each span is written once, as text, and copied to its trace when the block is done.

use std::collections::HashMap;
use std::sync::Arc;

use super::batches::Cursor;
use super::groups::Groups;
use super::index::IndexLines;
use super::json::{Hex, hex};
use super::shorten;
use super::spans::push_span;
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::store::hash::Seed;
use crate::store::influxdb::names::Names;
use crate::store::influxdb::schema;
use crate::store::influxdb::wire::line::push_tag;

/// The most that one span takes on the line, bytes. Longer ones are shortened: InfluxDB refuses a text beyond 1,048,576,
/// and the head of a group comes before it.
pub(super) const SPAN_BYTES_MAX: usize = 700_000;
/// Bytes of memory that are kept from block to block.
const KEPT_BYTES: usize = 16 << 20;
/// Stands for "no more rows" in the list of a trace.
pub(super) const END: u32 = u32::MAX;

/// A visitor that makes points of the rows of one block: `begin`, then the rows, then `next_batch` until it has none.
#[derive(Debug)]
pub(crate) struct BlockEncoder {
    /// Measurement and collector: how every `span` line begins.
    pub(super) begin: String,
    pub(super) base: u64,
    pub(super) groups: Groups,
    index: IndexLines,
    /// The spans, each as JSON on the line.
    pub(super) text: String,
    /// The `span_idx` lines.
    pub(super) index_text: String,
    pub(super) rows: Vec<Row>,
    pub(super) traces: Vec<TraceRows>,
    numbers: HashMap<u128, u32, Seed>,
    pub(super) cursor: Cursor,
    cut: u64,
}

/// One row: where its texts end (they begin where those of the row before end), and what it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) text_end: usize,
    pub(super) index_end: usize,
    pub(super) group: u32,
    /// The next row of its trace.
    pub(super) next: u32,
}

/// The rows of a trace: a list through `Row::next`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceRows {
    pub(super) id: u128,
    pub(super) first: u32,
    last: u32,
}

impl BlockEncoder {
    /// Makes an encoder for a collector's blocks.
    pub(crate) fn new(collector: &str, names: Arc<Names>) -> Self {
        let mut begin = schema::SPAN.name.to_owned();
        push_tag(&mut begin, schema::COLLECTOR, collector);
        Self {
            begin,
            base: 0,
            groups: Groups::default(),
            index: IndexLines::new(collector, names),
            text: String::new(),
            index_text: String::new(),
            rows: Vec::new(),
            traces: Vec::new(),
            numbers: HashMap::default(),
            cursor: Cursor::default(),
            cut: 0,
        }
    }

    /// Forgets the block before; the point of row `n` gets the time `base + n`.
    pub(crate) fn begin(&mut self, base: u64) {
        self.base = base;
        self.groups.clear();
        self.index.begin_block();
        self.cursor = Cursor::default();
        for text in [&mut self.text, &mut self.index_text] {
            text.clear();
            text.shrink_to(KEPT_BYTES);
        }
        self.rows.clear();
        self.rows.shrink_to(KEPT_BYTES / size_of::<Row>());
        self.traces.clear();
        self.numbers.clear();
    }

    /// Returns how many spans and resources were shortened, since the start.
    pub(crate) fn shortened(&self) -> u64 {
        self.cut + self.groups.cut()
    }

    /// Writes a span's text.
    fn push_text(&mut self, span: &SpanView<'_>, id: &Hex) {
        let begin = self.text.len();
        push_span(&mut self.text, span, id);
        if self.text.len() - begin > SPAN_BYTES_MAX {
            self.push_shortened(begin, span, id);
        }
    }

    #[cold]
    fn push_shortened(&mut self, begin: usize, span: &SpanView<'_>, id: &Hex) {
        self.cut += 1;
        for step in shorten::STEPS {
            self.text.truncate(begin);
            shorten::span(span, step, |shorter| {
                push_span(&mut self.text, shorter, id);
            });
            if self.text.len() - begin <= SPAN_BYTES_MAX {
                return;
            }
        }
    }

    /// Puts the row that comes now at the end of its trace.
    fn append_to_trace(&mut self, id: u128) {
        let row = u32::try_from(self.rows.len()).expect("a block has fewer rows");
        let number = *self.numbers.entry(id).or_insert_with(|| {
            let number = self.traces.len() as u32;
            let first = row;
            self.traces.push(TraceRows {
                id,
                first,
                last: row,
            });
            number
        });
        let trace = &mut self.traces[number as usize];
        if trace.last != row {
            self.rows[trace.last as usize].next = row;
            trace.last = row;
        }
    }
}

impl SpanVisitor for BlockEncoder {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.groups.resource(resource);
        self.index.service(resource.service_name);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.groups.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        let (trace_id, id) = (hex(span.trace_id), hex(span.span_id));
        self.push_text(span, &id);
        let time = self.base + self.rows.len() as u64;
        self.index
            .push(&mut self.index_text, span, (&trace_id, &id), time);
        self.append_to_trace(u128::from_be_bytes(span.trace_id));
        self.rows.push(Row {
            text_end: self.text.len(),
            index_end: self.index_text.len(),
            group: self.groups.current(),
            next: END,
        });
    }
}
