//! Running calls by the time of their start, so that calls that hang count as slow before they return. Used by breakers
//! with a limit of slow calls.
//!
//! The time from a start to the limit is divided into ticks. A slot counts the running calls that started in one tick;
//! once its tick is longer ago than the limit, all of them are overdue. When a slot is reused, its calls move to the
//! sum of overdue calls. A call costs two atomic exchanges, and is found overdue at most an eighth of the limit late,
//! or immediately if no other call started after it in its tick.

use crate::sync::atomic::{
    AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

/// Ticks from a start to the limit.
const TICKS: u64 = 8;
/// A slot is reused only after all of its calls are overdue.
const SLOTS: usize = TICKS as usize + 2;
/// The low bits of a word count calls, at most 16 million; the others hold the tick.
const COUNT_BITS: u32 = 24;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// The tick in which a call was counted; `NONE` for a call that is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick(pub(super) u64);

impl Tick {
    /// A call that is not counted.
    pub(crate) const NONE: Self = Self(0);
}

/// The running calls of the current generation of a closed breaker.
#[derive(Debug)]
pub(crate) struct Running {
    /// The first tick of this generation; calls of earlier ticks belong to earlier generations.
    first: AtomicU64,
    /// When the generation began.
    origin: AtomicU64,
    limit: AtomicU64,
    slots: [Slot; SLOTS],
    /// Number of calls of reused slots, with the first tick of their generation.
    overdue: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    /// A tick and the number of running calls that started in it.
    calls: AtomicU64,
    last_start: AtomicU64,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self {
            first: AtomicU64::new(1),
            origin: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            slots: std::array::from_fn(|_| Slot::default()),
            overdue: AtomicU64::new(0),
        }
    }

    /// Forgets every call and starts a generation with this limit. Only one thread at a time may call it.
    pub(crate) fn restart(&self, now: u64, limit: u64) {
        let newest = self
            .slots
            .iter()
            .map(|slot| tick_of(slot.calls.load(Acquire)));
        let first = newest.max().unwrap_or(0).max(self.first.load(Relaxed)) + SLOTS as u64;
        self.origin.store(now, Relaxed);
        self.limit.store(limit, Relaxed);
        // Stored last: a thread that still sees the earlier first tick counts its call for the earlier generation.
        self.first.store(first, Release);
        self.overdue.store(first << COUNT_BITS, Release);
    }

    /// Counts a call that starts.
    pub(crate) fn start(&self, now: u64) -> Tick {
        let (first, mut tick) = self.tick(now);
        let slot = &self.slots[(tick % SLOTS as u64) as usize];
        // Before the call is counted; otherwise a reader could find this call with the last start of earlier ones and
        // count it as overdue.
        slot.last_start.fetch_max(now, Relaxed);
        let mut known = slot.calls.load(Acquire);
        loop {
            // The clock of another thread may be ahead.
            tick = tick.max(tick_of(known));
            let taken_over = if tick_of(known) == tick {
                known
            } else {
                tick << COUNT_BITS
            };
            match slot
                .calls
                .compare_exchange_weak(known, taken_over + 1, AcqRel, Acquire)
            {
                Ok(_) => break,
                Err(other) => known = other,
            }
        }
        if tick_of(known) >= first && tick_of(known) < tick {
            self.change_overdue(first, |calls| calls + (known & COUNT_MASK));
        }
        Tick(tick)
    }

    /// Counts a call that ends.
    pub(crate) fn end(&self, tick: Tick) {
        let first = self.first.load(Acquire);
        if tick == Tick::NONE || tick.0 < first {
            return;
        }
        let slot = &self.slots[(tick.0 % SLOTS as u64) as usize];
        let ended = slot.calls.fetch_update(AcqRel, Acquire, |known| {
            (tick_of(known) == tick.0 && known & COUNT_MASK > 0).then(|| known - 1)
        });
        if ended.is_err() {
            self.change_overdue(first, |calls| calls.wrapping_sub(1) & COUNT_MASK);
        }
    }

    /// Returns the number of calls that have been running for longer than the limit.
    pub(crate) fn overdue(&self, now: u64) -> u64 {
        let (first, limit) = (self.first.load(Acquire), self.limit.load(Relaxed));
        let of_slot = |slot: &Slot| {
            let calls = slot.calls.load(Acquire);
            let longest = now.saturating_sub(slot.last_start.load(Relaxed));
            let counts = tick_of(calls) >= first && longest > limit;
            if counts { calls & COUNT_MASK } else { 0 }
        };
        let kept = self.overdue.load(Acquire);
        let kept = if tick_of(kept) == first {
            signed(kept & COUNT_MASK)
        } else {
            0
        };
        let sum = self.slots.iter().map(of_slot).sum::<u64>() as i64 + kept;
        sum.max(0) as u64
    }

    fn tick(&self, now: u64) -> (u64, u64) {
        let first = self.first.load(Acquire);
        let length = (self.limit.load(Relaxed) / TICKS).max(1);
        let since = now.saturating_sub(self.origin.load(Relaxed));
        (first, first + since / length)
    }

    /// Changes the sum of overdue calls, unless a new generation has begun.
    fn change_overdue(&self, first: u64, change: impl Fn(u64) -> u64) {
        self.overdue
            .fetch_update(AcqRel, Acquire, |known| {
                let changed = change(known & COUNT_MASK) & COUNT_MASK;
                (tick_of(known) == first).then_some(first << COUNT_BITS | changed)
            })
            .ok();
    }
}

