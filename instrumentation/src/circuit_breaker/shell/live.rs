//! A breaker with everything that it needs to judge calls. It takes no lock while it is closed and calls succeed. It
//! takes the lock to change the state, in half-open, and once per bucket of the window.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::control::Control;
use super::fast_path::{FastPath, REFUSES, SHADOWS, StateWord, TIMED, TRACKED, UNCOUNTED};
use super::pass::Pass;
use super::running::Running;
use super::shard::{Shard, Shards};
use super::{Observer, Shell, timer};
use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::rules::call::{Admission, Ending, Ticket};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, Outcome, Override, State};
use crate::circuit_breaker::rules::state_machine::StateMachine;
use crate::circuit_breaker::rules::verdict::judge;
use crate::name::Name;
use crate::sync::{Mutex, RwLock};
use crate::time::MAX_DURATION;
use crate::time::clock::Clock;
use crate::time::nanos;

/// Delay before the timer looks again at a breaker that is already due; the clock of the timer's thread may differ from
/// the breaker's.
const RETRY: Duration = Duration::from_millis(10);

/// The state of a breaker with more than a few calls to remember.
#[derive(Debug)]
pub(crate) struct Live {
    pub(super) fast_path: FastPath,
    pub(super) shards: Shards,
    pub(super) clock: Clock,
    name: Name,
    /// The name interned by the first refusal. Every refusal carries it, and a shared reference count would cost more
    /// than the rest of a refusal.
    refused_name: OnceLock<Name>,
    pub(super) control: Mutex<Control>,
    pub(super) settings: RwLock<Arc<Settings>>,
    pub(super) running: OnceLock<Box<Running>>,
    observer: Arc<dyn Observer>,
    /// The breaker that owns this, for the timer.
    shell: Weak<Shell>,
}

impl Live {
    /// Creates a closed breaker whose window begins when `shell` was created.
    pub(super) fn new(shell: &Shell) -> Self {
        let settings = Arc::clone(&shell.first_settings);
        let (shards, fast_path) = (Shards::new(), FastPath::default());
        let machine = StateMachine::new(Arc::clone(&settings), 0, shards.tally(), seed());
        let name = shell.name.clone();
        let control = Control::new(name.clone(), shell.group.clone(), shell.created, machine);
        fast_path.publish(&control);
        let live = Self {
            fast_path,
            shards,
            clock: shell.clock,
            name,
            refused_name: OnceLock::new(),
            control: Mutex::new(control),
            settings: RwLock::new(settings),
            running: OnceLock::new(),
            observer: Arc::clone(&shell.observer),
            shell: Weak::clone(&shell.me),
        };
        live.restart_running();
        live
    }

    /// Admits a call if the decision does not depend on the time: the common case.
    #[inline]
    pub(super) fn admit_plain(&self) -> Option<Pass> {
        let word = self.fast_path.word();
        word.passes().then(|| {
            self.shards.write(|shard| shard.admitted.add(1));
            Pass::plain(word)
        })
    }

    /// Refuses a call if the breaker is open at `now`.
    // Called in two places, so that otherwise the compiler does not inline it, and the refusal is copied.
    #[inline(always)]
    pub(super) fn refuse_at(&self, now: u64) -> Option<Rejected> {
        let word = self.fast_path.word();
        let recheck_at = self.fast_path.recheck_at();
        (word.has(REFUSES) && now < recheck_at).then(|| self.reject(word.state(), recheck_at - now))
    }

    /// Admits or refuses a call.
    #[inline]
    pub(super) fn admit_at(&self, now: u64) -> Result<Pass, Rejected> {
        if let Some(refused) = self.refuse_at(now) {
            return Err(refused);
        }
        let word = self.fast_path.word();
        let recheck_at = self.fast_path.recheck_at();
        let over = word.has(TIMED) && now >= recheck_at;
        if word.has(REFUSES | SHADOWS) || over {
            return self.admit_locked(now);
        }
        // If it has opened the breaker, the state word has changed.
        if word.has(TRACKED) && self.finds_hanging(now) {
            return self.admit_locked(now);
        }
        Ok(self.pass(word, None, now))
    }

    #[cold]
    fn admit_locked(&self, now: u64) -> Result<Pass, Rejected> {
        let (admission, word) = self.locked(|control| {
            let admission = control.admit(now, self.shards.tally());
            (admission, StateWord::of(control))
        });
        match admission {
            Admission::Pass => Ok(self.pass(word, None, now)),
            Admission::Probe(id) => Ok(self.pass(word, Some(id), now)),
            Admission::Refuse { until } => {
                Err(self.reject(word.state(), until.saturating_sub(now)))
            }
        }
    }

