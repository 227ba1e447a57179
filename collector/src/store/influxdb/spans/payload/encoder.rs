//! Collects the rows of one block: each span is encoded once and copied to its trace when the block is
//! complete.

use std::sync::Arc;

use super::batches::Batches;
use super::block_rows::BlockRows;
use super::index::IndexLines;
use super::json::{Hex, hex};
use super::shorten;
use super::spans::push_span;
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::store::influxdb::names::Names;
use crate::store::influxdb::ship::lane::Batch;

/// Largest span on the line, bytes. Longer ones are shortened: InfluxDB rejects a text beyond 1,048,576
/// bytes, and the head of a group comes before the span.
pub(super) const SPAN_BYTES_MAX: usize = 700_000;

/// A visitor that turns the rows of one block into points: call `begin`, pass the rows, then call
/// `next_batch` until it returns `None`.
#[derive(Debug)]
pub(crate) struct BlockEncoder {
    block: BlockRows,
    batches: Batches,
    index: IndexLines,
    cut: u64,
}

impl BlockEncoder {
    pub(crate) fn new(collector: &str, names: Arc<Names>) -> Self {
        Self {
            block: BlockRows::default(),
            batches: Batches::new(collector),
            index: IndexLines::new(collector, names),
            cut: 0,
        }
    }

    /// Starts a block; the point of row `n` gets the time `base + n`.
    pub(crate) fn begin(&mut self, base: u64) {
        self.block.begin(base);
        self.batches.restart();
        self.index.begin_block();
    }

    /// Returns the next batch of the block; `None` after the last.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        self.batches.next(&self.block)
    }

    /// Number of spans and resources shortened since the start.
    pub(crate) fn shortened(&self) -> u64 {
        self.cut + self.block.groups.cut()
    }

    fn push_text(&mut self, span: &SpanView<'_>, id: &Hex) {
        let text = &mut self.block.text;
        let begin = text.len();
        push_span(text, span, id);
        if text.len() - begin > SPAN_BYTES_MAX {
            self.push_shortened(begin, span, id);
        }
    }

    #[cold]
    fn push_shortened(&mut self, begin: usize, span: &SpanView<'_>, id: &Hex) {
        self.cut += 1;
        let text = &mut self.block.text;
        for step in shorten::STEPS {
            text.truncate(begin);
            shorten::span(span, step, |shorter| {
                push_span(text, shorter, id);
            });
            if text.len() - begin <= SPAN_BYTES_MAX {
                return;
            }
        }
    }
}

impl SpanVisitor for BlockEncoder {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.block.groups.resource(resource);
        self.index.service(resource.service_name);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.block.groups.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        let (trace_id, id) = (hex(span.trace_id), hex(span.span_id));
        self.push_text(span, &id);
        let time = self.block.base + self.block.rows.len() as u64;
        self.index
            .push(&mut self.block.index_text, span, (&trace_id, &id), time);
        self.block.end_row(u128::from_be_bytes(span.trace_id));
    }
}
