//! Changes in force or being delivered, their outcomes, and the polling instances. Pure: time is an argument,
//! and nothing is written here.

mod status;

use std::collections::BTreeMap;

pub use self::status::{ChangeStatus, Delivery, InstanceDelivery};

use fusebox::control::{
    Action, Change, Changes, EXPIRY_MAX, PROBLEM_CHARS_MAX, Poll, SettingsChange, Subject,
};
use tokio::time::Instant;

use super::channels::Channels;
use super::ended::Ended;
use super::order::{ControlError, remaining_ms, spoken};
use crate::model::{
    ChangeOutcome, CircuitKey, ControlRecord, EventKind, OperatorChange, OperatorSettings,
    UnixNanos,
};

/// Changes held per circuit or logger, which are for picked instances, since one for all replaces them.
pub(super) const PER_CIRCUIT_MAX: usize = 32;
/// Circuits and loggers with changes, about 1 KiB each and as much per further change; as many as the wall
/// holds circuits.
const CIRCUITS_MAX: usize = 10_000;
/// Outcomes held per change: the instances of a large service.
const OUTCOMES_MAX: usize = 1_000;
/// Outcomes held in total, about 300 bytes each; bounded because senders choose the names of instances.
const OUTCOMES_ALL_MAX: usize = 50_000;
/// What a change applies to.
pub(super) type Target = (CircuitKey, Subject);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) targets: BTreeMap<Target, Vec<Tracked>>,
    /// Number of outcomes of all changes.
    outcomes: usize,
    /// The last number assigned.
    last_id: u64,
    /// The last number visible to polls; lower than `last_id` while a change is being stored.
    visible_id: u64,
    pub(super) channels: Channels,
    /// Instances that announced their end.
    pub(super) ended: Ended,
}

#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) change: OperatorChange,
    /// When one of the instances for which it was picked polled last; at first, when it was ordered or restored.
    pub(super) heard: Instant,
    /// Earlier changes that may still be in force in instances which did not get this change.
    earlier: Option<Earlier>,
    /// The last outcome per instance.
    outcomes: BTreeMap<String, ChangeOutcome>,
}

/// Changes in force that a later one replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Earlier {
    /// Their lowest number: an instance that has not got that far is under none of them.
    first: u64,
    /// When the last of them expires.
    until: UnixNanos,
}

impl State {
    /// Restores a record of an earlier run; records of one circuit come in order.
    pub(super) fn restore(&mut self, record: ControlRecord) {
        match record {
            ControlRecord::Change(change) => {
                self.last_id = self.last_id.max(change.id);
                self.insert(change);
            }
            ControlRecord::Outcome(outcome) => self.settle(outcome),
            ControlRecord::Ended(end) => self.ended.restore(end),
            ControlRecord::Event(event) => {
                self.last_id = self.last_id.max(event.id);
                if event.event == EventKind::EndSettings {
                    self.remove(&event);
                }
            }
        }
    }

    /// Numbers a change, unless full. Numbers increase with time, so that they do so even after the data was
    /// lost, and stay below 2^53, as JSON numbers must.
    pub(super) fn number(
        &mut self,
        change: OperatorChange,
        now: UnixNanos,
    ) -> Result<OperatorChange, ControlError> {
        self.prune(now);
        if !self.has_room(&change) {
            let problem =
                format!("{PER_CIRCUIT_MAX} changes of single instances are in force here");
            return Err(ControlError::TooMany(problem));
        }
        if !self.targets.contains_key(&target(&change)) && self.targets.len() >= CIRCUITS_MAX {
            let problem = format!("changes of {CIRCUITS_MAX} circuits and loggers are in force");
            return Err(ControlError::TooMany(problem));
        }
        Ok(OperatorChange {
            id: self.next_id(now),
            ..change
        })
    }

    pub(super) fn next_id(&mut self, now: UnixNanos) -> u64 {
        self.last_id = (now.get() / 1_000).max(self.last_id + 1);
        self.last_id
    }

    /// Puts a change in force, replacing earlier ones.
    pub(super) fn insert(&mut self, change: OperatorChange) {
        self.visible_id = self.visible_id.max(change.id);
        let held = self.targets.entry(target(&change)).or_default();
        // One that was stored again is read after later ones, and keeps its place among them.
        let place = held.partition_point(|tracked| tracked.change.id < change.id);
        let (before, after) = held.split_at_mut(place);
        if let Some(same) = after.first_mut().filter(|it| it.change.id == change.id) {
            same.change = change;
            return;
        }
        if after.iter().any(|later| later.change.covers(&change)) {
            return;
        }
        let earlier = before.iter().filter(|t| t.change.shares_instances(&change));
        let earlier = earlier.filter_map(|t| t.in_force(change.time));
        let earlier = earlier.reduce(Earlier::join);
        self.outcomes -= outcomes_of(held);
        let is_replaced = |it: &OperatorChange| it.id < change.id && change.covers(it);
        held.retain(|tracked| !is_replaced(&tracked.change));
        self.outcomes += outcomes_of(held);
        let place = held.partition_point(|tracked| tracked.change.id < change.id);
        let outcomes = BTreeMap::new();
        let tracked = Tracked {
            change,
            heard: Instant::now(),
            earlier,
            outcomes,
        };
        held.insert(place, tracked);
    }

