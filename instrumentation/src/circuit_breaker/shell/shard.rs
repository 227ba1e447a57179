//! The counts of a breaker, split by thread.

use std::sync::OnceLock;

use super::recorder::Recorder;
use crate::circuit_breaker::model::latency::LatencyHistogram;
use crate::circuit_breaker::rules::state::{FallbackOutcome, Outcome};
use crate::circuit_breaker::rules::window::Tally;
use crate::sharded::Sharded;
use crate::sharded::counter::Counter;

pub(crate) type Shards = Sharded<Shard>;

impl Sharded<Shard> {
    /// Returns the running totals of calls that count towards health.
    #[inline]
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        self.for_each(|shard| {
            let part = shard.tally();
            sum.good += part.good;
            sum.bad += part.bad;
            sum.slow += part.slow;
        });
        sum
    }

    pub(crate) fn total(&self, outcome: Outcome) -> u64 {
        self.sum(|shard| shard.totals[outcome as usize].get())
    }

    pub(crate) fn fallbacks(&self, outcome: FallbackOutcome) -> u64 {
        self.sum(|shard| shard.fallbacks[outcome as usize].get())
    }

    pub(crate) fn admitted(&self) -> u64 {
        self.sum(|shard| shard.admitted.get())
    }

    pub(crate) fn in_flight(&self) -> u64 {
        // Reads ended calls first; otherwise a call that ends between the two sums would count as minus one.
        let ended = self.sum(Shard::ended);
        self.admitted().saturating_sub(ended)
    }

    /// Returns the durations of the calls with `outcome`, if the protected code runs in such calls.
    pub(crate) fn latency(&self, outcome: Outcome) -> LatencyHistogram {
        let mut sum = LatencyHistogram::default();
        self.for_each(|shard| {
            if let Some(recorder) = shard.recorder(outcome) {
                recorder.read(&mut sum);
            }
        });
        sum
    }
}

/// The counts of one thread, aligned so that the adjacent-line prefetcher does not share them with the next one.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Shard {
    /// Admitted calls.
    pub(crate) admitted: Counter,
    /// Successful calls that count towards health.
    pub(crate) good: Counter,
    /// Failed calls that count towards health.
    pub(crate) bad: Counter,
    /// Slow calls that count towards health.
    pub(crate) slow: Counter,
    totals: [Counter; Outcome::ALL.len()],
    fallbacks: [Counter; FallbackOutcome::ALL.len()],
    /// Durations of failures, timeouts and ignored calls.
    rare: [OnceLock<Box<Recorder>>; 3],
    success: Recorder,
}

impl Shard {
    /// Counts a successful call.
    #[inline]
    pub(crate) fn success(&self, elapsed_nanos: u64) {
        self.totals[Outcome::Success as usize].add(1);
        self.success.record(elapsed_nanos);
    }

    /// Counts a call by its outcome, and its duration if the protected code ran.
    #[inline]
    pub(crate) fn ended_with(&self, outcome: Outcome, elapsed_nanos: u64) {
        self.totals[outcome as usize].add(1);
        if outcome == Outcome::Success {
            self.success.record(elapsed_nanos);
        } else if let Some(rare) = rare_place(outcome) {
            self.rare[rare]
                .get_or_init(Box::default)
                .record(elapsed_nanos);
        }
    }

    #[inline]
    fn tally(&self) -> Tally {
        Tally {
            good: self.good.get(),
            bad: self.bad.get(),
            slow: self.slow.get(),
        }
    }

    #[inline]
    pub(crate) fn rejected(&self) {
        self.totals[Outcome::Rejected as usize].add(1);
    }

    pub(crate) fn fallback(&self, outcome: FallbackOutcome) {
        self.fallbacks[outcome as usize].add(1);
    }

    fn ended(&self) -> u64 {
        let admitted = Outcome::ALL.into_iter().filter(|o| *o != Outcome::Rejected);
        admitted.map(|o| self.totals[o as usize].get()).sum()
    }

    fn recorder(&self, outcome: Outcome) -> Option<&Recorder> {
        match rare_place(outcome) {
            Some(rare) => self.rare[rare].get().map(AsRef::as_ref),
            None => (outcome == Outcome::Success).then_some(&self.success),
        }
    }
}

fn rare_place(outcome: Outcome) -> Option<usize> {
    match outcome {
        Outcome::Failure => Some(0),
        Outcome::Timeout => Some(1),
        Outcome::Ignored => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: more threads than shards with a single writer. Guarantees: no addition is lost.
    #[test]
    fn threads_without_a_shard_of_their_own_lose_nothing() {
        let shards = Shards::with_owned(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        shards.write(|shard| {
                            shard.admitted.add(1);
                            shard.ended_with(Outcome::Failure, 1_000_000);
                        });
                    }
                });
            }
        });
        assert_eq!(shards.total(Outcome::Failure), 40_000);
        assert_eq!(shards.latency(Outcome::Failure).count(), 40_000);
        assert_eq!(shards.in_flight(), 0);
    }
}
