//! Cuts a block into batches: first the traces, then the lines for search, so that what a search finds can be
//! read.
//!
//! The same block always gives the same batches.

use super::block_rows::{BlockRows, TraceRows};
use super::json::hex;
use crate::store::influxdb::schema;
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch};
use crate::store::influxdb::wire::line::{push_number, push_tag};

/// Largest `d` on the line, bytes; InfluxDB's documentation says 64 KB. Quotes take two bytes on the line, so
/// the stored text is shorter. A larger span gets a point of its own.
pub(crate) const CHUNK_BYTES_MAX: usize = 60_000;
/// Approximate size of a trace's group heads; only used to reserve memory.
const HEADS_BYTES: usize = 2_048;
/// End of a chunk: closes the spans, the group and the list of groups.
const CHUNK_END: &str = "]}]";

#[derive(Debug)]
pub(super) struct Batches {
    /// Prefix of every `span` line: measurement and collector.
    begin: String,
    next: Cursor,
}

/// Progress within a block.
#[derive(Debug, Default)]
struct Cursor {
    trace: usize,
    /// Remaining rows of that trace, in writing order.
    rows: Vec<u32>,
    begun: bool,
    /// The next row to be written for search.
    index_row: usize,
    bytes: usize,
}

impl Batches {
    pub(super) fn new(collector: &str) -> Self {
        let mut begin = schema::SPAN.name.to_owned();
        push_tag(&mut begin, schema::COLLECTOR, collector);
        Self {
            begin,
            next: Cursor::default(),
        }
    }

    pub(super) fn restart(&mut self) {
        self.next = Cursor::default();
    }

    /// Returns the next batch of the block; `None` after the last.
    pub(super) fn next(&mut self, block: &BlockRows) -> Option<Batch> {
        if self.next.index_row == block.rows.len() {
            return None;
        }
        let mut batch = Batch {
            lines: String::with_capacity(self.bytes_left(block).min(BATCH_BYTES_MAX)),
            ..Batch::default()
        };
        if self.push_traces(block, &mut batch) {
            push_index(block, &mut self.next.index_row, &mut batch);
        }
        self.next.bytes += batch.lines.len();
        Some(batch)
    }

    fn bytes_left(&self, block: &BlockRows) -> usize {
        let heads = block.traces.len() * HEADS_BYTES;
        (block.text.len() + heads + block.index_text.len()).saturating_sub(self.next.bytes)
    }

    /// Writes traces while there is room; returns whether all were written.
    fn push_traces(&mut self, block: &BlockRows, batch: &mut Batch) -> bool {
        let next = &mut self.next;
        while let Some(&trace) = block.traces.get(next.trace) {
            if !next.begun {
                block.list(trace, &mut next.rows);
                next.begun = true;
            }
            let before = batch.lines.len();
            batch.lines.push_str(&self.begin);
            let taken = push_chunk(&mut batch.lines, block, trace, &next.rows);
            if batch.points > 0 && !has_room(batch) {
                batch.lines.truncate(before);
                return false;
            }
            batch.points += 1;
            next.rows.truncate(next.rows.len() - taken);
            if next.rows.is_empty() {
                next.trace += 1;
                next.begun = false;
            }
        }
        true
    }
}

/// Writes the rest of a point with as many rows (from the end of the list) as fit into `d`; returns their
/// number.
fn push_chunk(out: &mut String, block: &BlockRows, trace: TraceRows, rows: &[u32]) -> usize {
    let id = hex(trace.id.to_be_bytes());
    out.push_str(",sh=");
    out.push_str(&id.as_str()[29..]);
    out.push_str(" d=\"");
    let begin = out.len();
    out.push_str(id.as_str());
    let taken = push_groups(out, block, begin + CHUNK_BYTES_MAX, rows);
    out.push_str(CHUNK_END);
    out.push_str("\",th=");
    push_number(out, trace.id as u64 & i64::MAX as u64);
    out.push_str("i ");
    let first = rows.last().copied().unwrap_or_default();
    push_number(out, block.base + u64::from(first));
    out.push('\n');
    taken
}

fn push_groups(out: &mut String, block: &BlockRows, end: usize, rows: &[u32]) -> usize {
    let mut group = None;
    for (taken, &row) in rows.iter().rev().enumerate() {
        let text = block.text_of(row);
        let number = block.rows[row as usize].group;
        let (between, head) = match group {
            Some(current) if current == number => (",", ""),
            Some(_) => ("]},", block.groups.head(number)),
            None => ("[", block.groups.head(number)),
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

/// Writes search lines from row `next` on while there is room.
fn push_index(block: &BlockRows, next: &mut usize, batch: &mut Batch) {
    let from = *next;
    let end = |row: usize| {
        row.checked_sub(1)
            .map_or(0, |row| block.rows[row].index_end)
    };
    let begin = end(from);
    let room = BATCH_BYTES_MAX.saturating_sub(batch.lines.len());
    let points = BATCH_POINTS_MAX.saturating_sub(batch.points as usize);
    let most = &block.rows[from..][..points.min(block.rows.len() - from)];
    let taken = most.partition_point(|row| row.index_end - begin <= room);
    batch
        .lines
        .push_str(&block.index_text[begin..end(from + taken)]);
    batch.points += taken as u64;
    // The traces of these spans are in earlier batches.
    batch.spans += taken as u64;
    *next += taken;
}

/// Returns whether another point fits.
fn has_room(batch: &Batch) -> bool {
    (batch.points as usize) < BATCH_POINTS_MAX && batch.lines.len() <= BATCH_BYTES_MAX
}
