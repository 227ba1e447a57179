//! The changes that operators made to the breakers and loggers of this process. The latest change of each breaker is
//! applied immediately, or when the breaker is created. A change that was applied before is not applied again. Changes
//! of settings are in `settings`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tracing_subscriber::filter::LevelFilter;

use super::settings::{ChangedSettings, HELD_MAX, NAME_BYTES_MAX, Verdict};

use crate::circuit_breaker::{CircuitBreaker, Listener, Override, OverrideKind, Registry};
use crate::control::{
    Acknowledgement, Action, BY_CHARS_MAX, Change, EXPIRY_MAX, Level, Outcome, REASON_CHARS_MAX,
    Subject,
};
use crate::sync::Mutex;
use crate::telemetry::LogLevels;

/// Most outcomes that wait to be sent; beyond that the oldest are dropped, and the collector shows those changes as
/// pending.
const OUTCOMES_MAX: usize = 2 * HELD_MAX;
/// The longest text of person and reason, with ": " between them.
const TEXT_CHARS_MAX: usize = BY_CHARS_MAX + 2 + REASON_CHARS_MAX;

/// The changes in force.
#[derive(Debug)]
pub(super) struct Switches {
    registry: Registry,
    levels: LogLevels,
    settings: ChangedSettings,
    inner: Mutex<Inner>,
    /// Notified when a change was applied outside a round.
    news: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    by_breaker: BTreeMap<String, Held>,
    /// The id of the last change of a level; ids are in order.
    last_level: u64,
    outcomes: Vec<Acknowledgement>,
}

/// The latest change of a breaker.
#[derive(Debug, Clone)]
struct Held {
    id: u64,
    action: Action,
    reason: String,
    expires: SystemTime,
    /// Whether the collector was or will be informed that the change is in force.
    is_applied: bool,
}

