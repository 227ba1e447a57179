//! Changes in force or being delivered, their outcomes, and the polling instances. Pure: time is an argument,
//! and nothing is written here.

use std::collections::BTreeMap;

use fusebox::control::{Action, Change, Changes, EXPIRY_MAX, Outcome, Poll, WAIT_MAX};
use serde::Serialize;

use super::ended::Ended;
use super::order::{ControlError, remaining_ms, spoken};
use crate::model::{
    ChangeOutcome, CircuitKey, CircuitView, ControlRecord, OperatorChange, UnixNanos,
};

/// Changes held per circuit, which are for picked instances, since one for all replaces them.
const PER_CIRCUIT_MAX: usize = 32;
/// Circuits with changes, about 1 KiB each and as much per further change; as many as the wall holds.
const CIRCUITS_MAX: usize = 10_000;
/// Outcomes held per change: the instances of a large service.
const OUTCOMES_MAX: usize = 1_000;
/// Outcomes held in total, about 300 bytes each; bounded because senders choose the names of instances.
const OUTCOMES_ALL_MAX: usize = 50_000;
/// Instances with a channel; as many as the wall holds.
const CHANNELS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct State {
    circuits: BTreeMap<CircuitKey, Vec<Tracked>>,
    /// Number of outcomes of all changes.
    outcomes: usize,
    /// The last number assigned.
    last_id: u64,
    /// The last number visible to polls; lower than `last_id` while a change is being stored.
    visible_id: u64,
    channels: BTreeMap<(String, String), ChannelState>,
    /// Instances that announced their end.
    pub(super) ended: Ended,
}

#[derive(Debug)]
struct Tracked {
    change: OperatorChange,
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

#[derive(Debug)]
struct ChannelState {
    open: usize,
    first_seen: UnixNanos,
    last_seen: UnixNanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {CHANNELS_MAX} control channels already")]
pub(crate) struct TooManyChannels;

/// An instance with a control channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSeen {
    /// The service.
    pub service: String,
    /// The instance.
    pub instance: String,
    /// Its first poll since the start, by the collector's clock.
    pub first_seen: UnixNanos,
    /// Its last poll, by the collector's clock.
    pub last_seen: UnixNanos,
    /// Whether it polls, or did so recently.
    pub is_open: bool,
}

/// A change in force, and its delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeStatus {
    /// The change.
    #[serde(flatten)]
    pub change: OperatorChange,
    /// Its delivery to each instance.
    pub deliveries: Vec<InstanceDelivery>,
}

/// Delivery of a change to one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceDelivery {
    /// The instance.
    pub instance: String,
    /// The stage of the delivery.
    pub state: Delivery,
    /// When this stage was acknowledged.
    #[serde(rename = "time_unix_nanos")]
    pub time: Option<UnixNanos>,
}

/// The stage of a change's delivery to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Not acknowledged yet.
    Pending,
    /// Not acknowledged, and no channel is open: an older library, one with the channel switched off, or one
    /// that cannot reach the collector.
    NoChannel,
    /// The instance has the change, but has not created the breaker yet.
    Waiting,
    /// In force in the instance.
    Applied,
    /// The instance could not apply the change.
    Refused,
}

