//! What a call reads without a lock: one state word, and the few figures that the common paths compare with. Only
//! the holder of the lock writes here (all but the watch flag); a call that reads figures a moment old is
//! treated as if it had come that moment earlier, and whatever changes a state is decided again under the lock.

use std::sync::atomic::{
    AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
    Ordering::SeqCst, fence,
};

use super::control::{Control, shadows};
use crate::circuit_breaker::rules::nanos;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::EffectiveState;
use crate::circuit_breaker::rules::state_machine::{Excess, Limits};
use crate::circuit_breaker::rules::window::{Tally, Window};

/// Calls are refused until `recheck_at`.
const REFUSES: u64 = 1 << 3;
/// The override in force ends at `recheck_at`.
const TIMED: u64 = 1 << 4;
/// Calls pass, and the lock decides about each which part it plays.
const SHADOWS: u64 = 1 << 5;
/// Calls pass and are not counted.
const UNCOUNTED: u64 = 1 << 6;
/// The low bits that name the state in force, as its place in `EffectiveState::ALL`.
const STATE_MASK: u64 = 0b111;
/// Where the generation begins.
const GENERATION_SHIFT: u32 = 8;

/// The state word: the state in force, what it means for a call, and the generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word(u64);

impl Word {
    /// Returns the word that says what `control` holds.
    pub(crate) fn of(control: &Control) -> Self {
        let (state, machine) = (control.state(), control.machine());
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let refuses = matches!(
            state,
            EffectiveState::Open | EffectiveState::HalfOpen | EffectiveState::ForcedOpen
        );
        let place = EffectiveState::ALL.iter().position(|s| *s == state);
        Self(
            place.unwrap_or(0) as u64
                | flag(refuses, REFUSES)
                | flag(control.is_timed(), TIMED)
                | flag(shadows(state, machine.state()), SHADOWS)
                | flag(state == EffectiveState::Disabled, UNCOUNTED)
                | machine.generation() << GENERATION_SHIFT,
        )
    }

    /// Returns whether a call just passes and is counted: the common case.
    #[inline]
    pub(crate) fn passes(self) -> bool {
        self.0 & (REFUSES | TIMED | SHADOWS | UNCOUNTED) == 0
    }

    #[inline]
    pub(crate) fn refuses(self) -> bool {
        self.0 & REFUSES != 0
    }

    #[inline]
    pub(crate) fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    #[inline]
    pub(crate) fn shadows(self) -> bool {
        self.0 & SHADOWS != 0
    }

    #[inline]
    pub(crate) fn uncounted(self) -> bool {
        self.0 & UNCOUNTED != 0
    }

    #[inline]
    pub(crate) fn state(self) -> EffectiveState {
        EffectiveState::ALL[((self.0 & STATE_MASK) as usize).min(EffectiveState::ALL.len() - 1)]
    }

    /// Returns whether nothing but an override may have changed between the two.
    #[inline]
    pub(crate) fn same_generation(self, other: Self) -> bool {
        (self.0 ^ other.0) >> GENERATION_SHIFT == 0
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }
}

/// Two cache lines that every call reads and hardly any writes.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Hot {
    word: AtomicU64,
    recheck_at: AtomicU64,
    /// When the current bucket ends; zero sends every call the careful way (count windows).
    roll_at: AtomicU64,
    /// Calls that took longer are slow.
    slow_above: AtomicU64,
    /// A success might open the breaker, so it must look: the window has just moved on, or is stained and lacks
    /// volume.
    watch: AtomicBool,
    counts_calls: AtomicBool,
    open_nanos: AtomicU64,
    base_good: AtomicU64,
    base_bad: AtomicU64,
    base_slow: AtomicU64,
    minimum_calls: AtomicU64,
    failure_percent: AtomicU64,
    slow_percent: AtomicU64,
}

