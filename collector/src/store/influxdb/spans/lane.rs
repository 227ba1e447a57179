//! Ships the spans: blocks of the journal become points, each row at the time that it arrived at.
//!
//! The freshest and the oldest segment that are behind take turns, so that hours of backlog never delay what happens
//! now, and no more than a few blocks are ever in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::payload::BlockEncoder;
use crate::counters::{Counters, Incident};
use crate::log::{Offset, Position};
use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::store::embedded::{Journal, JournalSegment, ShipProgress};
use crate::store::influxdb::ship::lane::{BATCH_BYTES_MAX, BATCH_POINTS_MAX, Batch, Lane};
use crate::sync::LogThrottle;

/// A finished segment counts as done only when its last block is that old: by then every segment with a lower number
/// that was begun has shown its first block.
const SETTLED: Duration = Duration::from_secs(60);

/// How long a segment that could not be read is left alone; the others go on.
const SHUNNED: Duration = Duration::from_secs(30);

/// Rows of a block that are made into points at once; only a request of megabytes makes larger blocks.
const ROWS_AT_ONCE: u32 = 10_000;

/// The lane.
#[derive(Debug)]
pub(crate) struct SpanLane {
    journal: Journal,
    followed: Arc<ShipProgress>,
    encoder: BlockEncoder,
    counters: Arc<Counters>,
    /// The block whose points are being made.
    block: Option<Block>,
    /// The batch that is being filled, with the place that it leads to.
    filling: Option<(Batch, Option<Place>)>,
    /// The position behind the last batch.
    sent: Position,
    /// By segment, the place up to which points are made; some of them are in the batch that is being filled.
    read: HashMap<u64, Offset>,
    /// By segment, when it could not be read.
    shunned: HashMap<u64, UnixNanos>,
    warnings: LogThrottle,
    freshest_next: bool,
    /// Spans shortened and counted.
    shortened: u64,
}

/// A block on its way.
#[derive(Debug)]
struct Block {
    segment: JournalSegment,
    number: u32,
    base: u64,
    rows: u32,
    next_row: u32,
    /// The place behind it.
    end: Offset,
}

/// A place in the journal.
#[derive(Debug, Clone, Copy)]
struct Place {
    sequence: u64,
    reached: Offset,
}

impl SpanLane {
    /// Returns a lane that goes on where `followed` says.
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
                // What cannot be read now is tried again, and said, when its blocks are asked for.
                let _place = self.place(&mut segment, reached);
            }
        }
        self.followed.settle(self.sent.clone());
    }

    /// Returns the place in a segment up to which points are made.
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

    /// Chooses the segment whose blocks come next.
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

    /// Returns the segments that have blocks to be followed, oldest first, each with its place.
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
            // Not the place: its points may still be on their way.
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

    /// Leaves a segment alone for a while; its block on the way is begun anew then.
    fn shun(&mut self, sequence: u64, error: &StoreError, now: UnixNanos) {
        self.shunned.insert(sequence, now);
        let incidents = &self.counters.incidents;
        incidents.add(Incident::InfluxdbUnreadableSegment, 1);
        if self.warnings.is_due() {
            tracing::warn!(%error, "could not read spans for InfluxDB; trying again");
        }
    }

    /// Begins the block at that place of a segment; false when there is none that can be read.
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

    /// Gives up the block on the way: what was made of it is made again later, and stays one.
    fn drop_block(&mut self, error: &StoreError, now: UnixNanos) {
        self.encoder.begin(0);
        if let Some(block) = self.block.take() {
            self.shun(block.segment.sequence(), error, now);
        }
    }

    /// Makes the next rows of the block into points; false when it has no more.
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
            // Damaged on the disk: it cannot be read, here or anywhere.
            self.counters
                .incidents
                .add(Incident::InfluxdbUnreadableBlock, 1);
            self.encoder.begin(0);
            block.next_row = block.rows;
        }
        self.note_shortened();
        Ok(true)
    }

    /// Ends the block: the batch that is being filled leads behind it. Returns its segment and that place.
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

    /// Puts points into the batch that is being filled; returns the one before where both do not fit a request.
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

    /// Returns the next batch, with small blocks of one segment in one.
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

    /// Counts spans that no string field of InfluxDB could hold whole.
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

/// Returns whether nothing will be added to a segment, and nothing older will appear beside it.
fn is_settled(segment: &JournalSegment, now: UnixNanos) -> bool {
    let age = now - UnixNanos::new(segment.written());
    segment.is_finished && age > SETTLED
}

/// Finds the place again by the times of the blocks: repairs after a crash may have left out damaged ones.
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

/// Returns whether two batches are one request.
fn fits(one: &Batch, other: &Batch) -> bool {
    one.points + other.points <= BATCH_POINTS_MAX as u64
        && one.lines.len() + other.lines.len() <= BATCH_BYTES_MAX
}

/// Returns how many spans, and about how many bytes of the journal, are not in InfluxDB yet.
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