    /// Removes changes once everything that they replaced has expired too.
    pub(super) fn prune(&mut self, now: UnixNanos) {
        self.targets.retain(|_, held| {
            held.retain(|tracked| tracked.is_needed(now));
            !held.is_empty()
        });
        self.count_outcomes();
    }

    pub(super) fn count_outcomes(&mut self) {
        self.outcomes = self.targets.values().map(|held| outcomes_of(held)).sum();
    }

    /// Returns the changes that an instance has not got yet, oldest first, as many as fit.
    pub(super) fn changes_for(&self, poll: &Poll, now: UnixNanos, bytes_max: usize) -> Changes {
        let (service, instance) = (&poll.service, &poll.instance);
        let takes = |subject| self.channels.takes(service, instance, subject);
        let is_taken = |change: &OperatorChange| takes(change.subject);
        let mut found: Vec<_> = self
            .of_service(&poll.service)
            .filter_map(|held| latest(held, &poll.instance))
            .filter(|tracked| tracked.is_due(poll.after, now) && is_taken(&tracked.change))
            .map(|tracked| &tracked.change)
            .collect();
        found.sort_by_key(|change| change.id);
        let mut answer = Changes {
            after: self.visible_id,
            changes: Vec::new(),
        };
        let mut bytes = 0;
        for change in found {
            // JSON needs at most six bytes for each byte of text.
            let settings = change.settings.as_ref().map(wire_settings);
            let texts = settings
                .iter()
                .flat_map(|it| it.values.iter().chain(&it.then));
            let texts: usize = texts.map(|(name, text)| name.len() + text.len()).sum();
            let names = change.key.name.len() + change.reason.len() + change.by.len();
            bytes += 200 + 6 * (names + texts);
            if bytes > bytes_max && !answer.changes.is_empty() {
                answer.after = answer.changes.last().map_or(0, |last: &Change| last.id);
                break;
            }
            answer.changes.push(Change {
                id: change.id,
                subject: change.subject,
                name: change.key.name.clone(),
                action: change.action,
                reason: spoken(change),
                remaining_ms: remaining_ms(change, now),
                settings,
            });
        }
        answer
    }

    /// Returns a poll's outcomes that are not known yet.
    pub(super) fn new_outcomes(&self, poll: &Poll, now: UnixNanos) -> Vec<ChangeOutcome> {
        let mut latest = BTreeMap::new();
        for acknowledged in &poll.acknowledged {
            latest.insert(acknowledged.change, acknowledged);
        }
        let mut room = OUTCOMES_ALL_MAX.saturating_sub(self.outcomes);
        let held = self.of_service(&poll.service).flatten();
        held.filter(|tracked| tracked.change.is_for(&poll.instance))
            .filter_map(|tracked| {
                let acknowledged = *latest.get(&tracked.change.id)?;
                let known = tracked.outcomes.get(&poll.instance);
                let is_new = match known {
                    Some(known) => known.outcome != acknowledged.outcome,
                    None => room > 0 && tracked.outcomes.len() < OUTCOMES_MAX,
                };
                room -= usize::from(is_new && known.is_none());
                is_new.then(|| ChangeOutcome {
                    subject: tracked.change.subject,
                    key: tracked.change.key.clone(),
                    change: tracked.change.id,
                    instance: poll.instance.clone(),
                    time: now,
                    outcome: acknowledged.outcome,
                    problem: problem(&acknowledged.problem),
                    stored: None,
                })
            })
            .collect()
    }

    /// Records an outcome; a new one only within the limits, which concurrent polls may reach first.
    pub(super) fn settle(&mut self, outcome: ChangeOutcome) {
        let has_room = self.outcomes < OUTCOMES_ALL_MAX;
        let of = (outcome.key.clone(), outcome.subject);
        let held = self.targets.get_mut(&of).into_iter().flatten();
        for tracked in held.filter(|tracked| tracked.change.id == outcome.change) {
            let is_known = tracked.outcomes.contains_key(&outcome.instance);
            if is_known || has_room {
                let instance = outcome.instance.clone();
                tracked.outcomes.insert(instance, outcome.clone());
                self.outcomes += usize::from(!is_known);
            }
        }
    }