impl Hot {
    /// Publishes what the lock guards.
    pub(crate) fn publish(&self, control: &Control) {
        let machine = control.machine();
        let (settings, limits) = (machine.settings(), machine.limits());
        self.publish_settings(settings, limits);
        if let Window::Time(window) = machine.window() {
            let base = window.base();
            self.base_good.store(base.good, Relaxed);
            self.base_bad.store(base.bad, Relaxed);
            self.base_slow.store(base.slow, Relaxed);
            // Good calls may have left the window, so even a good call must look, once. Never taken back here:
            // a bad call that counts itself at this moment may just have set it.
            self.watch.store(true, Release);
            self.roll_at.store(window.next_roll(), Relaxed);
            self.counts_calls.store(false, Relaxed);
        } else {
            self.roll_at.store(0, Relaxed);
            self.counts_calls.store(true, Relaxed);
        }
        self.recheck_at.store(control.recheck_at(), Relaxed);
        // Last: who sees the new word sees the figures that belong to it.
        self.word.store(Word::of(control).0, Release);
    }

    fn publish_settings(&self, settings: &Settings, limits: Limits) {
        let slow_above = settings.slow_call_duration.map_or(u64::MAX, nanos);
        self.slow_above.store(slow_above, Relaxed);
        self.open_nanos
            .store(nanos(settings.open_duration), Relaxed);
        self.minimum_calls.store(limits.minimum_calls, Relaxed);
        self.failure_percent
            .store(limits.failure_percent.to_bits(), Relaxed);
        self.slow_percent
            .store(limits.slow_percent.to_bits(), Relaxed);
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    #[inline]
    pub(crate) fn recheck_at(&self) -> u64 {
        self.recheck_at.load(Relaxed)
    }

    #[inline]
    pub(crate) fn is_slow(&self, elapsed_nanos: u64) -> bool {
        elapsed_nanos > self.slow_above.load(Relaxed)
    }

    #[inline]
    pub(crate) fn bucket_is_over(&self, now: u64) -> bool {
        now >= self.roll_at.load(Relaxed)
    }

    #[inline]
    pub(crate) fn watches(&self) -> bool {
        self.watch.load(Relaxed)
    }

    pub(crate) fn counts_calls(&self) -> bool {
        self.counts_calls.load(Relaxed)
    }

    #[inline]
    pub(crate) fn open_nanos(&self) -> u64 {
        self.open_nanos.load(Relaxed)
    }

    /// Returns whether the window looks bad enough to ask the lock; notes whether successes must look too.
    /// The caller has counted its own call; `total` reads the judged calls so far.
    ///
    /// Of two calls that end at once, each must see the other or be seen by it, else both find one call too few
    /// and nobody opens the breaker. Hence the fences: count, fence, look.
    pub(crate) fn looks_bad(&self, total: impl Fn() -> Tally) -> Option<Excess> {
        fence(SeqCst);
        let limits = self.limits();
        let sum = total().since(self.base());
        if must_watch(sum, limits) {
            // Mostly it is set already, and a store would take the line from every other thread.
            if !self.watches() {
                self.watch.store(true, Relaxed);
            }
        } else if self.watch.load(Acquire) {
            self.watch.store(false, Relaxed);
            fence(SeqCst);
            // A bad call may have counted itself meanwhile, and left the flag because it was still set.
            if must_watch(total().since(self.base()), self.limits()) {
                self.watch.store(true, Relaxed);
            }
        }
        limits.excess(sum)
    }

    fn limits(&self) -> Limits {
        Limits {
            minimum_calls: self.minimum_calls.load(Relaxed),
            failure_percent: f64::from_bits(self.failure_percent.load(Relaxed)),
            slow_percent: f64::from_bits(self.slow_percent.load(Relaxed)),
        }
    }

    fn base(&self) -> Tally {
        Tally {
            good: self.base_good.load(Relaxed),
            bad: self.base_bad.load(Relaxed),
            slow: self.base_slow.load(Relaxed),
        }
    }
}

/// Returns whether a success could open the breaker: by being the call that makes the volume large enough.
fn must_watch(sum: Tally, limits: Limits) -> bool {
    (sum.bad > 0 || sum.slow > 0) && sum.calls() < limits.minimum_calls
}
