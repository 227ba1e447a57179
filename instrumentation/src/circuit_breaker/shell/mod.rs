//! The shell around the rules: lets calls through and takes their results, without a lock while the breaker is
//! closed and calls succeed. A lock is taken to change the state, in half-open, and once per bucket of the window.

pub(crate) mod bulkhead;
pub(crate) mod clock;
pub(crate) mod control;
pub(crate) mod counter;
pub(crate) mod fast_path;
pub(crate) mod recorder;
pub(crate) mod shard;
pub(crate) mod thread_slot;

use std::sync::Arc;
use std::time::Duration;

use crate::circuit_breaker::call::errors::Rejected;
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{EffectiveState, Outcome};
use crate::circuit_breaker::rules::state_machine::{
    Admission, Ending, StateMachine, Ticket, judge,
};
use crate::circuit_breaker::watch::listener::Listeners;
use crate::circuit_breaker::watch::name::Name;
use crate::sync::{Mutex, RwLock};
use bulkhead::Bulkhead;
use clock::Clock;
use control::{Control, Override};
use fast_path::{Hot, Word};
use shard::{Shard, Shards};

/// A call that was let through: what the state word said then, and the slot if it is a probe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass {
    word: Word,
    probe: Option<u64>,
}

impl Pass {
    /// Returns the state in force when it was let through.
    pub(crate) fn state(self) -> EffectiveState {
        self.word.state()
    }

    /// Returns whether it is a probe.
    pub(crate) fn is_probe(self) -> bool {
        self.probe.is_some()
    }

    fn ticket(self) -> Ticket {
        Ticket {
            generation: self.word.generation(),
            probe: self.probe,
        }
    }
}

/// All of a breaker; `CircuitBreaker` is a handle on it.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) hot: Hot,
    pub(crate) shards: Shards,
    pub(crate) clock: Clock,
    pub(crate) name: Name,
    pub(crate) group: Name,
    pub(crate) control: Mutex<Control>,
    pub(crate) settings: RwLock<Arc<Settings>>,
    pub(crate) listeners: Arc<Listeners>,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) fallback_bulkhead: Bulkhead,
}

impl Shell {
    /// Starts closed.
    pub(crate) fn new(
        name: Name,
        group: Name,
        settings: Settings,
        listeners: Arc<Listeners>,
    ) -> Self {
        let (clock, shards, hot) = (Clock::start(), Shards::new(), Hot::default());
        let total = shards.tally();
        let machine = StateMachine::new(settings.clone(), clock.now(), total);
        let control = Control::new(name.clone(), group.clone(), machine);
        hot.publish(&control);
        Self {
            hot,
            shards,
            clock,
            name,
            group,
            control: Mutex::new(control),
            settings: RwLock::new(Arc::new(settings)),
            listeners,
            bulkhead: Bulkhead::default(),
            fallback_bulkhead: Bulkhead::default(),
        }
    }

    /// Decides about a call; reads the clock only where the answer depends on it.
    #[inline]
    pub(crate) fn admit(&self) -> Result<Pass, Rejected> {
        let word = self.hot.word();
        if word.passes() {
            return Ok(self.pass(word, None));
        }
        self.admit_special(word, self.clock.now())
    }

    /// As [`admit`](Self::admit), for a caller who has read the clock.
    #[inline]
    pub(crate) fn admit_at(&self, now: u64) -> Result<Pass, Rejected> {
        let word = self.hot.word();
        if word.passes() {
            return Ok(self.pass(word, None));
        }
        self.admit_special(word, now)
    }

    #[inline]
    fn admit_special(&self, word: Word, now: u64) -> Result<Pass, Rejected> {
        let recheck_at = self.hot.recheck_at();
        if word.refuses() && now < recheck_at {
            return Err(self.reject(word.state(), recheck_at - now));
        }
        let over = word.is_timed() && now >= recheck_at;
        if word.refuses() || word.shadows() || over {
            return self.admit_locked(now);
        }
        Ok(self.pass(word, None))
    }

    #[cold]
    fn admit_locked(&self, now: u64) -> Result<Pass, Rejected> {
        let (admission, word) = self.locked(|control| {
            let admission = control.admit(now);
            (admission, Word::of(control))
        });
        match admission {
            Admission::Pass => Ok(self.pass(word, None)),
            Admission::Probe(id) => Ok(self.pass(word, Some(id))),
            Admission::Refuse { until } => {
                Err(self.reject(word.state(), until.saturating_sub(now)))
            }
        }
    }

    #[inline]
    fn pass(&self, word: Word, probe: Option<u64>) -> Pass {
        if !word.uncounted() {
            self.shards.write(|shard| shard.admitted.add(1));
        }
        Pass { word, probe }
    }

