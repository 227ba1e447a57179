//! The shell around the rules: admits calls and records their outcomes. A breaker starts small (`cold`), and most
//! breakers with names from outside stay small; it becomes `live` with more calls or with the first one that did not
//! succeed.

pub(crate) mod bulkhead;
mod cold;
pub(crate) mod control;
pub(crate) mod fast_path;
mod hanging;
mod live;
mod pass;
pub(crate) mod recorder;
mod running;
pub(crate) mod shard;
pub(crate) mod shared;
mod snapshot;
mod timer;

use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::fmt;
use std::panic::RefUnwindSafe;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use crate::circuit_breaker::model::refusal::Rejected;
use crate::circuit_breaker::model::transition::Transition;
use crate::circuit_breaker::rules::origin::{Origins, SettingOrigin};
use crate::circuit_breaker::rules::settings::Settings;
use crate::circuit_breaker::rules::state::{
    EffectiveState, FallbackOutcome, Outcome, Override, State,
};
use crate::name::Name;
use crate::sync::Mutex;
use crate::time::clock::Clock;
use bulkhead::Bulkhead;
use cold::Cold;
use live::Live;
pub(crate) use pass::Pass;
use shared::SharedCounts;

/// Receives the events of a breaker, without a lock held. `RefUnwindSafe` lets handles cross `catch_unwind`.
pub(crate) trait Observer: fmt::Debug + Send + Sync + RefUnwindSafe {
    fn transition(&self, transition: &Transition);

    fn settings_changed(&self, shell: &Arc<Shell>);
}

/// The breaker itself; `CircuitBreaker` is a handle to it.
#[derive(Debug)]
pub(crate) struct Shell {
    live: OnceLock<Box<Live>>,
    cold: Mutex<Cold>,
    pub(crate) clock: Clock,
    pub(crate) created: SystemTime,
    pub(crate) name: Name,
    pub(crate) group: Name,
    /// The settings that the breaker was built with.
    pub(crate) first_settings: Arc<Settings>,
    /// Where the program's settings come from.
    origins: AtomicU64,
    observer: Arc<dyn Observer>,
    /// A reference to itself, for the timer.
    me: Weak<Shell>,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) fallback_bulkhead: Bulkhead,
    pub(crate) shared: SharedCounts,
    /// Number of admitted calls when the registry last asked, wrapping at 2^32.
    seen_calls: AtomicU32,
    has_warned: AtomicBool,
    is_foreign: AtomicBool,
}

impl Shell {
    /// Creates a closed breaker.
    pub(crate) fn new(
        name: Name,
        group: Name,
        settings: Arc<Settings>,
        origins: Origins,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        let shell = Arc::new_cyclic(|me| Self {
            live: OnceLock::new(),
            cold: Mutex::new(Cold::default()),
            clock: Clock::start(),
            created: SystemTime::now(),
            name,
            group,
            first_settings: settings,
            origins: AtomicU64::new(origins.0),
            observer,
            me: Weak::clone(me),
            bulkhead: Bulkhead::default(),
            fallback_bulkhead: Bulkhead::default(),
            shared: SharedCounts::default(),
            seen_calls: AtomicU32::new(0),
            has_warned: AtomicBool::new(false),
            is_foreign: AtomicBool::new(false),
        });
        if shell.first_settings.slow_before_return().is_some() {
            shell.live(); // Running calls are counted from the first one on.
        }
        shell
    }

    /// Admits a call if the decision does not depend on the time, which is the common case. If it returns `None`, use
    /// [`admit_at`](Self::admit_at).
    #[inline]
    pub(crate) fn admit_plain(&self) -> Option<Pass> {
        self.live.get()?.admit_plain()
    }

    /// Refuses a call if the breaker is open at `now`. If it returns `None`, use [`admit_at`](Self::admit_at).
    #[inline]
    pub(crate) fn refuse_at(&self, now: u64) -> Option<Rejected> {
        self.live.get()?.refuse_at(now)
    }

    /// Admits or refuses a call at `now`.
    #[inline]
    pub(crate) fn admit_at(&self, now: u64) -> Result<Pass, Rejected> {
        match self.live.get() {
            Some(live) => live.admit_at(now),
            None => self.admit_cold(now),
        }
    }