    #[inline]
    pub(super) fn pass(&self, word: StateWord, probe: Option<u64>, started: u64) -> Pass {
        if !word.has(UNCOUNTED) {
            self.shards.write(|shard| shard.admitted.add(1));
        }
        match (probe, self.running.get()) {
            (Some(slot), _) => Pass::probe(word, slot),
            (None, Some(running)) if word.has(TRACKED) => {
                Pass::tracked(word, running.start(started))
            }
            _ => Pass::plain(word),
        }
    }

    /// Counts a refused call; no call can be admitted for `nanos`.
    #[inline]
    fn reject(&self, state: EffectiveState, nanos: u64) -> Rejected {
        self.shards.write(Shard::rejected);
        // If the end is unknown (a probe is running, a forced state does not expire), the hint is the open time.
        let wait = match state {
            EffectiveState::Open => nanos,
            _ => nanos.min(self.fast_path.open_nanos()),
        };
        Rejected {
            name: self.refused_name().clone(),
            state,
            retry_after: Duration::from_nanos(wait),
        }
    }

    #[inline]
    fn refused_name(&self) -> &Name {
        self.refused_name.get_or_init(|| Name::intern(&self.name))
    }

    /// Records a call that took `elapsed_nanos` and ended at `now`.
    #[inline]
    pub(super) fn record(&self, pass: &Pass, outcome: Outcome, elapsed_nanos: u64, now: u64) {
        let common = outcome == Outcome::Success
            && pass.is_plain()
            && !pass.word.has(UNCOUNTED)
            && pass.word.same_generation(self.fast_path.word())
            && !self.fast_path.bucket_is_over(now)
            && !self.fast_path.watches()
            && !self.fast_path.is_slow(elapsed_nanos);
        if !common {
            return self.record_carefully(pass, outcome, elapsed_nanos, now);
        }
        self.shards.write(|shard| {
            shard.good.add(1);
            shard.success(elapsed_nanos);
        });
    }

    #[inline(never)]
    fn record_carefully(&self, pass: &Pass, outcome: Outcome, elapsed_nanos: u64, now: u64) {
        if pass.word.has(UNCOUNTED) {
            return;
        }
        // An inner breaker refused after this one had admitted the call.
        let outcome = match outcome {
            Outcome::Rejected => Outcome::Cancelled,
            outcome => outcome,
        };
        let current = pass.word.same_generation(self.fast_path.word());
        let ending = Ending {
            outcome,
            elapsed_nanos,
            slow: self.may_be_slow(outcome) && self.fast_path.is_slow(elapsed_nanos),
        };
        if let Some(running) = self.running.get() {
            running.end(pass.tick());
        }
        let verdict =
            judge(ending, self.fast_path.full_is_failure()).filter(|_| current && !pass.is_probe());
        if verdict.is_some() {
            self.roll(now, verdict == Some(true));
        }
        self.count(&ending, verdict);
        if !current && !pass.is_probe() {
            return;
        }
        if pass.is_probe() || (verdict.is_some() && self.fast_path.counts_calls()) {
            self.record_locked(pass.ticket(), ending, now);
        } else if let Some(bad) = verdict
            && (bad || ending.slow || self.fast_path.watches())
            && self.looks_bad(self.hanging(now))
        {
            self.evaluate_locked(now);
        }
    }

    /// Counts a call that another library admitted or refused; it changes no state.
    pub(super) fn count_foreign(&self, outcome: Outcome, elapsed_nanos: u64) {
        if outcome == Outcome::Rejected {
            return self.shards.write(Shard::rejected);
        }
        let ending = Ending {
            outcome,
            elapsed_nanos,
            slow: self.may_be_slow(outcome) && self.fast_path.is_slow(elapsed_nanos),
        };
        self.roll(self.clock.now(), true);
        self.shards.write(|shard| shard.admitted.add(1));
        let verdict = judge(ending, self.fast_path.full_is_failure());
        self.count(&ending, verdict);
    }

    fn count(&self, ending: &Ending, verdict: Option<bool>) {
        self.shards.write(|shard| {
            shard.ended_with(ending.outcome, ending.elapsed_nanos);
            if let Some(bad) = verdict {
                shard.good.add(u64::from(!bad));
                shard.bad.add(u64::from(bad));
                shard.slow.add(u64::from(ending.slow));
            }
        });
    }

    /// Advances the window if its bucket is over. A successful call does not wait for the lock because the thread that
    /// holds it does the same.
    pub(super) fn roll(&self, now: u64, wait: bool) {
        if !self.fast_path.bucket_is_over(now) || self.fast_path.counts_calls() {
            return;
        }
        let control = if wait {
            Some(self.control.lock())
        } else {
            self.control.try_lock()
        };
        let Some(mut control) = control else {
            return;
        };
        let total = self.shards.tally();
        control.machine.roll(now, total);
        self.fast_path.publish(&control);
    }

