//! A breaker with few calls, all of them successful. It is closed, and a short list of calls is its whole state. The
//! list is replayed when the breaker becomes `live`, so later decisions do not depend on when that happens.

use super::fast_path::StateWord;
use super::live::Live;
use super::pass::Pass;
use crate::circuit_breaker::model::latency::LatencyHistogram;
use crate::circuit_breaker::rules::settings::WindowSettings;
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::rules::window::Tally;
use crate::time::nanos;

/// Most calls of a list. A breaker called once on each of eight threads stays small.
const MAX_CALLS: usize = 8;

/// The state word of a breaker whose first generation is closed and not forced.
const CLOSED: Pass = Pass::plain(StateWord::CLOSED);

#[derive(Debug, Default)]
pub(super) struct Cold {
    admitted: u32,
    ended: Vec<Call>,
}

/// A successful call.
#[derive(Debug, Clone, Copy)]
struct Call {
    elapsed: u64,
    end: u64,
}

impl Cold {
    pub(super) fn admit(&mut self) -> Pass {
        self.admitted = self.admitted.saturating_add(1);
        CLOSED
    }

    /// Adds a successful call, if there is room; returns whether there was.
    pub(super) fn record(&mut self, elapsed: u64, end: u64) -> bool {
        let has_room = self.ended.len() < MAX_CALLS;
        if has_room {
            // Reserves one entry at a time because most lists have only one.
            self.ended.reserve_exact(1);
            self.ended.push(Call { elapsed, end });
        }
        has_room
    }

    /// Replays the calls in `live`.
    pub(super) fn replay(self, live: &Live) {
        let admitted = u64::from(self.admitted);
        live.shards.write(|shard| shard.admitted.add(admitted));
        for call in self.ended {
            live.record(&CLOSED, Outcome::Success, call.elapsed, call.end);
        }
    }

    pub(super) fn admitted(&self) -> u32 {
        self.admitted
    }

    pub(super) fn in_flight(&self) -> u64 {
        u64::from(self.admitted).saturating_sub(self.successes())
    }

    pub(super) fn successes(&self) -> u64 {
        self.ended.len() as u64
    }

    /// The calls of the window at `now`.
    pub(super) fn window(&self, settings: &WindowSettings, now: u64) -> Tally {
        let good = match *settings {
            WindowSettings::Count { calls } => self.successes().min(u64::from(calls)),
            WindowSettings::Time { duration, buckets } => {
                let bucket = (nanos(duration) / u64::from(buckets)).max(1);
                let age = |call: &&Call| (now / bucket).saturating_sub(call.end / bucket);
                let counts = |call: &&Call| age(call) < u64::from(buckets);
                self.ended.iter().filter(counts).count() as u64
            }
        };
        Tally {
            good,
            ..Tally::default()
        }
    }

    pub(super) fn latency(&self) -> LatencyHistogram {
        let mut latency = LatencyHistogram::default();
        self.ended
            .iter()
            .for_each(|call| latency.record(call.elapsed));
        latency
    }
}