impl From<Outcome> for Delivery {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Waiting => Self::Waiting,
            Outcome::Refused => Self::Refused,
        }
    }
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
            ControlRecord::Ended(end) => self.ended.insert(end),
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
        let held = self.circuits.get(&change.key);
        let replaced = |tracked: &&Tracked| replaces(&change, &tracked.change);
        let left = held.map(|all| all.len() - all.iter().filter(replaced).count());
        if left.is_some_and(|left| left >= PER_CIRCUIT_MAX) {
            let problem =
                format!("{PER_CIRCUIT_MAX} changes of single instances are in force here");
            return Err(ControlError::TooMany(problem));
        }
        if held.is_none() && self.circuits.len() >= CIRCUITS_MAX {
            let problem = format!("changes of {CIRCUITS_MAX} circuits are in force");
            return Err(ControlError::TooMany(problem));
        }
        self.last_id = (now.get() / 1_000).max(self.last_id + 1);
        Ok(OperatorChange {
            id: self.last_id,
            ..change
        })
    }

    /// Puts a change in force, replacing earlier ones.
    pub(super) fn insert(&mut self, change: OperatorChange) {
        self.visible_id = self.visible_id.max(change.id);
        let held = self.circuits.entry(change.key.clone()).or_default();
        let earlier = held.iter().filter(|t| t.change.shares_instances(&change));
        let earlier = earlier.filter_map(|t| t.in_force(change.time));
        let earlier = earlier.reduce(Earlier::join);
        self.outcomes -= outcomes_of(held);
        held.retain(|tracked| !replaces(&change, &tracked.change));
        self.outcomes += outcomes_of(held);
        held.push(Tracked {
            change,
            earlier,
            outcomes: BTreeMap::new(),
        });
    }

    /// Removes changes once everything that they replaced has expired too.
    pub(super) fn prune(&mut self, now: UnixNanos) {
        self.circuits.retain(|_, held| {
            held.retain(|tracked| tracked.change.time + EXPIRY_MAX > now);
            !held.is_empty()
        });
        self.outcomes = self.circuits.values().map(|held| outcomes_of(held)).sum();
    }

    /// Returns the changes that an instance has not got yet, oldest first, as many as fit.
    pub(super) fn changes_for(&self, poll: &Poll, now: UnixNanos, bytes_max: usize) -> Changes {
        let mut found: Vec<_> = self
            .of_service(&poll.service)
            .filter_map(|held| latest(held, &poll.instance))
            .filter(|tracked| tracked.is_due(poll.after, now))
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
            bytes += 200 + 6 * (change.key.name.len() + change.reason.len() + change.by.len());
            if bytes > bytes_max && !answer.changes.is_empty() {
                answer.after = answer.changes.last().map_or(0, |last: &Change| last.id);
                break;
            }
            answer.changes.push(Change {
                id: change.id,
                subject: fusebox::control::Subject::Breaker,
                name: change.key.name.clone(),
                action: change.action,
                reason: spoken(change),
                remaining_ms: remaining_ms(change, now),
            });
        }
        answer
    }

    /// Returns a poll's outcomes that are not known yet.
    pub(super) fn new_outcomes(&self, poll: &Poll, now: UnixNanos) -> Vec<ChangeOutcome> {
        let mut latest = BTreeMap::new();
        for acknowledged in &poll.acknowledged {
            latest.insert(acknowledged.change, acknowledged.outcome);
        }
        let mut room = OUTCOMES_ALL_MAX.saturating_sub(self.outcomes);
        let held = self.of_service(&poll.service).flatten();
        held.filter(|tracked| tracked.change.is_for(&poll.instance))
            .filter_map(|tracked| {
                let outcome = *latest.get(&tracked.change.id)?;
                let known = tracked.outcomes.get(&poll.instance);
                let is_new = match known {
                    Some(known) => known.outcome != outcome,
                    None => room > 0 && tracked.outcomes.len() < OUTCOMES_MAX,
                };
                room -= usize::from(is_new && known.is_none());
                is_new.then(|| ChangeOutcome {
                    key: tracked.change.key.clone(),
                    change: tracked.change.id,
                    instance: poll.instance.clone(),
                    time: now,
                    outcome,
                })
            })
            .collect()
    }

    /// Records an outcome; a new one only within the limits, which concurrent polls may reach first.
    pub(super) fn settle(&mut self, outcome: ChangeOutcome) {
        let has_room = self.outcomes < OUTCOMES_ALL_MAX;
        let held = self.circuits.get_mut(&outcome.key).into_iter().flatten();
        for tracked in held.filter(|tracked| tracked.change.id == outcome.change) {
            let is_known = tracked.outcomes.contains_key(&outcome.instance);
            if is_known || has_room {
                let instance = outcome.instance.clone();
                tracked.outcomes.insert(instance, outcome.clone());
                self.outcomes += usize::from(!is_known);
            }
        }
    }

    /// Records a poll. If full, channels that are not polling are evicted; they are recorded again at their
    /// next poll.
    pub(super) fn connect(
        &mut self,
        id: &(String, String),
        now: UnixNanos,
    ) -> Result<(), TooManyChannels> {
        if !self.channels.contains_key(id) && self.channels.len() >= CHANNELS_MAX {
            self.channels.retain(|_, channel| channel.open > 0);
            if self.channels.len() >= CHANNELS_MAX {
                return Err(TooManyChannels);
            }
        }
        let channel = self.channels.entry(id.clone()).or_insert(ChannelState {
            open: 0,
            first_seen: now,
            last_seen: now,
        });
        channel.open += 1;
        channel.last_seen = now;
        Ok(())
    }

    pub(super) fn disconnect(&mut self, id: &(String, String), now: UnixNanos) {
        if let Some(channel) = self.channels.get_mut(id) {
            channel.open = channel.open.saturating_sub(1);
            channel.last_seen = now;
        }
    }

    /// Returns every channel; one with a waiting poll counts as seen now.
    pub(super) fn channels(&self, now: UnixNanos) -> Vec<ChannelSeen> {
        let seen =
            |((service, instance), channel): (&(String, String), &ChannelState)| ChannelSeen {
                service: service.clone(),
                instance: instance.clone(),
                first_seen: channel.first_seen,
                last_seen: match channel.open {
                    0 => channel.last_seen,
                    _ => now,
                },
                is_open: channel.is_open(now),
            };
        self.channels.iter().map(seen).collect()
    }

    /// Returns a circuit's changes that have not expired, latest first.
    pub(super) fn statuses(&self, circuit: &CircuitView, now: UnixNanos) -> Vec<ChangeStatus> {
        let Some(held) = self.circuits.get(&circuit.key) else {
            return Vec::new();
        };
        let in_force = held.iter().rev().filter(|t| t.change.expires > now);
        let status = in_force.map(|tracked| ChangeStatus {
            change: tracked.change.clone(),
            deliveries: self.deliveries(held, tracked, circuit, now),
        });
        // A change that later ones replaced in every instance is over.
        let is_somewhere = |status: &ChangeStatus| {
            !status.deliveries.is_empty() || status.change.instances.is_empty()
        };
        status.filter(is_somewhere).collect()
    }

    fn deliveries(
        &self,
        held: &[Tracked],
        tracked: &Tracked,
        circuit: &CircuitView,
        now: UnixNanos,
    ) -> Vec<InstanceDelivery> {
        let live = circuit.instances.iter().filter(|known| !known.stale);
        let mut ids: Vec<&String> = live.map(|known| &known.id).collect();
        ids.extend(&tracked.change.instances);
        ids.sort();
        ids.dedup();
        let is_last = |id: &&&String| {
            latest(held, id).is_some_and(|latest| latest.change.id == tracked.change.id)
        };
        let delivery = |id: &String| {
            let outcome = tracked.outcomes.get(id);
            let state = match outcome {
                Some(outcome) => outcome.outcome.into(),
                None if self.has_channel(&circuit.key.service, id, now) => Delivery::Pending,
                None => Delivery::NoChannel,
            };
            InstanceDelivery {
                instance: id.clone(),
                state,
                time: outcome.map(|outcome| outcome.time),
            }
        };
        ids.iter().filter(is_last).map(|id| delivery(id)).collect()
    }

    fn has_channel(&self, service: &str, instance: &str, now: UnixNanos) -> bool {
        let id = (service.to_owned(), instance.to_owned());
        let channel = self.channels.get(&id);
        channel.is_some_and(|channel| channel.is_open(now))
    }

    fn of_service<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Vec<Tracked>> {
        let first = CircuitKey {
            service: service.to_owned(),
            name: String::new(),
        };
        let from = self.circuits.range(first..);
        from.take_while(move |(key, _)| key.service == service)
            .map(|(_, held)| held)
    }
}