    #[cold]
    fn record_locked(&self, ticket: Ticket, ending: Ending, now: u64) {
        self.locked(|control| {
            let total = self.shards.tally();
            control.record(ticket, ending, now, total, self.hanging(now));
        });
    }

    #[cold]
    pub(super) fn evaluate_locked(&self, now: u64) {
        self.locked(|control| control.evaluate(now, self.shards.tally(), self.hanging(now)));
    }

    /// Makes the changes that are due by time without a call: the end of an override, of open and of half-open.
    pub(super) fn catch_up(&self) {
        let word = self.fast_path.word();
        if !word.has(TIMED | REFUSES | SHADOWS | UNCOUNTED | TRACKED) {
            return;
        }
        let now = self.clock.now();
        if word.has(TRACKED) {
            self.finds_hanging(now);
        }
        let is_over = word.has(TIMED | REFUSES) && now >= self.fast_path.recheck_at();
        // Under an override that calls do not pass through, the word says nothing about the computed state.
        let is_due = || self.due().is_some_and(|due| now >= due);
        if word.has(SHADOWS) || is_over || (word.has(REFUSES | UNCOUNTED) && is_due()) {
            self.locked(|control| {
                control.expire(now);
                control.advance(now, false, self.shards.tally());
            });
        }
    }

    /// Returns when the next change is due by time, without a call.
    pub(super) fn due(&self) -> Option<u64> {
        self.control.lock().machine.due()
    }

    /// Schedules the timer for this breaker at `due`, or a little later if `due` has passed, because the timer's clock
    /// may differ.
    pub(super) fn wake_at(&self, due: u64) {
        let delay = match due.saturating_sub(self.clock.now()) {
            0 => RETRY,
            nanos => Duration::from_nanos(nanos),
        };
        timer::wake_after(delay, &self.shell);
    }

    /// Returns whether the breaker is open and its open time is over, so that the next call is a probe.
    pub(super) fn is_due(&self) -> bool {
        let now = self.clock.now();
        let open_until = self.control.lock().machine.open_until();
        open_until.is_some_and(|until| now >= until)
    }

    /// Enters a computed state on request.
    pub(super) fn transition(&self, to: State, wait: Option<Duration>, why: &str) {
        let now = self.clock.now();
        let wait = wait.map(|wait| nanos(wait.clamp(Duration::from_nanos(1), MAX_DURATION)));
        self.locked(|control| control.enter(to, wait, why, now, self.shards.tally()));
    }

    /// Enters a computed state that another library reports, unless the breaker is in it.
    pub(super) fn enter(&self, state: State, why: &str) {
        let now = self.clock.now();
        self.locked(|control| {
            // Two callbacks may report one transition.
            if control.machine.state() != state {
                control.enter(state, None, why, now, self.shards.tally());
            }
        });
    }

    pub(super) fn reset(&self, why: &str) {
        let now = self.clock.now();
        self.locked(|control| control.reset(why, now, self.shards.tally()));
    }

    pub(super) fn force(&self, by: Override) {
        let now = self.clock.now();
        self.locked(|control| control.force(by, now));
    }

    pub(super) fn release(&self) {
        let now = self.clock.now();
        self.locked(|control| control.release(now));
    }

    /// Replaces the settings by valid ones that `change` makes of those in force, in one step; `None` leaves them.
    pub(super) fn change(&self, change: impl FnOnce(&Settings) -> Option<Settings>) -> bool {
        let now = self.clock.now();
        self.locked(|control| {
            let in_force = Arc::clone(&self.settings.read());
            let Some(settings) = change(&in_force).map(Arc::new) else {
                return false;
            };
            let total = self.shards.tally();
            control.machine.apply(Arc::clone(&settings), now, total);
            // Under the lock, so that the same one of two concurrent changes wins in both places.
            *self.settings.write() = settings;
            self.restart_running();
            true
        })
    }

    /// Changes the guarded state, publishes it, and reports transitions after the lock is released.
    pub(super) fn locked<R>(&self, change: impl FnOnce(&mut Control) -> R) -> R {
        let (result, transitions) = {
            let mut control = self.control.lock();
            let (due, generation) = (control.machine.due(), control.machine.generation());
            let result = change(&mut control);
            if control.machine.generation() != generation {
                self.restart_running();
            }
            self.fast_path.publish(&control);
            let next = control.machine.due().filter(|next| Some(*next) != due);
            if let Some(next) = next {
                self.wake_at(next);
            }
            (result, control.take_transitions())
        };
        for transition in &transitions {
            self.observer.transition(transition);
        }
        result
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        timer::forget(&self.shell);
    }
}

/// Returns a random number, so that breakers of this and other processes differ.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
