//! The rows of one block as text; the encoder appends them, and batches are cut from them.

use std::collections::HashMap;

use super::groups::Groups;
use crate::store::hash::Seed;

/// Memory kept from block to block, bytes.
const KEPT_BYTES: usize = 16 << 20;
/// End of a trace's list of rows.
const END: u32 = u32::MAX;

/// The rows, their resources and scopes, and the rows of each trace.
#[derive(Debug)]
pub(super) struct BlockRows {
    /// The time of row 0; row `n` has `base + n`.
    pub(super) base: u64,
    pub(super) groups: Groups,
    /// The spans as JSON, escaped for the line.
    pub(super) text: String,
    pub(super) index_text: String,
    pub(super) rows: Vec<Row>,
    pub(super) traces: Vec<TraceRows>,
    numbers: HashMap<u128, u32, Seed>,
}

/// A row: where its texts end (they begin where those of the previous row end), and its trace and group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    text_end: usize,
    pub(super) index_end: usize,
    pub(super) group: u32,
    next: u32,
}

/// The rows of a trace, linked by `Row::next`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TraceRows {
    pub(super) id: u128,
    first: u32,
    last: u32,
}

impl Default for BlockRows {
    fn default() -> Self {
        Self {
            base: 0,
            groups: Groups::new(Groups::SPANS),
            text: String::new(),
            index_text: String::new(),
            rows: Vec::new(),
            traces: Vec::new(),
            numbers: HashMap::default(),
        }
    }
}

impl BlockRows {
    /// Clears the previous block.
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

    /// Lists the rows of a trace by group, in reverse order.
    pub(super) fn list(&self, trace: TraceRows, rows: &mut Vec<u32>) {
        rows.clear();
        let mut row = trace.first;
        while row != END {
            rows.push(row);
            row = self.rows[row as usize].next;
        }
        rows.sort_unstable_by_key(|&row| std::cmp::Reverse((self.rows[row as usize].group, row)));
    }

    pub(super) fn text_of(&self, row: u32) -> &str {
        let row = row as usize;
        let begin = row.checked_sub(1).map_or(0, |row| self.rows[row].text_end);
        &self.text[begin..self.rows[row].text_end]
    }
}
