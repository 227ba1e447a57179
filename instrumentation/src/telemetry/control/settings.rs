//! The settings of breakers that operators changed. The latest change of each breaker is applied on top of the settings
//! of the program: immediately, when the breaker is created, and again when the program changes its own.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::circuit_breaker::{CircuitBreaker, Registry, Settings};
use crate::control::{Change, Outcome, PROBLEM_CHARS_MAX, SettingsChange};
use crate::sync::Mutex;

/// The longest name of a breaker for which a change is stored, far longer than any in use.
pub(super) const NAME_BYTES_MAX: usize = 4 << 10;
/// Most breakers with a stored change, about 1 KiB each. More circuits of one service are not switched by hand.
pub(super) const HELD_MAX: usize = 1_024;
/// Longest names and values of one change, bytes; all settings together take 600.
const VALUES_BYTES_MAX: usize = 4 << 10;

/// The number of a change, its outcome, and why it was refused.
pub(super) type Verdict = (u64, Outcome, String);

/// The changes in force.
#[derive(Debug)]
pub(super) struct ChangedSettings {
    registry: Registry,
    /// By breaker.
    held: Mutex<BTreeMap<String, Held>>,
    /// Notified when the next expiry may be earlier.
    news: Notify,
}

/// The latest change of a breaker's settings.
#[derive(Debug, Default)]
struct Held {
    id: u64,
    change: SettingsChange,
    expires: Option<Instant>,
    /// The settings of the program; `None` until the breaker exists.
    own: Option<Settings>,
    /// The settings that were last seen or put in force.
    seen: Option<Settings>,
    /// Whether the change could last be applied.
    is_refused: bool,
}

impl ChangedSettings {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            held: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// Applies a change unless it or a later one was applied before.
    pub(super) fn apply(&self, change: &Change) -> Option<Verdict> {
        if let Err(verdict) = self.hold(change)? {
            return Some(verdict);
        }
        self.news.notify_one();
        tracing::info!(
            target: "fusebox",
            breaker = change.name,
            reason = change.reason,
            "an operator changed settings of a circuit breaker"
        );
        // Looked up last: a breaker that is created from here on is reported by the listener.
        match self.registry.get(&change.name) {
            Some(breaker) => self.put_in_force(&breaker),
            None => Some((change.id, Outcome::Waiting, String::new())),
        }
    }

    /// Stores a change as the latest of its breaker; `None` if it is not the latest.
    fn hold(&self, change: &Change) -> Option<Result<(), Verdict>> {
        let refused = |problem: &str| Some(Err((change.id, Outcome::Refused, problem.to_owned())));
        let mut all = self.held.lock();
        let known = all.get(&change.name);
        if known.is_some_and(|held| held.id >= change.id) {
            return None;
        }
        if known.is_none() && all.len() >= HELD_MAX {
            all.retain(|_, held| !held.change.values.is_empty());
        }
        let has_room = all.contains_key(&change.name) || all.len() < HELD_MAX;
        let settings = change.settings.clone().unwrap_or_default();
        if !has_room || change.name.len() > NAME_BYTES_MAX || bytes(&settings) > VALUES_BYTES_MAX {
            return refused("this process holds as many changes as it can");
        }
        let held = all.entry(change.name.clone()).or_default();
        held.id = change.id;
        held.change = settings;
        held.expires = match change.remaining_ms {
            Some(0) => {
                held.end();
                None
            }
            // A time that is too far away for the clock is no expiry.
            Some(left) => Instant::now().checked_add(Duration::from_millis(left)),
            None => None,
        };
        Some(Ok(()))
    }

    /// Applies the change of a new breaker.
    pub(super) fn registered(&self, breaker: &CircuitBreaker) -> Option<Verdict> {
        let mut all = self.held.lock();
        let held = all.get_mut(breaker.name())?;
        let first = || Settings::clone(&breaker.shell.first_settings);
        // Those that are held belong to an earlier breaker of the name, unless `apply` has found this one meanwhile.
        let is_known = held.seen.as_ref() == Some(&*breaker.settings());
        held.own = is_known.then(first);
        held.seen = held.seen.take().filter(|_| is_known);
        let is_changed = !held.change.values.is_empty();
        drop(all);
        is_changed.then(|| self.put_in_force(breaker)).flatten()
    }

