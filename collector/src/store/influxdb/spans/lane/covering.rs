//! The lane's filters: when sections end, and what is covered.

use std::collections::HashSet;

use super::{Filling, SpanLane};
use crate::store::embedded::JournalSegment;

impl SpanLane {
    /// Ends the sections of segments that retention deleted: what was not sent of them never will be.
    pub(super) fn note_deleted(&mut self, segments: &[JournalSegment]) {
        let live: HashSet<u64> = segments.iter().map(JournalSegment::sequence).collect();
        let gone = self.read.extract_if(|sequence, _| !live.contains(sequence));
        for (sequence, place) in gone {
            let sent = self.sent_before.offset(sequence).unwrap_or_default();
            if place.until >= sent.until {
                self.coverage.end_section(sequence);
            } else {
                // What an earlier run sent of it cannot be read for its filters.
                self.coverage.skip_to(sent.until);
            }
            self.coverage.forget(sequence);
        }
    }

    /// Covers what can be covered, and adds the lines of filters and covers to the batch; returns the batch before them if
    /// both do not fit into one request.
    pub(super) fn cover(&mut self) -> Option<Filling> {
        if self.coverage.take_ended() {
            let until = self.complete_until();
            self.coverage.cover(until);
        }
        let batch = self.coverage.next_batch()?;
        let full = self.fill(batch);
        let covered = self.coverage.covered();
        self.filling.get_or_insert_default().covered = Some(covered);
        full
    }

    /// Returns the arrival time before which every row is in a complete section, if it was ever sent.
    fn complete_until(&self) -> u64 {
        let mut until = self.journal.complete_until();
        for mut segment in self.journal.segments() {
            let sequence = segment.sequence();
            if self.sent.offset(sequence).is_none() {
                continue;
            }
            let place = self.place(sequence);
            let since = match self.coverage.open_since(sequence) {
                Some(since) => since,
                None if !segment.has_block_at(place) => continue,
                None => match segment.arrival(place) {
                    Ok(Some(arrival)) => arrival.base(place),
                    _ => place.until,
                },
            };
            until = until.min(since);
        }
        until
    }
}
