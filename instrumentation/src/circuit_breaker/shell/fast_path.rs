//! The values that a call reads without a lock: the state word and the few numbers for the common path. Only the holder
//! of the lock writes them (except the watch flag). A call that reads slightly old numbers is treated as if it had
//! arrived slightly earlier; anything that changes the state is decided again under the lock.

use std::time::Duration;

use crate::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
    Ordering::SeqCst, fence,
};

use super::control::{Control, shadows};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, State};
use crate::circuit_breaker::rules::state_machine::{Excess, Limits, StateMachine};
use crate::circuit_breaker::rules::window::{Tally, Window};
use crate::time::nanos;

/// Calls are refused until `recheck_at`.
pub(super) const REFUSES: u64 = 1 << 3;
/// The override in force ends at `recheck_at`.
pub(super) const TIMED: u64 = 1 << 4;
/// Calls pass, but each takes the lock to find out whether it is a probe.
pub(super) const SHADOWS: u64 = 1 << 5;
/// Calls pass and are not counted.
pub(super) const UNCOUNTED: u64 = 1 << 6;
/// The breaker is closed, and each running call is counted, to find calls that hang.
pub(super) const TRACKED: u64 = 1 << 7;
/// The low bits hold the state in force as its index in `EffectiveState::ALL`.
const STATE_MASK: u64 = 0b111;
const GENERATION_SHIFT: u32 = 8;

/// The state in force, how to treat a call, and the generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateWord(u64);

impl StateWord {
    pub(super) const CLOSED: Self = Self(0);

    /// Encodes the state of `control`.
    pub(crate) fn of(control: &Control) -> Self {
        let (state, machine) = (control.state(), &control.machine);
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        let place = EffectiveState::ALL.iter().position(|s| *s == state);
        Self(
            place.unwrap_or(0) as u64
                | flag(state.refuses(), REFUSES)
                | flag(control.is_timed(), TIMED)
                | flag(shadows(state, machine.state()), SHADOWS)
                | flag(state == EffectiveState::Disabled, UNCOUNTED)
                | flag(tracks(state, machine), TRACKED)
                | machine.generation() << GENERATION_SHIFT,
        )
    }

    /// Whether a call passes and is counted without further checks: the common case.
    #[inline]
    pub(crate) fn passes(self) -> bool {
        !self.has(REFUSES | TIMED | SHADOWS | UNCOUNTED | TRACKED)
    }

    /// Whether any of `flags` is set.
    #[inline]
    pub(crate) fn has(self, flags: u64) -> bool {
        self.0 & flags != 0
    }

    #[inline]
    pub(crate) fn state(self) -> EffectiveState {
        EffectiveState::ALL[((self.0 & STATE_MASK) as usize).min(EffectiveState::ALL.len() - 1)]
    }

    /// Returns whether the two differ at most in the override.
    #[inline]
    pub(crate) fn same_generation(self, other: Self) -> bool {
        (self.0 ^ other.0) >> GENERATION_SHIFT == 0
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }
}

/// Longer than any setting.
const NO_TIMEOUT: u64 = u64::MAX;

/// Two cache lines that every call reads and that are rarely written.
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct FastPath {
    word: AtomicU64,
    recheck_at: AtomicU64,
    /// End of the current bucket; zero (count windows) sends every call through `record_carefully`.
    roll_at: AtomicU64,
    /// Calls that took longer are slow.
    slow_above: AtomicU64,
    /// A success could open the breaker and must evaluate the window: the window has just rolled, or it has bad calls
    /// but not yet the minimum number of calls.
    watch: AtomicBool,
    counts_calls: AtomicBool,
    full_is_failure: AtomicBool,
    unfinished_is_slow: AtomicBool,
    max_concurrent: AtomicU32,
    /// The timeout of the calls of commands; `NO_TIMEOUT` for none.
    timeout: AtomicU64,
    open_nanos: AtomicU64,
    base_good: AtomicU64,
    base_bad: AtomicU64,
    base_slow: AtomicU64,
    minimum_calls: AtomicU64,
    failure_percent: AtomicU64,
    slow_percent: AtomicU64,
}