    /// Applies the change again after the program has changed the breaker's settings; returns the outcome if it
    /// is another one now.
    pub(super) fn changed_by_program(&self, breaker: &CircuitBreaker) -> Option<Verdict> {
        let mut all = self.held.lock();
        let held = all.get_mut(breaker.name())?;
        let settings = breaker.settings();
        if held.seen.as_ref() == Some(&*settings) {
            return None;
        }
        let is_changed = !held.change.values.is_empty();
        if !is_changed {
            held.take_over(&settings);
        }
        let was_refused = held.is_refused;
        drop(all);
        let verdict = is_changed.then(|| self.put_in_force(breaker)).flatten();
        verdict.filter(|(_, outcome, _)| (*outcome == Outcome::Refused) != was_refused)
    }

    /// Changes the settings of a breaker. If it cannot have them, those in force stay.
    fn put_in_force(&self, breaker: &CircuitBreaker) -> Option<Verdict> {
        let mut all = self.held.lock();
        let held = all.get_mut(breaker.name())?;
        if breaker.is_foreign() {
            let problem = "the library of this circuit breaker decides by its own settings";
            return Some((held.id, Outcome::Refused, problem.to_owned()));
        }
        let mut problem = None;
        let has_changed = breaker.shell.change(|in_force| {
            let own = held.take_over(in_force);
            let settings = own.with_values(&held.change.values);
            let settings = settings.map_err(|error| problem = Some(error)).ok()?;
            let settings = Some(settings).filter(|settings| settings != in_force)?;
            held.seen = Some(settings.clone());
            Some(settings)
        });
        held.is_refused = problem.is_some();
        let id = held.id;
        // The listener of the change takes the lock too.
        drop(all);
        if has_changed {
            breaker.shell.announce_settings();
        }
        Some(match problem {
            None => (id, Outcome::Applied, String::new()),
            Some(error) => {
                let problem = error.to_string();
                let problem = problem.chars().take(PROBLEM_CHARS_MAX).collect();
                (id, Outcome::Refused, problem)
            }
        })
    }

    /// Ends changes when they expire; never returns.
    pub(super) async fn expire(&self) {
        loop {
            let news = self.news.notified();
            match self.end_expired() {
                Some(next) => drop(timeout_at(next, news).await),
                None => news.await,
            }
        }
    }

    /// Ends the changes that have expired; returns when the next one expires.
    fn end_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut ended = Vec::new();
        for (name, held) in self.held.lock().iter_mut() {
            if held.expires.is_some_and(|at| at <= now) {
                held.end();
                ended.push(name.clone());
            }
        }
        for breaker in ended.iter().filter_map(|name| self.registry.get(name)) {
            self.put_in_force(&breaker);
        }
        let all = self.held.lock();
        all.values().filter_map(|held| held.expires).min()
    }
}

impl Held {
    /// Takes over what the program has changed since the settings were last seen, and returns the program's settings:
    /// those that only an operator changed stay as the program had them.
    fn take_over(&mut self, in_force: &Settings) -> Settings {
        let own = match (self.own.take(), &self.seen) {
            (Some(own), Some(seen)) => own.with_values(&in_force.changes_since(seen)).ok(),
            _ => None,
        };
        let own = own.unwrap_or_else(|| in_force.clone());
        self.seen = Some(in_force.clone());
        self.own.insert(own).clone()
    }

    fn end(&mut self) {
        self.expires = None;
        self.change.values = std::mem::take(&mut self.change.then);
    }
}

fn bytes(change: &SettingsChange) -> usize {
    let pairs = change.values.iter().chain(&change.then);
    pairs.map(|(name, text)| name.len() + text.len()).sum()
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