    #[cold]
    fn admit_cold(&self, now: u64) -> Result<Pass, Rejected> {
        let mut cold = self.cold.lock();
        match self.live.get() {
            Some(live) => {
                drop(cold);
                live.admit_at(now)
            }
            None => Ok(cold.admit()),
        }
    }

    /// Removes the call from the running ones while it waits for a permit or a slot.
    pub(crate) fn pause(&self, pass: &mut Pass) {
        if let Some(live) = self.live.get() {
            live.pause(pass);
        }
    }

    /// Counts the call as running again.
    pub(crate) fn resume(&self, pass: &mut Pass, now: u64) {
        if let Some(live) = self.live.get() {
            live.resume(pass, now);
        }
    }

    /// Records that the target has answered while the call continues: it no longer counts as hanging.
    #[cfg(feature = "http")]
    pub(crate) fn answered(&self, pass: &mut Pass) {
        if let Some(live) = self.live.get() {
            live.answered(pass);
        }
    }

    /// Records a call that took `elapsed_nanos` and ended at `now`.
    #[inline]
    pub(crate) fn record(&self, pass: &Pass, outcome: Outcome, elapsed_nanos: u64, now: u64) {
        match self.live.get() {
            Some(live) => live.record(pass, outcome, elapsed_nanos, now),
            None => self.record_cold(pass, outcome, elapsed_nanos, now),
        }
    }

    #[cold]
    fn record_cold(&self, pass: &Pass, outcome: Outcome, elapsed_nanos: u64, now: u64) {
        let limit = self.first_settings.slow_above();
        if outcome == Outcome::Success && elapsed_nanos <= limit {
            let mut cold = self.cold.lock();
            if self.live.get().is_none() && cold.record(elapsed_nanos, now) {
                return;
            }
        }
        self.live().record(pass, outcome, elapsed_nanos, now);
    }

    /// Returns the full breaker; creates it from the calls so far if needed.
    fn live(&self) -> &Live {
        if let Some(live) = self.live.get() {
            return live;
        }
        let mut cold = self.cold.lock();
        self.live.get_or_init(|| {
            let live = Live::new(self);
            std::mem::take(&mut *cold).replay(&live);
            Box::new(live)
        })
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        match self.live.get() {
            Some(live) => Arc::clone(&live.settings.read()),
            None => Arc::clone(&self.first_settings),
        }
    }

    /// Returns the timeout of the calls of commands.
    #[inline]
    pub(crate) fn call_timeout(&self) -> Option<Duration> {
        match self.live.get() {
            Some(live) => live.fast_path.call_timeout(),
            None => self.first_settings.timeout,
        }
    }

    /// Returns the number of slots for the calls of commands.
    #[inline]
    pub(crate) fn call_slots(&self) -> u32 {
        match self.live.get() {
            Some(live) => live.fast_path.call_slots(),
            None => self.first_settings.max_concurrent,
        }
    }

    #[cfg(feature = "axum")]
    pub(crate) fn in_flight(&self) -> u64 {
        match self.live.get() {
            Some(live) => live.shards.in_flight(),
            None => self.cold.lock().in_flight(),
        }
    }

    pub(crate) fn state(&self) -> EffectiveState {
        let live = self.live.get();
        live.map_or(EffectiveState::Closed, |live| live.fast_path.word().state())
    }

    pub(crate) fn computed_state(&self) -> State {
        let live = self.live.get();
        live.map_or(State::Closed, |live| live.control.lock().machine.state())
    }

    pub(crate) fn current_override(&self) -> Option<Override> {
        let control = self.live.get()?.control.lock();
        control.current_override().cloned()
    }

    /// Makes the changes that are due by time without a call; another library makes its own.
    pub(crate) fn catch_up(&self) {
        if let Some(live) = self.live.get()
            && !self.is_foreign()
        {
            live.catch_up();
        }
    }

    /// Returns when the next change is due by time, without a call.
    fn due(&self) -> Option<u64> {
        self.live.get().filter(|_| !self.is_foreign())?.due()
    }

    /// Schedules the timer for this breaker at `due`.
    fn wake_at(&self, due: u64) {
        self.live().wake_at(due);
    }

