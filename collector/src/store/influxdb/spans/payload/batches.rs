//! The batches of a block: first the traces, then the lines for search, so that what a search finds can be read.
//!
//! The same block always gives the same batches.

use super::encoder::{BlockEncoder, END, TraceRows};
use super::json::hex;
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch};
use crate::store::influxdb::wire::line::push_number;

/// The most that `d` takes on the line, bytes; InfluxDB's documents say 64 KB. On the line quotes count double, so
/// the stored text is shorter still. A larger span has a point of its own.
pub(super) const CHUNK_BYTES_MAX: usize = 60_000;
/// About what the heads of a trace's groups take; only memory is reserved by it.
const HEADS_BYTES: usize = 2_048;
/// How a chunk ends: a list of spans, its group, the list of groups.
const CHUNK_END: &str = "]}]";

/// How far the batches of a block are.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The trace that is next.
    trace: usize,
    /// The rows of that trace that are left, in the order in which they are written.
    rows: Vec<u32>,
    begun: bool,
    /// The row whose line for search is next.
    index_row: usize,
    /// Bytes of the batches so far.
    bytes: usize,
}

impl BlockEncoder {
    /// Returns the next batch of the block, `None` after the last.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        if self.cursor.index_row == self.rows.len() {
            return None;
        }
        let mut batch = Batch {
            lines: String::with_capacity(self.bytes_left().min(BATCH_BYTES_MAX)),
            points: 0,
            spans: 0,
        };
        if self.push_traces(&mut batch) {
            self.push_index(&mut batch);
        }
        self.cursor.bytes += batch.lines.len();
        Some(batch)
    }

    /// Returns about how many bytes are left to write.
    fn bytes_left(&self) -> usize {
        let heads = self.traces.len() * HEADS_BYTES;
        (self.text.len() + heads + self.index_text.len()).saturating_sub(self.cursor.bytes)
    }

    /// Writes traces while there is room; returns whether that were all.
    fn push_traces(&mut self, batch: &mut Batch) -> bool {
        let mut cursor = std::mem::take(&mut self.cursor);
        let done = loop {
            let Some(&trace) = self.traces.get(cursor.trace) else {
                break true;
            };
            if !cursor.begun {
                self.order(trace, &mut cursor.rows);
                cursor.begun = true;
            }
            let before = batch.lines.len();
            let taken = self.push_chunk(&mut batch.lines, trace, &cursor.rows);
            if batch.points > 0 && !has_room(batch) {
                batch.lines.truncate(before);
                break false;
            }
            batch.points += 1;
            cursor.rows.truncate(cursor.rows.len() - taken);
            if cursor.rows.is_empty() {
                cursor.trace += 1;
                cursor.begun = false;
            }
        };
        self.cursor = cursor;
        done
    }

    /// Lists the rows of a trace, groups together; the first is the last of the list.
    fn order(&self, trace: TraceRows, rows: &mut Vec<u32>) {
        rows.clear();
        let mut row = trace.first;
        while row != END {
            rows.push(row);
            row = self.rows[row as usize].next;
        }
        rows.sort_unstable_by_key(|&row| std::cmp::Reverse((self.rows[row as usize].group, row)));
    }

    /// Writes a point of as many rows (from the end of the list) as `d` takes; returns how many that are.
    fn push_chunk(&self, out: &mut String, trace: TraceRows, rows: &[u32]) -> usize {
        let id = hex(trace.id.to_be_bytes());
        out.push_str(&self.begin);
        out.push_str(",sh=");
        out.push_str(&id.as_str()[29..]);
        out.push_str(" d=\"");
        let begin = out.len();
        out.push_str(id.as_str());
        let taken = self.push_groups(out, begin + CHUNK_BYTES_MAX, rows);
        out.push_str(CHUNK_END);
        out.push_str("\",th=");
        push_number(out, trace.id as u64 & i64::MAX as u64);
        out.push_str("i ");
        let first = rows.last().copied().unwrap_or_default();
        push_number(out, self.base + u64::from(first));
        out.push('\n');
        taken
    }

    fn push_groups(&self, out: &mut String, end: usize, rows: &[u32]) -> usize {
        let mut group = None;
        for (taken, &row) in rows.iter().rev().enumerate() {
            let text = self.text_of(row);
            let number = self.rows[row as usize].group;
            let (between, head) = match group {
                Some(current) if current == number => (",", ""),
                Some(_) => ("]},", self.groups.head(number)),
                None => ("[", self.groups.head(number)),
            };
            let added = between.len() + head.len() + text.len() + CHUNK_END.len();
            if taken > 0 && out.len() + added > end {
                return taken;
            }
            for part in [between, head, text] {
                out.push_str(part);
            }
            group = Some(number);
        }
        rows.len()
    }

    fn text_of(&self, row: u32) -> &str {
        let row = row as usize;
        let begin = row.checked_sub(1).map_or(0, |row| self.rows[row].text_end);
        &self.text[begin..self.rows[row].text_end]
    }

    /// Writes lines for search while there is room.
    fn push_index(&mut self, batch: &mut Batch) {
        let from = self.cursor.index_row;
        let end = |row: usize| row.checked_sub(1).map_or(0, |row| self.rows[row].index_end);
        let begin = end(from);
        let room = BATCH_BYTES_MAX.saturating_sub(batch.lines.len());
        let points = BATCH_POINTS_MAX.saturating_sub(batch.points as usize);
        let most = &self.rows[from..][..points.min(self.rows.len() - from)];
        let taken = most.partition_point(|row| row.index_end - begin <= room);
        batch
            .lines
            .push_str(&self.index_text[begin..end(from + taken)]);
        batch.points += taken as u64;
        // Their traces went before.
        batch.spans += taken as u64;
        self.cursor.index_row += taken;
    }
}

/// Returns whether one more point is in bounds.
fn has_room(batch: &Batch) -> bool {
    (batch.points as usize) < BATCH_POINTS_MAX && batch.lines.len() <= BATCH_BYTES_MAX
}