    /// Returns the changes of a breaker's settings that may be in force somewhere, oldest first.
    pub(super) fn of_settings(&self, key: &CircuitKey) -> Vec<OperatorChange> {
        let held = self.targets.get(&(key.clone(), Subject::Settings));
        let held = held.into_iter().flatten();
        held.map(|tracked| tracked.change.clone()).collect()
    }

    /// Returns the records of changes of settings that nothing will end, and of their outcomes, if they were last stored
    /// before `oldest`, to be stored again at `now`.
    pub(super) fn lasting_before(&self, oldest: UnixNanos, now: UnixNanos) -> Vec<ControlRecord> {
        let settings = self.targets.iter();
        let settings = settings.filter(|((_, it), _)| *it == Subject::Settings);
        let old = settings.flat_map(|(_, held)| held).filter(|tracked| {
            let change = &tracked.change;
            change.stored.unwrap_or(change.time) < oldest && !change.lasting().is_empty()
        });
        old.flat_map(|tracked| tracked.stored_at(now)).collect()
    }

    /// Returns the changes of each circuit and logger of a service.
    fn of_service<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Vec<Tracked>> {
        self.targets_of(service).map(|(_, held)| held)
    }

    fn targets_of<'a>(
        &'a self,
        service: &'a str,
    ) -> impl Iterator<Item = (&'a Target, &'a Vec<Tracked>)> {
        let from = self.targets.range(first_of(service)..);
        from.take_while(move |((key, _), _)| key.service == service)
    }
}

impl Tracked {
    /// Whether to deliver it to an instance that has the changes up to `after`.
    fn is_due(&self, after: Option<u64>, now: UnixNanos) -> bool {
        let change = &self.change;
        let Some(after) = after else {
            // A process that has just started has nothing to reset.
            return change.action != Action::Reset && !change.is_over(now);
        };
        // An instance that was away may still be under a replaced change, even after this one expired.
        let is_under = |earlier: Earlier| earlier.first <= after && earlier.until > now;
        change.id > after && (!change.is_over(now) || self.earlier.is_some_and(is_under))
    }

    fn stored_at(&self, now: UnixNanos) -> Vec<ControlRecord> {
        let stored = Some(now);
        let change = OperatorChange {
            stored,
            ..self.change.clone()
        };
        let outcomes = self.outcomes.values().map(|outcome| ChangeOutcome {
            stored,
            ..outcome.clone()
        });
        let outcomes = outcomes.map(ControlRecord::Outcome);
        std::iter::once(ControlRecord::Change(change))
            .chain(outcomes)
            .collect()
    }

    /// Whether some instance may have to get it, now or when it returns.
    fn is_needed(&self, now: UnixNanos) -> bool {
        let is_recent = self.change.time + EXPIRY_MAX > now;
        is_recent
            || !self.change.is_over(now)
            || self.earlier.is_some_and(|earlier| earlier.until > now)
    }

    /// Returns the changes that may be in force in an instance which does not get the next one.
    fn in_force(&self, now: UnixNanos) -> Option<Earlier> {
        let own = Earlier {
            first: self.change.id,
            until: match self.change.lasting().is_empty() {
                true => self.change.expires.unwrap_or(UnixNanos::MAX),
                false => UnixNanos::MAX,
            },
        };
        let own = (self.change.action != Action::Reset).then_some(own);
        let all = own.into_iter().chain(self.earlier);
        all.filter(|one| one.until > now).reduce(Earlier::join)
    }
}

impl Earlier {
    fn join(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            until: self.until.max(other.until),
        }
    }
}

fn wire_settings(settings: &OperatorSettings) -> SettingsChange {
    SettingsChange {
        values: settings.values.clone(),
        then: settings.then.clone(),
    }
}

fn problem(reported: &str) -> String {
    reported.chars().take(PROBLEM_CHARS_MAX).collect()
}

/// Returns a target before all of a service.
pub(super) fn first_of(service: &str) -> Target {
    let key = CircuitKey {
        service: service.to_owned(),
        name: String::new(),
    };
    (key, Subject::Breaker)
}

pub(super) fn target(change: &OperatorChange) -> Target {
    (change.key.clone(), change.subject)
}

fn outcomes_of(held: &[Tracked]) -> usize {
    held.iter().map(|tracked| tracked.outcomes.len()).sum()
}

/// Returns the latest change for an instance, expired or not.
fn latest<'a>(held: &'a [Tracked], instance: &str) -> Option<&'a Tracked> {
    let mut newest = held.iter().rev();
    newest.find(|tracked| tracked.change.is_for(instance))
}