    /// Returns whether the breaker is open and its open time is over, so that the next call is a probe.
    pub(crate) fn is_due(&self) -> bool {
        self.live.get().is_some_and(|live| live.is_due())
    }

    /// Enters a computed state on request.
    pub(crate) fn transition(&self, to: State, wait: Option<Duration>, why: &str) {
        self.live().transition(to, wait, why);
    }

    pub(crate) fn reset(&self, why: &str) {
        if !self.is_foreign() {
            self.live().reset(why);
        }
    }

    pub(crate) fn force(&self, by: Override) {
        if !self.is_foreign() {
            self.live().force(by);
        }
    }

    /// Leaves the decisions to another library, and ends an override that it would not follow.
    pub(crate) fn set_foreign(&self) {
        self.is_foreign.store(true, Relaxed);
        self.release();
    }

    pub(crate) fn is_foreign(&self) -> bool {
        self.is_foreign.load(Relaxed)
    }

    /// Enters a computed state that another library reports.
    pub(crate) fn enter(&self, state: State, why: &str) {
        self.live().enter(state, why);
    }

    /// Counts a call that another library admitted or refused; it changes no state.
    pub(crate) fn count_foreign(&self, outcome: Outcome, elapsed_nanos: u64) {
        self.live().count_foreign(outcome, elapsed_nanos);
    }

    pub(crate) fn release(&self) {
        self.live().release();
    }

    /// Replaces the settings; they must be valid.
    pub(crate) fn apply(self: &Arc<Self>, settings: Settings) {
        self.change(|_| Some(settings));
        self.announce_settings();
    }

    /// Replaces the settings by valid ones that `change` makes of those in force, in one step, and returns whether it
    /// did; `None` leaves them. `change` is called under the breaker's lock. The listeners are not notified.
    pub(crate) fn change(&self, change: impl FnOnce(&Settings) -> Option<Settings>) -> bool {
        self.live().change(change)
    }

    /// Returns where the program's settings come from.
    pub(crate) fn origins(&self) -> Origins {
        Origins(self.origins.load(Relaxed))
    }

    /// Records where the program's values of these settings come from.
    pub(crate) fn set_origin<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str> + Clone,
        origin: SettingOrigin,
    ) {
        let with = |bits| Some(Origins(bits).with(names.clone(), origin).0);
        let _ = self.origins.fetch_update(Relaxed, Relaxed, with);
    }

    /// Notifies the listeners of changed settings.
    pub(crate) fn announce_settings(self: &Arc<Self>) {
        self.observer.settings_changed(self);
    }

    pub(crate) fn count_fallback(&self, outcome: FallbackOutcome) {
        self.live().shards.write(|shard| shard.fallback(outcome));
    }

    /// Returns what an eviction would lose, and whether the breaker was used since the last time this was asked.
    pub(crate) fn usage(&self) -> Usage {
        let live = self.live.get();
        if let Some(live) = live {
            live.roll(self.clock.now(), true);
        }
        let calls = match live {
            Some(live) => live.shards.admitted() as u32,
            None => self.cold.lock().admitted(),
        };
        let control = live.map(|live| live.control.lock());
        let sum = |live: &Live, control: &control::Control| {
            control.machine.window().sum(live.shards.tally())
        };
        let has_bad_calls = live.zip(control.as_ref()).is_some_and(|(live, control)| {
            let sum = sum(live, control);
            sum.bad > 0 || sum.slow > 0
        });
        let is_forced = control
            .as_ref()
            .is_some_and(|c| c.current_override().is_some());
        let is_closed = control.is_none_or(|c| c.machine.state() == State::Closed);
        Usage {
            was_used: self.seen_calls.swap(calls, Relaxed) != calls,
            is_closed,
            is_forced,
            has_bad_calls,
        }
    }

    /// Logs `problem` the first time that it occurs.
    pub(crate) fn warn_once(&self, problem: &(dyn std::error::Error + 'static)) {
        if !self.has_warned.swap(true, Relaxed) {
            tracing::warn!(target: "fusebox", breaker = &*self.name, problem, "the first settings of a circuit breaker stay in force; not logged again");
        }
    }
}

/// The result of [`Shell::usage`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) was_used: bool,
    pub(crate) is_closed: bool,
    pub(crate) is_forced: bool,
    pub(crate) has_bad_calls: bool,
}