    /// Counts a refused call, which nothing can let through for `nanos`.
    #[inline]
    fn reject(&self, state: EffectiveState, nanos: u64) -> Rejected {
        self.shards.write(Shard::rejected);
        // Where nobody can know (a probe under way, a forced state without an end) the hint is the time for which
        // the breaker opens.
        let wait = match state {
            EffectiveState::Open => nanos,
            _ => nanos.min(self.hot.open_nanos()),
        };
        Rejected {
            name: self.name.clone(),
            state,
            retry_after: Duration::from_nanos(wait),
        }
    }

    /// Takes the end of a call: `elapsed_nanos` long, over at `now`.
    #[inline]
    pub(crate) fn record(&self, pass: Pass, outcome: Outcome, elapsed_nanos: u64, now: u64) {
        let common = outcome == Outcome::Success
            && pass.probe.is_none()
            && !pass.word.uncounted()
            && pass.word.same_generation(self.hot.word())
            && !self.hot.bucket_is_over(now)
            && !self.hot.watches()
            && !self.hot.is_slow(elapsed_nanos);
        if !common {
            return self.record_carefully(pass, outcome, elapsed_nanos, now);
        }
        self.shards.write(|shard| {
            shard.good.add(1);
            shard.success(elapsed_nanos);
        });
    }

    #[inline(never)]
    fn record_carefully(&self, pass: Pass, outcome: Outcome, elapsed_nanos: u64, now: u64) {
        if pass.word.uncounted() {
            return;
        }
        // Refused by something further in, after this breaker let it through.
        let outcome = match outcome {
            Outcome::Rejected => Outcome::Cancelled,
            outcome => outcome,
        };
        let current = pass.word.same_generation(self.hot.word());
        let ending = Ending {
            outcome,
            elapsed_nanos,
            slow: executed(outcome) && self.hot.is_slow(elapsed_nanos),
        };
        let verdict = judge(outcome).filter(|_| current && pass.probe.is_none());
        if verdict.is_some() {
            self.roll(now, verdict == Some(true));
        }
        self.count(ending, verdict);
        if !current {
            return;
        }
        if pass.probe.is_some() || (verdict.is_some() && self.hot.counts_calls()) {
            self.record_locked(pass.ticket(), ending, now);
        } else if let Some(bad) = verdict
            && (bad || ending.slow || self.hot.watches())
            && self.hot.looks_bad(|| self.shards.tally()).is_some()
        {
            self.evaluate_locked(now);
        }
    }

    fn count(&self, ending: Ending, verdict: Option<bool>) {
        self.shards.write(|shard| {
            shard.ended_with(ending.outcome, ending.elapsed_nanos);
            if let Some(bad) = verdict {
                shard.good.add(u64::from(!bad));
                shard.bad.add(u64::from(bad));
                shard.slow.add(u64::from(ending.slow));
            }
        });
    }

    /// Moves the window on where its bucket is over. A successful call does not wait for a lock that another
    /// holds to do the same.
    fn roll(&self, now: u64, wait: bool) {
        if !self.hot.bucket_is_over(now) || self.hot.counts_calls() {
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
        control.roll(now, total);
        self.hot.publish(&control);
    }

    #[cold]
    fn record_locked(&self, ticket: Ticket, ending: Ending, now: u64) {
        self.locked(|control| {
            let total = self.shards.tally();
            control.record(ticket, ending, now, total);
        });
    }

    #[cold]
    fn evaluate_locked(&self, now: u64) {
        self.locked(|control| control.evaluate(now, self.shards.tally()));
    }

    /// Lets an override whose time is over end.
    pub(crate) fn expire(&self) {
        if self.hot.word().is_timed() {
            let now = self.clock.now();
            if now >= self.hot.recheck_at() {
                self.locked(|control| control.expire(now));
            }
        }
    }

    /// Forces a state.
    pub(crate) fn force(&self, by: Override) {
        let now = self.clock.now();
        self.locked(|control| control.force(by, now));
    }

    /// Ends the forced state.
    pub(crate) fn release(&self) {
        let now = self.clock.now();
        self.locked(|control| control.release(now));
    }

    /// Takes validated settings.
    pub(crate) fn apply(&self, settings: Settings) {
        let now = self.clock.now();
        self.locked(|control| {
            control.apply(settings.clone(), now, self.shards.tally());
            // Under the lock, so that of two changes the later wins in both places.
            *self.settings.write() = Arc::new(settings);
        });
    }

    /// Changes what the lock guards, publishes it, and notifies listeners once the lock is released.
    fn locked<R>(&self, change: impl FnOnce(&mut Control) -> R) -> R {
        let (result, transitions) = {
            let mut control = self.control.lock();
            let result = change(&mut control);
            self.hot.publish(&control);
            (result, control.take_transitions())
        };
        for transition in &transitions {
            self.listeners
                .notify(|listener| listener.transition(transition));
        }
        result
    }
}

/// Returns whether the protected code ran, so that its duration says something.
fn executed(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Success | Outcome::Failure | Outcome::Timeout | Outcome::Ignored
    )
}
