//! The counts of a breaker, split by thread. Threads that call often each write their own shard without atomic
//! additions; all others share one under a lock. Readers add up the shards.

use std::sync::OnceLock;
use std::thread::available_parallelism;

use super::counter::Counter;
use super::recorder::Recorder;
use super::thread_slot::thread_slot;
use crate::circuit_breaker::model::latency::LatencyHistogram;
use crate::circuit_breaker::rules::state::{FallbackOutcome, Outcome};
use crate::circuit_breaker::rules::window::Tally;
use crate::sync::Mutex;

/// Most shards with a single writer per breaker; each takes 16 bytes until its first write.
const MAX_OWNED: usize = 128;

/// Shards with a single writer that every breaker has room for.
const FIRST_OWNED: usize = 8;

/// Every this many writes to the shared shard, the writing thread gets its own shard. Threads that call often get one
/// soon, and many threads that call rarely share one.
const WRITES_PER_PROMOTION: u32 = 256;

#[derive(Debug)]
pub(crate) struct Shards {
    /// The shards of the first threads are stored inline, which saves a pointer per write.
    first: [OnceLock<Box<Shard>>; FIRST_OWNED],
    more: OnceLock<Box<[OnceLock<Box<Shard>>]>>,
    /// Most shards with a single writer.
    owned_len: usize,
    shared: Box<Shard>,
    /// Locked by the thread that writes the shared shard; holds the number of writes since the last promotion.
    shared_writer: Mutex<u32>,
}

impl Shards {
    /// Creates one shard, with room for twice as many as there are cores.
    pub(crate) fn new() -> Self {
        let cores = available_parallelism().map_or(4, usize::from);
        Self::with_owned((cores * 2).clamp(FIRST_OWNED, MAX_OWNED))
    }

    fn with_owned(owned_len: usize) -> Self {
        Self {
            first: std::array::from_fn(|_| OnceLock::new()),
            more: OnceLock::new(),
            owned_len,
            shared: Box::default(),
            shared_writer: Mutex::new(0),
        }
    }

    /// Calls `write` with a shard that no other thread is writing.
    #[inline]
    pub(crate) fn write(&self, write: impl FnOnce(&Shard)) {
        let slot = thread_slot();
        let own = match self.first.get(slot) {
            Some(own) => own.get(),
            None => self.more(slot).and_then(OnceLock::get),
        };
        match own {
            Some(shard) => write(shard),
            None => self.write_shared(write),
        }
    }

    fn more(&self, slot: usize) -> Option<&OnceLock<Box<Shard>>> {
        self.more.get()?.get(slot.checked_sub(FIRST_OWNED)?)
    }

    #[inline(never)]
    fn write_shared(&self, write: impl FnOnce(&Shard)) {
        let mut writes = self.shared_writer.lock();
        write(&self.shared);
        *writes += 1;
        if *writes >= WRITES_PER_PROMOTION {
            *writes = 0;
            self.promote();
        }
    }

    /// Gives this thread its own shard, if there is room.
    #[cold]
    fn promote(&self) {
        let slot = thread_slot();
        if slot >= self.owned_len {
            return;
        }
        let own = self.first.get(slot).or_else(|| {
            let new = || {
                (FIRST_OWNED..self.owned_len)
                    .map(|_| OnceLock::new())
                    .collect()
            };
            self.more.get_or_init(new);
            self.more(slot)
        });
        if let Some(own) = own {
            own.get_or_init(Box::default);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Shard> {
        let more = self.more.get().into_iter().flatten();
        let owned = self.first.iter().chain(more);
        let owned = owned.filter_map(OnceLock::get).map(AsRef::as_ref);
        owned.chain(std::iter::once(&*self.shared))
    }

    fn sum(&self, count: impl Fn(&Shard) -> u64) -> u64 {
        self.iter().map(count).sum()
    }

    /// Returns the running totals of calls that count towards health. It is called for every bad call, so it loops over
    /// slices instead of a chain of iterators.
    #[inline]
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = self.shared.tally();
        let mut add = |shards: &[OnceLock<Box<Shard>>]| {
            for shard in shards.iter().filter_map(OnceLock::get) {
                let part = shard.tally();
                sum.good += part.good;
                sum.bad += part.bad;
                sum.slow += part.slow;
            }
        };
        add(&self.first);
        if let Some(more) = self.more.get() {
            add(more);
        }
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
        for shard in self.iter() {
            if let Some(recorder) = shard.recorder(outcome) {
                recorder.read(&mut sum);
            }
        }
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
