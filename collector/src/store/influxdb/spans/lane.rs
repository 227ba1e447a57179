//! Ships the spans: blocks of the journal become points, each row at its arrival time.
//!
//! The newest and the oldest segment with a backlog alternate, so that hours of backlog never delay current
//! spans, and only a few blocks are in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::payload::BlockEncoder;
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

#[derive(Debug)]
pub(crate) struct SpanLane {
    journal: Journal,
    followed: Arc<ShipProgress>,
    encoder: BlockEncoder,
    counters: Arc<Counters>,
    /// The block that is being turned into points.
    block: Option<Block>,
    /// The batch being filled, with the place after it.
    filling: Option<(Batch, Option<Place>)>,
    /// The position after the last batch.
    sent: Position,
    /// Per segment, how far points were made; some are still in the batch being filled.
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
}

#[derive(Debug, Clone, Copy)]
struct Place {
    sequence: u64,
    reached: Offset,
}

impl SpanLane {
    /// Continues where `followed` says.
    pub(crate) fn new(
        journal: Journal,
        followed: Arc<ShipProgress>,
        encoder: BlockEncoder,
        counters: Arc<Counters>,
    ) -> Self {
        let mut lane = Self {
            journal,
            encoder,
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
            let reached = self.sent.offset(segment.sequence());
            if let Some(reached) = reached {
                // An unreadable segment is retried, and logged, when its blocks are due.
                let _place = self.place(&mut segment, reached);
            }
        }
        self.followed.settle(self.sent.clone());
    }

    /// Returns the offset in a segment up to which points were made.
    fn place(
        &mut self,
        segment: &mut JournalSegment,
        reached: Offset,
    ) -> Result<Offset, StoreError> {
        let sequence = segment.sequence();
        if let Some(place) = self.read.get(&sequence) {
            return Ok(*place);
        }
        let place = locate(segment, reached)?;
        self.read.insert(sequence, place);
        if place != reached {
            self.sent.reach(sequence, place);
        }
        Ok(place)
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

    /// Returns the segments with unshipped blocks and the place in each, oldest first.
    fn behind(&mut self, now: UnixNanos) -> Vec<(JournalSegment, Offset)> {
        let mut behind = Vec::new();
        let mut all_done = true;
        for mut segment in self.journal.segments() {
            let sequence = segment.sequence();
            let Some(reached) = self.sent.offset(sequence) else {
                continue;
            };
            if self.is_shunned(sequence, now) {
                all_done = false;
                continue;
            }
            let place = match self.place(&mut segment, reached) {
                Ok(place) => place,
                Err(error) => {
                    self.shun(sequence, &error, now);
                    all_done = false;
                    continue;
                }
            };
            // Not the place itself: its points may still be in flight.
            let reached = self.sent.offset(sequence).unwrap_or(place);
            all_done &= !segment.has_block_at(reached) && is_settled(&segment, now);
            if all_done {
                self.sent.finish_below(sequence + 1);
                self.read.remove(&sequence);
                continue;
            }
            if segment.has_block_at(place) {
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
        self.block = Some(Block {
            segment,
            number: arrival.block,
            base: arrival.base(from),
            rows: arrival.rows,
            next_row: 0,
            end: arrival.behind(from),
        });
        true
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
        let visited = self
            .journal
            .visit(segment, number, rows, &mut self.encoder)?;
        block.next_row = end;
        if visited.is_none() {
            // Damaged on disk, so no reader can read it.
            self.counters
                .incidents
                .add(Incident::InfluxdbUnreadableBlock, 1);
            self.encoder.begin(0);
            block.next_row = block.rows;
        }
        self.note_shortened();
        Ok(true)
    }

    /// Ends the block: the batch being filled now leads past it. Returns its segment and that offset.
    fn end_block(&mut self) -> Option<(JournalSegment, Offset)> {
        let block = self.block.take()?;
        let sequence = block.segment.sequence();
        let reached = block.end;
        self.read.insert(sequence, reached);
        match &mut self.filling {
            Some((_, place)) => *place = Some(Place { sequence, reached }),
            None => self.sent.reach(sequence, reached),
        }
        Some((block.segment, reached))
    }

    /// Adds points to the batch being filled; returns the previous batch if both do not fit into one request.
    fn fill(&mut self, batch: Batch) -> Option<(Batch, Option<Place>)> {
        match &mut self.filling {
            Some((filling, _)) if fits(filling, &batch) => {
                filling.lines.push_str(&batch.lines);
                filling.points += batch.points;
                filling.spans += batch.spans;
                None
            }
            filling => filling.replace((batch, None)),
        }
    }

    /// Returns the next batch; small blocks of one segment share one.
    fn next_filled(&mut self, now: UnixNanos) -> Option<(Batch, Option<Place>)> {
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
            let goes_on = match self.end_block() {
                Some((segment, reached)) if self.has_room() => self.begin(segment, reached, now),
                _ => false,
            };
            if goes_on {
                continue;
            }
            if self.filling.is_some() {
                return self.filling.take();
            }
            let (segment, reached) = self.choose(now)?;
            let sequence = segment.sequence();
            if !self.begin(segment, reached, now) && !self.is_shunned(sequence, now) {
                return None;
            }
        }
    }

    fn has_room(&self) -> bool {
        let filling = self.filling.as_ref();
        filling.is_none_or(|(batch, _)| batch.points < BATCH_POINTS_MAX as u64 / 2)
    }

    /// Counts spans that were too large for InfluxDB's string fields.
    fn note_shortened(&mut self) {
        let shortened = self.encoder.shortened();
        let more = shortened - self.shortened;
        self.shortened = shortened;
        self.counters
            .incidents
            .add(Incident::InfluxdbSpanShortened, more);
    }
}

impl Lane for SpanLane {
    const NAME: &'static str = "spans";
    type Position = Position;

    fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError> {
        let Some((batch, place)) = self.next_filled(now) else {
            return Ok(None);
        };
        if let Some(place) = place {
            self.sent.reach(place.sequence, place.reached);
        }
        Ok(Some(batch))
    }

    fn position(&self) -> Position {
        self.sent.clone()
    }

    fn acknowledged(&mut self, position: Position) {
        self.followed.settle(position);
    }
}

/// Returns whether nothing will be added to a segment, and no older segment will appear.
fn is_settled(segment: &JournalSegment, now: UnixNanos) -> bool {
    let age = now - UnixNanos::new(segment.written());
    segment.is_finished && age > SETTLED
}

/// Finds the place again by the times of blocks: a repair after a crash may have dropped damaged ones.
fn locate(segment: &mut JournalSegment, reached: Offset) -> Result<Offset, StoreError> {
    let mut place = Offset::default();
    while place.until < reached.until {
        let arrival = segment.arrival(place)?;
        let Some(arrival) = arrival.filter(|arrival| arrival.base(place) < reached.until) else {
            break;
        };
        place = arrival.behind(place);
    }
    place.until = place.until.max(reached.until);
    Ok(place)
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
