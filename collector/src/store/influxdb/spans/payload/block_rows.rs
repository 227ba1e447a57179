//! The rows of one block as text: the encoder adds them in their order, batches are cut from them.

use std::collections::HashMap;

use super::groups::Groups;
use crate::store::hash::Seed;

/// Bytes of memory that are kept from block to block.
const KEPT_BYTES: usize = 16 << 20;
/// Stands for "no more rows" in the list of a trace.
const END: u32 = u32::MAX;

/// The rows, their resources and scopes, and which rows belong to which trace.
#[derive(Debug, Default)]
pub(super) struct BlockRows {
    /// The time of row 0; that of row `n` is `base + n`.
    pub(super) base: u64,
    pub(super) groups: Groups,
    /// The spans, each as JSON on the line.
    pub(super) text: String,
    /// The `span_idx` lines.
    pub(super) index_text: String,
    pub(super) rows: Vec<Row>,
    pub(super) traces: Vec<TraceRows>,
    numbers: HashMap<u128, u32, Seed>,
}

/// One row: where its texts end (they begin where those of the row before end), and what it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    text_end: usize,
    pub(super) index_end: usize,
    pub(super) group: u32,
    /// The next row of its trace.
    next: u32,
}

/// The rows of a trace: a list through `Row::next`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceRows {
    pub(super) id: u128,
    first: u32,
    last: u32,
}

impl BlockRows {
    /// Forgets the block before.
    pub(super) fn begin(&mut self, base: u64) {
        self.base = base;
        self.groups.clear();
        for text in [&mut self.text, &mut self.index_text] {
            text.clear();
            text.shrink_to(KEPT_BYTES);
        }
        self.rows.clear();
        self.rows.shrink_to(KEPT_BYTES / size_of::<Row>());
        self.traces.clear();
        self.numbers.clear();
    }

    /// Ends the row whose texts were written last.
    pub(super) fn end_row(&mut self, trace_id: u128) {
        self.append_to_trace(trace_id);
        self.rows.push(Row {
            text_end: self.text.len(),
            index_end: self.index_text.len(),
            group: self.groups.current(),
            next: END,
        });
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

    /// Lists the rows of a trace, groups together; the first is the last of the list.
    pub(super) fn list(&self, trace: TraceRows, rows: &mut Vec<u32>) {
        rows.clear();
        let mut row = trace.first;
        while row != END {
            rows.push(row);
            row = self.rows[row as usize].next;
        }
        rows.sort_unstable_by_key(|&row| std::cmp::Reverse((self.rows[row as usize].group, row)));
    }

    /// Returns the JSON of a span.
    pub(super) fn text_of(&self, row: u32) -> &str {
        let row = row as usize;
        let begin = row.checked_sub(1).map_or(0, |row| self.rows[row].text_end);
        &self.text[begin..self.rows[row].text_end]
    }
}