impl FastPath {
    /// Publishes the values that the lock guards.
    pub(crate) fn publish(&self, control: &Control) {
        let machine = &control.machine;
        let (settings, limits) = (machine.settings(), machine.limits());
        self.publish_settings(settings, limits);
        if let Window::Time(window) = machine.window() {
            let base = window.base();
            self.base_good.store(base.good, Relaxed);
            self.base_bad.store(base.bad, Relaxed);
            self.base_slow.store(base.slow, Relaxed);
            // Good calls may have left the window, so the next call must evaluate it even if it succeeds. Never cleared
            // here: a bad call that counts itself at this moment may just have set it.
            self.watch.store(true, Release);
            self.roll_at.store(window.next_roll(), Relaxed);
            self.counts_calls.store(false, Relaxed);
        } else {
            self.roll_at.store(0, Relaxed);
            self.counts_calls.store(true, Relaxed);
        }
        self.recheck_at.store(control.recheck_at(), Relaxed);
        // Stored last: a thread that sees the new word also sees the numbers that belong to it.
        self.word.store(StateWord::of(control).0, Release);
    }

    fn publish_settings(&self, settings: &Settings, limits: Limits) {
        self.slow_above.store(settings.slow_above(), Relaxed);
        self.unfinished_is_slow
            .store(settings.count_unfinished_slow_calls, Relaxed);
        self.full_is_failure
            .store(settings.bulkhead_full_is_failure, Relaxed);
        self.max_concurrent.store(settings.max_concurrent, Relaxed);
        let timeout = settings.timeout.map_or(NO_TIMEOUT, nanos);
        self.timeout.store(timeout, Relaxed);
        self.open_nanos
            .store(nanos(settings.open_duration), Relaxed);
        self.minimum_calls.store(limits.minimum_calls, Relaxed);
        self.failure_percent
            .store(limits.failure_percent.to_bits(), Relaxed);
        self.slow_percent
            .store(limits.slow_percent.to_bits(), Relaxed);
    }

    #[inline]
    pub(crate) fn word(&self) -> StateWord {
        StateWord(self.word.load(Acquire))
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

    pub(crate) fn full_is_failure(&self) -> bool {
        self.full_is_failure.load(Relaxed)
    }

    /// Returns whether a slow call that its caller dropped counts as slow.
    pub(crate) fn unfinished_is_slow(&self) -> bool {
        self.unfinished_is_slow.load(Relaxed)
    }

    /// Returns the timeout of the calls of commands.
    #[inline]
    pub(super) fn call_timeout(&self) -> Option<Duration> {
        let timeout = self.timeout.load(Relaxed);
        (timeout != NO_TIMEOUT).then(|| Duration::from_nanos(timeout))
    }

    /// Returns the number of slots for the calls of commands.
    #[inline]
    pub(super) fn call_slots(&self) -> u32 {
        self.max_concurrent.load(Relaxed)
    }

    #[inline]
    pub(crate) fn open_nanos(&self) -> u64 {
        self.open_nanos.load(Relaxed)
    }

    /// Returns the limit that the window seems to exceed; the caller checks it under the lock. Also decides whether
    /// successes must evaluate the window. The caller has counted its own call; `total` reads the running totals.
    pub(crate) fn looks_bad(&self, total: impl Fn() -> Tally) -> Option<Excess> {
        // Of two calls that end at the same time, each must see the other or be seen by it; otherwise both would find
        // one call too few, and neither would open the breaker. Hence: count, fence, evaluate.
        fence(SeqCst);
        let limits = self.limits();
        let sum = total().since(self.base());
        if must_watch(sum, limits) {
            // Usually it is already set, and a store would invalidate the cache line in every other core.
            if !self.watches() {
                self.watch.store(true, Relaxed);
            }
        } else if self.watch.load(Acquire) {
            self.watch.store(false, Relaxed);
            fence(SeqCst);
            // Meanwhile a bad call may have counted itself and not set the flag because it was still set.
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

fn tracks(state: EffectiveState, machine: &StateMachine) -> bool {
    let counts = !matches!(state, EffectiveState::Disabled | EffectiveState::ForcedOpen);
    counts && machine.state() == State::Closed && machine.settings().slow_before_return().is_some()
}

/// Returns whether a success could open the breaker by completing the minimum number of calls.
fn must_watch(sum: Tally, limits: Limits) -> bool {
    (sum.bad > 0 || sum.slow > 0) && sum.calls() < limits.minimum_calls
}
