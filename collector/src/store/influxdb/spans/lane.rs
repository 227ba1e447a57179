//! Ships the spans: blocks of the journal become points, each row at its arrival time.
//!
//! The newest and the oldest segment with a backlog alternate, so that hours of backlog never delay current
//! spans, and only a few blocks are in memory. Filters (`filters`) follow the spans; after a restart, the rows that were sent
//! are read again for them.

mod covering;
mod position;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use position::SpanPosition;
use position::locate;

use super::filters::Coverage;
use super::payload::BlockEncoder;
use crate::codec::otlp::Tee;
use crate::counters::{Counters, Incident};
use crate::log::{Offset, Position};
use crate::model::UnixNanos;
use crate::store::embedded::{Journal, JournalSegment};
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch, Lane};
use crate::store::{ShipProgress, StoreError};
use crate::sync::LogThrottle;

/// Age of a finished segment's last block before the segment counts as done: by then every segment with a
/// lower number has shown its first block.
const SETTLED: Duration = Duration::from_secs(60);

/// How long an unreadable segment is skipped.
const SHUNNED: Duration = Duration::from_secs(30);

/// Rows of a block turned into points at once; only requests of megabytes make larger blocks.
const ROWS_AT_ONCE: u32 = 10_000;

/// Rows that were sent by an earlier run and are read at once for their filters.
const AGAIN_ROWS_MAX: u64 = 200_000;

#[derive(Debug)]
pub(crate) struct SpanLane {
    journal: Journal,
    followed: Arc<ShipProgress>,
    encoder: BlockEncoder,
    coverage: Coverage,
    counters: Arc<Counters>,
    /// The block that is being turned into points.
    block: Option<Block>,
    filling: Option<Filling>,
    /// The position after the last batch.
    sent: Position,
    /// The position when the lane began: rows before it are only read for their filters.
    sent_before: Position,
    /// What is covered by the last batch and those before it.
    covered: u64,
    /// Rows sent by an earlier run that were read since the last batch.
    again: u64,
    /// Per segment, how far rows were read; the points of some are still in the batch being filled.
    read: HashMap<u64, Offset>,
    /// Per segment, when it turned out unreadable.
    shunned: HashMap<u64, UnixNanos>,
    warnings: LogThrottle,
    freshest_next: bool,
    /// Shortened spans counted so far.
    shortened: u64,
}

#[derive(Debug)]
struct Block {
    segment: JournalSegment,
    number: u32,
    base: u64,
    rows: u32,
    next_row: u32,
    end: Offset,
    /// Whether an earlier run sent it.
    was_sent: bool,
}

/// The batch being filled, and what it completes.
#[derive(Debug, Default)]
struct Filling {
    batch: Batch,
    place: Option<Place>,
    covered: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    sequence: u64,
    reached: Offset,
}

impl SpanLane {
    /// Continues where `followed` says; `collector` is the one whose points it writes, `covered` as in its position.
    pub(crate) fn new(
        journal: Journal,
        followed: Arc<ShipProgress>,
        encoder: BlockEncoder,
        (collector, covered): (&str, Option<u64>),
        counters: Arc<Counters>,
    ) -> Self {
        // What was sent without filters, and what is not here any more, gets none.
        let covered = covered.unwrap_or_else(|| match followed.position() == Position::BEGIN {
            true => 0,
            false => journal.complete_until(),
        });
        let covered = covered.max(followed.local_since());
        let mut lane = Self {
            journal,
            encoder,
            coverage: Coverage::new(collector, covered),
            covered,
            again: 0,
            sent_before: Position::BEGIN,
            counters,
            block: None,
            filling: None,
            sent: followed.position(),
            read: HashMap::new(),
            shunned: HashMap::new(),
            warnings: LogThrottle::default(),
            freshest_next: true,
            shortened: 0,
            followed,
        };
        lane.find_places();
        lane
    }

    /// Finds the places of an earlier run again, before retention asks which blocks are shipped.
    fn find_places(&mut self) {
        for mut segment in self.journal.segments() {
            let sequence = segment.sequence();
            let Some(reached) = self.sent.offset(sequence) else {
                continue;
            };
            let place = locate(&mut segment, reached);
            if place.as_ref().ok().map(|place| place.rows) != Some(reached.rows) {
                self.coverage.spoil_all(sequence);
            }
            if let Some(place) = place.ok().filter(|place| *place != reached) {
                self.sent.reach(sequence, place);
            }
            self.read.insert(sequence, Offset::default());
        }
        self.sent_before = self.sent.clone();
        self.followed.settle(self.sent.clone());
    }

    /// Returns how far a segment was read.
    fn place(&self, sequence: u64) -> Offset {
        self.read.get(&sequence).copied().unwrap_or_default()
    }