impl Switches {
    pub(super) fn new(registry: Registry, levels: LogLevels) -> Self {
        Self {
            settings: ChangedSettings::new(registry.clone()),
            registry,
            levels,
            inner: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Applies a change, unless it or a later one of the same breaker was applied before; returns whether it was
    /// applied.
    pub(super) fn apply(&self, change: &Change) -> bool {
        match change.subject {
            Subject::Breaker => self.apply_to_breaker(change),
            Subject::Logger => self.apply_to_logger(change),
            Subject::Settings => self.apply_settings(change),
        }
    }

    fn apply_settings(&self, change: &Change) -> bool {
        let verdict = self.settings.apply(change);
        let is_new = verdict.is_some();
        self.answer(verdict);
        is_new
    }

    fn answer(&self, verdict: Option<Verdict>) {
        if let Some((change, outcome, problem)) = verdict {
            let mut inner = self.inner.lock();
            inner.acknowledge(change, outcome, problem);
            drop(inner);
            self.news.notify_one();
        }
    }

    /// Ends changes of settings when they expire; never returns.
    pub(super) async fn expire_settings(&self) {
        self.settings.expire().await;
    }

    /// Sets a level, unless this change or a later one was applied before; returns whether it was set.
    fn apply_to_logger(&self, change: &Change) -> bool {
        let mut inner = self.inner.lock();
        if inner.last_level >= change.id {
            return false;
        }
        inner.last_level = change.id;
        let remaining = remaining(change);
        let is_done = match change.action {
            Action::Level(level) if !remaining.is_zero() => {
                let set = self.levels.set(&change.name, filter(level), remaining);
                set.is_ok()
            }
            // The change has expired already, but it still ends the change that it replaced.
            Action::Level(_) | Action::Reset => {
                self.levels.reset(&change.name);
                true
            }
            _ => false,
        };
        inner.acknowledge(
            change.id,
            match is_done {
                true => Outcome::Applied,
                false => Outcome::Refused,
            },
            String::new(),
        );
        true
    }

    fn apply_to_breaker(&self, change: &Change) -> bool {
        let Some(held) = self.hold(change) else {
            return false;
        };
        let breaker = self.registry.get(&change.name);
        self.carry_out(&held, &change.name, breaker.as_ref());
        true
    }

    /// Applies the latest change to its breaker, if the breaker exists.
    fn carry_out(&self, held: &Held, name: &str, breaker: Option<&CircuitBreaker>) {
        if let Some(breaker) = breaker {
            held.apply_to(breaker);
        }
        // A breaker that is created from here on is reported by the listener.
        let outcome = match (breaker, held.action) {
            (None, action) if action != Action::Reset => Outcome::Waiting,
            (Some(breaker), _) if breaker.is_foreign() => Outcome::Refused,
            _ => Outcome::Applied,
        };
        self.inner.lock().settle(name, held.id, outcome);
    }

    /// Stores a change as the latest of its breaker; `None` if it is not the latest, or there is no room.
    fn hold(&self, change: &Change) -> Option<Held> {
        let now = SystemTime::now();
        let mut inner = self.inner.lock();
        inner.by_breaker.retain(|_, held| held.expires > now);
        let held = inner.by_breaker.get(&change.name);
        if held.is_some_and(|held| held.id >= change.id) {
            return None;
        }
        let has_room = held.is_some() || inner.by_breaker.len() < HELD_MAX;
        if !has_room || change.name.len() > NAME_BYTES_MAX {
            inner.acknowledge(change.id, Outcome::Refused, String::new());
            return None;
        }
        let held = Held {
            id: change.id,
            action: change.action,
            reason: change.reason.chars().take(TEXT_CHARS_MAX).collect(),
            expires: now + remaining(change),
            is_applied: false,
        };
        inner.by_breaker.insert(change.name.clone(), held.clone());
        Some(held)
    }

    /// Applies the changes in force to a newly created breaker.
    fn registered(&self, breaker: &CircuitBreaker) {
        self.answer(self.settings.registered(breaker));
        let latest = self.latest(breaker.name());
        // A new breaker is in the same state as one that was reset.
        if let Some(held) = latest.filter(|held| held.action != Action::Reset) {
            self.bring_up_to_date(breaker, held);
        }
    }

    /// Applies a change, and then any change that replaced it on another thread meanwhile.
    fn bring_up_to_date(&self, breaker: &CircuitBreaker, mut held: Held) {
        held.apply_to(breaker);
        while let Some(newer) = self.latest(breaker.name()).filter(|new| new.id != held.id) {
            newer.apply_to(breaker);
            held = newer;
        }
        let outcome = match breaker.is_foreign() {
            true => Outcome::Refused,
            false => Outcome::Applied,
        };
        let mut inner = self.inner.lock();
        inner.settle(breaker.name(), held.id, outcome);
        drop(inner);
        self.news.notify_one();
    }

    /// Returns the change in force for a breaker.
    fn latest(&self, breaker: &str) -> Option<Held> {
        let held = self.inner.lock().by_breaker.get(breaker).cloned();
        held.filter(|held| held.expires > SystemTime::now())
    }

    /// Returns the outcomes to send, oldest first.
    pub(super) fn outcomes(&self) -> Vec<Acknowledgement> {
        self.inner.lock().outcomes.clone()
    }

    /// Removes this many outcomes, which the collector has received.
    pub(super) fn forget_outcomes(&self, sent: usize) {
        let mut inner = self.inner.lock();
        let sent = sent.min(inner.outcomes.len());
        inner.outcomes.drain(..sent);
    }

    /// Resolves when there are more outcomes than the `sent` ones.
    pub(super) async fn news(&self, sent: usize) {
        while self.inner.lock().outcomes.len() <= sent {
            self.news.notified().await;
        }
    }
}

impl Inner {
    /// Acknowledges a change of a breaker. A change in force is not reported as waiting: the breaker was created after
    /// the lookup.
    fn settle(&mut self, breaker: &str, change: u64, outcome: Outcome) {
        let held = self.by_breaker.get_mut(breaker);
        if let Some(held) = held.filter(|held| held.id == change) {
            if held.is_applied && outcome == Outcome::Waiting {
                return;
            }
            held.is_applied = outcome == Outcome::Applied;
        }
        self.acknowledge(change, outcome, String::new());
    }

    fn acknowledge(&mut self, change: u64, outcome: Outcome, problem: String) {
        if self.outcomes.len() >= OUTCOMES_MAX {
            self.outcomes.remove(0);
        }
        self.outcomes.push(Acknowledgement {
            change,
            outcome,
            problem,
        });
    }
}

impl Held {
    fn apply_to(&self, breaker: &CircuitBreaker) {
        if self.action != Action::Reset && self.expires <= SystemTime::now() {
            // The change has expired already, but it still ends the change that it replaced.
            return breaker.release();
        }
        let kind = match self.action {
            Action::ForceOpen => OverrideKind::ForcedOpen,
            Action::ForceClosed => OverrideKind::ForcedClosed,
            Action::Disable => OverrideKind::Disabled,
            Action::MetricsOnly => OverrideKind::MetricsOnly,
            Action::Reset => return breaker.reset(&self.reason),
            // Only loggers have levels, and settings are changed elsewhere.
            Action::Level(_) | Action::Settings => return,
        };
        let forced = Override {
            kind,
            reason: self.reason.clone(),
            expires: Some(self.expires),
        };
        // The listener may have applied it already.
        if breaker.current_override().as_ref() != Some(&forced) {
            breaker.force(forced);
        }
    }
}

/// Returns how long a change of a state or a level is in force.
fn remaining(change: &Change) -> Duration {
    let remaining = change.remaining_ms.map(Duration::from_millis);
    remaining.unwrap_or(EXPIRY_MAX).min(EXPIRY_MAX)
}

fn filter(level: Level) -> LevelFilter {
    match level {
        Level::Off => LevelFilter::OFF,
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Applies changes to breakers that are created later.
pub(super) struct SwitchListener(Weak<Switches>);

impl SwitchListener {
    pub(super) fn of(switches: &Arc<Switches>) -> Self {
        Self(Arc::downgrade(switches))
    }
}

impl Listener for SwitchListener {
    fn registered(&self, breaker: &CircuitBreaker) {
        if let Some(switches) = self.0.upgrade() {
            switches.registered(breaker);
        }
    }

    fn settings_changed(&self, breaker: &CircuitBreaker) {
        if let Some(switches) = self.0.upgrade() {
            switches.answer(switches.settings.changed_by_program(breaker));
        }
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

#[cfg(test)]
#[path = "switches_tests.rs"]
mod tests;