fn tick_of(word: u64) -> u64 {
    word >> COUNT_BITS
}

/// The sum may be negative for a moment: a call may end before the calls of its slot have been added.
fn signed(count: u64) -> i64 {
    let half = 1 << (COUNT_BITS - 1);
    if count < half {
        count as i64
    } else {
        count as i64 - (1 << COUNT_BITS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 800;

    fn running() -> Running {
        let running = Running::new();
        running.restart(0, LIMIT);
        running
    }

    #[test]
    fn calls_are_overdue_after_the_limit_until_they_end() {
        let running = running();
        let calls = [0, 0, 50, 900].map(|now| running.start(now));
        assert_eq!(
            running.overdue(850),
            0,
            "one of the same tick started at 50"
        );
        assert_eq!(running.overdue(851), 3);
        running.end(calls[0]);
        assert_eq!(running.overdue(1_700), 2);
        assert_eq!(running.overdue(1_701), 3);
        for call in &calls[1..] {
            running.end(*call);
        }
        assert_eq!(running.overdue(10_000), 0);
    }

    #[test]
    fn a_new_generation_forgets_earlier_calls() {
        let running = running();
        let old = running.start(0);
        running.restart(100, LIMIT);
        let new = running.start(100);
        assert_eq!(running.overdue(2_000), 1);
        running.end(old);
        assert_eq!(running.overdue(2_000), 1);
        running.end(new);
        assert_eq!(running.overdue(2_000), 0);
    }

    /// Scenario: threads start and end calls while the clock runs past every slot many times.
    #[test]
    fn no_call_is_lost_between_threads() {
        let running = running();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let running = &running;
                scope.spawn(move || {
                    let mut open = Vec::new();
                    for n in 0..20_000_u64 {
                        open.push(running.start(n * 7 + thread));
                        if open.len() > 60 {
                            running.end(open.remove((n % 60) as usize));
                        }
                    }
                });
            }
        });
        // 60 calls of each thread have not ended.
        assert_eq!(running.overdue(u64::MAX), 240);
    }

    /// Scenario: calls that end immediately start far apart, so that slots are reused, while another thread reads.
    /// Guarantees: none is found overdue.
    #[test]
    fn a_call_that_starts_is_not_overdue() {
        let (running, clock) = (running(), AtomicU64::new(0));
        let reads = |now: u64| assert_eq!(running.overdue(now), 0, "at {now}");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for now in (LIMIT..200_000 * LIMIT).step_by(LIMIT as usize + 1) {
                    clock.store(now, Release);
                    running.end(running.start(now));
                }
                clock.store(u64::MAX, Release);
            });
            let times = std::iter::repeat_with(|| clock.load(Acquire));
            times.take_while(|now| *now < u64::MAX).for_each(reads);
        });
    }

    proptest! {
        /// Guarantees: the count equals that of a list of starts, without those in the same tick as a call that is not
        /// yet overdue.
        #[test]
        fn it_agrees_with_a_list(steps in prop::collection::vec((0_u64..300, any::<bool>()), 1..200)) {
            let (running, mut list, mut now) = (running(), Vec::new(), 0);
            for (wait, starts) in steps {
                now += wait;
                if starts || list.is_empty() {
                    list.push((now, running.start(now)));
                } else {
                    let (_, tick) = list.swap_remove(wait as usize % list.len());
                    running.end(tick);
                }
                let overdue = |by: u64| list.iter().filter(|(start, _)| now - start > by).count() as u64;
                let found = running.overdue(now);
                prop_assert!(found <= overdue(LIMIT), "never early");
                prop_assert!(found >= overdue(LIMIT + LIMIT / TICKS), "an eighth late at most");
            }
        }
    }
}