    /// Chooses the segment of the next block.
    fn choose(&mut self, now: UnixNanos) -> Option<(JournalSegment, Offset)> {
        let mut behind = self.behind(now);
        self.freshest_next = !self.freshest_next;
        let fresh = behind
            .iter()
            .enumerate()
            .filter(|(_, (s, _))| !s.is_finished);
        let fresh = fresh.min_by_key(|(_, (_, reached))| reached.until);
        let chosen = match fresh {
            Some((at, _)) if self.freshest_next => at,
            _ => 0,
        };
        (chosen < behind.len()).then(|| behind.swap_remove(chosen))
    }

    /// Returns the segments with blocks to be read and the place in each, oldest first.
    fn behind(&mut self, now: UnixNanos) -> Vec<(JournalSegment, Offset)> {
        let mut behind = Vec::new();
        let mut all_done = true;
        let segments = self.journal.segments();
        self.note_deleted(&segments);
        for segment in segments {
            let sequence = segment.sequence();
            // Not the place: its points may still be in flight.
            let Some(reached) = self.sent.offset(sequence) else {
                continue;
            };
            if self.is_shunned(sequence, now) {
                all_done = false;
                continue;
            }
            let place = self.place(sequence);
            let is_behind = segment.has_block_at(place);
            if segment.is_finished && !is_behind {
                self.coverage.end_section(sequence);
            }
            all_done &= !is_behind
                && !segment.has_block_at(reached)
                && self.covered >= place.until
                && is_settled(&segment, now);
            if all_done {
                self.sent.finish_below(sequence + 1);
                self.read.remove(&sequence);
                self.coverage.forget(sequence);
            } else if is_behind {
                behind.push((segment, place));
            }
        }
        behind
    }

    fn is_shunned(&self, sequence: u64, now: UnixNanos) -> bool {
        let since = self.shunned.get(&sequence);
        since.is_some_and(|at| (now - *at).max(*at - now) < SHUNNED)
    }

    /// Skips a segment for a while; its block in progress is started again later.
    fn shun(&mut self, sequence: u64, error: &StoreError, now: UnixNanos) {
        self.shunned.insert(sequence, now);
        let incidents = &self.counters.incidents;
        incidents.add(Incident::InfluxdbUnreadableSegment, 1);
        if self.warnings.is_due() {
            tracing::warn!(%error, "could not read spans for InfluxDB; trying again");
        }
    }

    /// Starts the block at that place; false if none can be read.
    fn begin(&mut self, mut segment: JournalSegment, from: Offset, now: UnixNanos) -> bool {
        let arrival = match segment.arrival(from) {
            Ok(Some(arrival)) => arrival,
            Ok(None) => return false,
            Err(error) => {
                self.shun(segment.sequence(), &error, now);
                return false;
            }
        };
        let segment_number = segment.sequence();
        self.block = Some(Block {
            segment,
            number: arrival.block,
            base: arrival.base(from),
            rows: arrival.rows,
            next_row: 0,
            end: arrival.behind(from),
            was_sent: self.was_sent(segment_number, arrival.base(from)),
        });
        true
    }

    fn was_sent(&self, sequence: u64, base: u64) -> bool {
        let sent = self.sent_before.offset(sequence);
        sent.is_some_and(|sent| base < sent.until)
    }

    /// Abandons the block in progress; its points are made again later and do not become duplicates.
    fn drop_block(&mut self, error: &StoreError, now: UnixNanos) {
        self.encoder.begin(0);
        if let Some(block) = self.block.take() {
            self.shun(block.segment.sequence(), error, now);
        }
    }

    /// Turns the next rows of the block into points; false at its end.
    fn encode_rows(&mut self) -> Result<bool, StoreError> {
        let Some(block) = self
            .block
            .as_mut()
            .filter(|block| block.next_row < block.rows)
        else {
            return Ok(false);
        };
        let rows = block.next_row..block.rows.min(block.next_row + ROWS_AT_ONCE);
        self.encoder
            .begin(block.base.saturating_add(u64::from(rows.start)));
        let (number, end) = (block.number, rows.end);
        let segment = &mut block.segment;
        let sequence = segment.sequence();
        let tokens = self.coverage.rows(sequence, block.base);
        let visited = match block.was_sent {
            true => self.journal.visit(segment, number, rows, tokens)?,
            false => {
                let mut both = Tee(&mut self.encoder, tokens);
                self.journal.visit(segment, number, rows, &mut both)?
            }
        };
        block.next_row = end;
        if visited.is_none() {
            // Damaged on disk, so no reader can read it.
            self.counters
                .incidents
                .add(Incident::InfluxdbUnreadableBlock, 1);
            self.encoder.begin(0);
            self.coverage.spoil(sequence);
            block.next_row = block.rows;
        }
        if self.note_shortened() > 0 {
            self.coverage.spoil(sequence);
        }
        Ok(true)
    }