impl Tracked {
    /// Whether to deliver it to an instance that has the changes up to `after`.
    fn is_due(&self, after: Option<u64>, now: UnixNanos) -> bool {
        let change = &self.change;
        let Some(after) = after else {
            // A process that has just started has nothing to reset.
            return change.action != Action::Reset && change.expires > now;
        };
        // An instance that was away may still be under a replaced change, even after this one expired.
        let is_under = |earlier: Earlier| earlier.first <= after && earlier.until > now;
        change.id > after && (change.expires > now || self.earlier.is_some_and(is_under))
    }

    /// Returns the changes that may be in force in an instance which does not get the next one.
    fn in_force(&self, now: UnixNanos) -> Option<Earlier> {
        let own = Earlier {
            first: self.change.id,
            until: self.change.expires,
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

impl ChannelState {
    /// Whether it polls, or did so recently enough to come again.
    fn is_open(&self, now: UnixNanos) -> bool {
        self.open > 0 || self.last_seen + 2 * WAIT_MAX > now
    }
}

fn outcomes_of(held: &[Tracked]) -> usize {
    held.iter().map(|tracked| tracked.outcomes.len()).sum()
}

/// Returns the latest change for an instance, expired or not.
fn latest<'a>(held: &'a [Tracked], instance: &str) -> Option<&'a Tracked> {
    let mut newest = held.iter().rev();
    newest.find(|tracked| tracked.change.is_for(instance))
}

fn replaces(later: &OperatorChange, earlier: &OperatorChange) -> bool {
    let of_all = later.instances.is_empty();
    of_all || (!earlier.instances.is_empty() && earlier.instances.iter().all(|id| later.is_for(id)))
}