    /// Ends the block: the batch being filled now leads past it. Returns its segment and that offset.
    fn end_block(&mut self) -> Option<(JournalSegment, Offset)> {
        let block = self.block.take()?;
        let sequence = block.segment.sequence();
        let reached = block.end;
        let rows = block.rows.into();
        self.read.insert(sequence, reached);
        self.coverage.end_block(sequence, reached.until, rows);
        match &mut self.filling {
            _ if block.was_sent => self.again += rows,
            Some(filling) => filling.place = Some(Place { sequence, reached }),
            None => self.sent.reach(sequence, reached),
        }
        Some((block.segment, reached))
    }

    /// Adds points to the batch being filled; returns the previous batch if both do not fit into one request.
    fn fill(&mut self, batch: Batch) -> Option<Filling> {
        match &mut self.filling {
            Some(Filling { batch: filling, .. }) if fits(filling, &batch) => {
                filling.lines.push_str(&batch.lines);
                filling.points += batch.points;
                filling.spans += batch.spans;
                None
            }
            filling => filling.replace(Filling {
                batch,
                ..Filling::default()
            }),
        }
    }

    /// Returns the next batch; small blocks of one segment share one.
    fn next_filled(&mut self, now: UnixNanos) -> Option<Filling> {
        loop {
            if let Some(batch) = self.encoder.next_batch() {
                if let Some(full) = self.fill(batch) {
                    return Some(full);
                }
                continue;
            }
            match self.encode_rows() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => self.drop_block(&error, now),
            }
            let ended = self.end_block();
            let full = self.cover();
            let goes_on = match ended {
                Some((segment, reached)) if self.has_room() => self.begin(segment, reached, now),
                _ => false,
            };
            if full.is_some() {
                return full;
            }
            if goes_on {
                continue;
            }
            if self.filling.is_some() || self.again >= AGAIN_ROWS_MAX {
                return self.filling.take();
            }
            let Some((segment, reached)) = self.choose(now) else {
                // Sections of segments that are finished have ended.
                let _first = self.cover();
                return self.filling.take();
            };
            let sequence = segment.sequence();
            if !self.begin(segment, reached, now) && !self.is_shunned(sequence, now) {
                return None;
            }
        }
    }

    fn has_room(&self) -> bool {
        let filling = self.filling.as_ref();
        filling.is_none_or(|filling| filling.batch.points < BATCH_POINTS_MAX as u64 / 2)
            && self.again < AGAIN_ROWS_MAX
    }

    /// Counts spans that were too large for InfluxDB's string fields, and returns how many there were.
    fn note_shortened(&mut self) -> u64 {
        let shortened = self.encoder.shortened();
        let more = shortened - self.shortened;
        self.shortened = shortened;
        self.counters
            .incidents
            .add(Incident::InfluxdbSpanShortened, more);
        more
    }
}

impl Lane for SpanLane {
    const NAME: &'static str = "spans";
    type Position = SpanPosition;

    fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError> {
        self.again = 0;
        let Some(filled) = self.next_filled(now) else {
            return Ok(None);
        };
        if let Some(Place { sequence, reached }) = filled.place {
            self.sent.reach(sequence, reached);
        }
        self.covered = filled.covered.unwrap_or(self.covered);
        Ok(Some(filled.batch))
    }

    fn position(&self) -> SpanPosition {
        SpanPosition {
            log: self.sent.clone(),
            covered: Some(self.covered),
        }
    }

    fn acknowledged(&mut self, position: SpanPosition) {
        self.followed.settle(position.log);
    }
}

/// Returns whether nothing will be added to a segment, and no older segment will appear.
fn is_settled(segment: &JournalSegment, now: UnixNanos) -> bool {
    let age = now - UnixNanos::new(segment.written());
    segment.is_finished && age > SETTLED
}

fn fits(one: &Batch, other: &Batch) -> bool {
    one.points + other.points <= BATCH_POINTS_MAX as u64
        && one.lines.len() + other.lines.len() <= BATCH_BYTES_MAX
}

/// Returns the number of unshipped spans and their approximate bytes in the journal.
pub(crate) fn backlog(journal: &Journal, followed: &ShipProgress) -> (u64, u64) {
    let segments = journal.segments();
    let behind = segments.iter().map(|segment| {
        let (rows, bytes) = segment.size();
        let unshipped = followed.unshipped(segment.sequence(), rows);
        let share = u128::from(bytes) * u128::from(unshipped) / u128::from(rows.max(1));
        (unshipped, u64::try_from(share).unwrap_or(bytes))
    });
    behind.fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
}
