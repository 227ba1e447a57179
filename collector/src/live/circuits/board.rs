//! All breakers that report to this collector; turns each report into journal records and announcements.

mod clock;
mod gone;
mod room;

use std::collections::{BTreeMap, HashMap};

use self::gone::Gone;
use super::counted::CallsMade;
use super::facts::Facts;
use super::instance::Instance;
use super::replay::Id;
use super::rollup::Minutes;
use super::timing::{FORGET_AFTER, RECENT_COUNT, ROLLUPS_EVERY, SETTINGS_EVERY, STANDING_EVERY};
use crate::codec::circuits::{Observation, SettingsReport};
use crate::model::{CircuitCalls, CircuitKey, CircuitTransition, Source, UnixNanos};
use crate::store::series::{SeriesRecord, SettingsRecord};
use fusebox::circuit_breaker::EffectiveState;

/// Breaker instances tracked at once, about 20 KiB each; reports of further ones are counted and dropped.
pub(super) const MAX_INSTANCES: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Board {
    circuits: BTreeMap<CircuitKey, Circuit>,
    targets: BTreeMap<CircuitKey, String>,
    instances: usize,
    by_service: HashMap<String, usize>,
    /// The last time that no idle instance could be evicted.
    none_idle_at: Option<UnixNanos>,
    /// The latest time of a report.
    latest: UnixNanos,
    last_rollups: UnixNanos,
    last_standing: UnixNanos,
    last_settings: UnixNanos,
    restored_at: UnixNanos,
    /// When the collector started to receive reports.
    opened_at: UnixNanos,
    /// Instances that were removed from the board.
    gone: Gone,
}

#[derive(Debug, Default)]
struct Circuit {
    instances: BTreeMap<String, Instance>,
    minutes: Minutes,
    /// Whether the instance is known only from spans.
    is_of_spans: bool,
    /// Until when it was known only from spans, before its own reports arrived.
    spans_until: Option<UnixNanos>,
}

/// The instance that a request concerns, and the minutes of its breaker.
struct Found<'a> {
    instance: &'a mut Instance,
    minutes: &'a mut Minutes,
    is_new: bool,
}

#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) records: Vec<SeriesRecord>,
    pub(super) transitions: Vec<CircuitTransition>,
    /// Instances or series beyond a limit.
    pub(super) over_limit: u64,
    /// Their data points or log records.
    pub(super) not_kept: u64,
    /// Transitions to open of breakers beyond the limit.
    pub(super) openings_not_kept: u64,
}

impl Effects {
    fn transition(&mut self, transition: CircuitTransition) {
        self.transitions.push(transition.clone());
        self.records.push(SeriesRecord::Transition(transition));
    }

    /// Stores the standing of a new instance.
    fn first_standing(&mut self, found: &Found<'_>) {
        if found.is_new {
            let standing = found.instance.standing_to_store();
            self.records.push(SeriesRecord::Standing(standing));
        }
    }
}

impl Board {
    /// Returns an empty board of a collector that starts to receive reports.
    pub(super) fn opened(now: UnixNanos) -> Self {
        Self {
            opened_at: now,
            ..Self::default()
        }
    }

    /// Applies a metrics observation of an instance, which may be known to another collector.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        is_known_elsewhere: bool,
        now: UnixNanos,
        effects: &mut Effects,
    ) {
        let (key, id) = (&observation.key, &observation.instance);
        let counts_from = self.counts_from(key, id, is_known_elsewhere, now);
        let Some(found) = self.instance(key, id, observation.source, now, effects) else {
            effects.not_kept += observation.points;
            return;
        };
        let observed = found.instance.observe(observation, counts_from, now);
        let sample = observed.sample;
        let calls = sample.as_ref().map(|sample| sample.calls);
        let state = found.instance.standing.state;
        found.minutes.add(now, &calls.unwrap_or_default(), state);
        effects.over_limit += observed.too_many_series;
        effects.not_kept += observed.too_many_series;
        effects.first_standing(&found);
        // The other collector knows since when a new instance has been in its state.
        let is_reported = found.is_new && is_known_elsewhere;
        if let Some(derived) = observed.derived.filter(|_| !is_reported) {
            effects.transition(derived);
        }
        effects.records.extend(sample.map(SeriesRecord::Sample));
    }

    /// Returns whether a service sends metrics or events of its breakers.
    pub(super) fn hears_of(&self, service: &str) -> bool {
        let first = CircuitKey {
            service: service.to_owned(),
            name: String::new(),
        };
        let of_service = self.circuits.range(first..);
        let mut of_service = of_service.take_while(|(key, _)| key.service == service);
        of_service.any(|(_, circuit)| {
            let mut instances = circuit.instances.values();
            instances.any(|one| one.standing.source != Source::Spans && !one.restored)
        })
    }

    /// Returns until when a breaker's calls were known only from spans.
    fn known_from_spans(&self, key: &CircuitKey) -> Option<UnixNanos> {
        let circuit = self.circuits.get(key)?;
        if !circuit.is_of_spans {
            return circuit.spans_until;
        }
        let standings = circuit.instances.values().map(|one| &one.standing);
        let of_spans = standings.filter(|standing| standing.source == Source::Spans);
        of_spans.map(|standing| standing.last_seen).max()
    }

    /// Removes a breaker's instances known only from spans, now that its own reports arrive.
    fn forget_spans(&mut self, key: &CircuitKey) {
        if !self.circuits.get(key).is_some_and(|one| one.is_of_spans) {
            return;
        }
        let until = self.known_from_spans(key);
        let Some(circuit) = self.circuits.get_mut(key) else {
            return;
        };
        circuit.is_of_spans = false;
        circuit.spans_until = until;
        let before = circuit.instances.len();
        circuit
            .instances
            .retain(|_, one| one.standing.source != Source::Spans);
        let gone = before - circuit.instances.len();
        self.instances -= gone;
        let count = self.by_service.entry(key.service.clone()).or_default();
        *count = count.saturating_sub(gone);
    }

    /// Returns the time after which a count must have started so that its calls cannot have been counted
    /// before.
    fn counts_from(
        &self,
        key: &CircuitKey,
        id: &str,
        is_known_elsewhere: bool,
        now: UnixNanos,
    ) -> UnixNanos {
        let recent = now - RECENT_COUNT;
        let gone = self.gone.last_seen(key, id);
        match gone.max(self.known_from_spans(key)) {
            Some(last_seen) => last_seen,
            None if is_known_elsewhere => recent,
            None => self.opened_at.min(recent),
        }
    }

    pub(super) fn transition(
        &mut self,
        transition: CircuitTransition,
        now: UnixNanos,
        effects: &mut Effects,
    ) {
        let (key, id) = (transition.key.clone(), transition.instance.clone());
        let Some(found) = self.instance(&key, &id, Source::Fusebox, now, effects) else {
            effects.not_kept += 1;
            effects.openings_not_kept += u64::from(transition.to == EffectiveState::Open);
            return;
        };
        let worst = transition.from.max(transition.to);
        if let Some(transition) = found.instance.transition(transition, now) {
            found.minutes.add(now, &CircuitCalls::default(), worst);
            effects.transition(transition);
        }
        effects.first_standing(&found);
    }

    pub(super) fn settings(
        &mut self,
        report: SettingsReport,
        now: UnixNanos,
        effects: &mut Effects,
    ) {
        let (key, id) = (&report.key, &report.instance);
        let Some(found) = self.instance(key, id, Source::Fusebox, now, effects) else {
            effects.not_kept += 1;
            return;
        };
        let record = SettingsRecord {
            key: report.key,
            instance: report.instance,
            time: now,
            settings: report.settings,
            forced: report.forced,
        };
        if found.instance.settings(record.clone(), now) {
            effects.records.push(SeriesRecord::Settings(record));
        }
        effects.first_standing(&found);
    }

    /// Returns a breaker's instance, added if it is new; `None`, counted, beyond the limit.
    fn instance(
        &mut self,
        key: &CircuitKey,
        id: &str,
        source: Source,
        now: UnixNanos,
        effects: &mut Effects,
    ) -> Option<Found<'_>> {
        if source != Source::Spans {
            self.forget_spans(key);
        }
        let circuit = self.circuits.get(key);
        let is_new = circuit.is_none_or(|circuit| !circuit.instances.contains_key(id));
        if is_new {
            if self.instances >= MAX_INSTANCES && !self.make_room(&key.service, now) {
                effects.over_limit += 1;
                return None;
            }
            self.count_one(&key.service);
            let mut instance = Instance::new(key, id, source, now);
            instance.standing.target = self.targets.get(key).cloned().unwrap_or_default();
            let circuit = self.circuits.entry(key.clone()).or_default();
            circuit.instances.insert(id.to_owned(), instance);
            circuit.is_of_spans |= source == Source::Spans;
        }
        let circuit = self.circuits.get_mut(key)?;
        Some(Found {
            instance: circuit.instances.get_mut(id)?,
            minutes: &mut circuit.minutes,
            is_new,
        })
    }

    fn count_one(&mut self, service: &str) {
        self.instances += 1;
        *self.by_service.entry(service.to_owned()).or_default() += 1;
    }

    /// Runs periodic work: rolls up ended hours, writes standings and settings, removes expired instances.
    pub(super) fn tick(&mut self, now: UnixNanos, effects: &mut Effects) {
        if now - self.last_rollups >= ROLLUPS_EVERY {
            self.last_rollups = now;
            self.write_rollups(now, effects);
        }
        if now - self.last_standing >= STANDING_EVERY {
            self.last_standing = now;
            self.remove_expired(now);
            self.write_standings(now, effects);
        }
        if now - self.last_settings >= SETTINGS_EVERY {
            self.last_settings = now;
            self.write_settings(now, effects);
        }
    }

    fn write_rollups(&mut self, now: UnixNanos, effects: &mut Effects) {
        for (key, circuit) in &mut self.circuits {
            let ended = circuit.minutes.take_ended_hours(key, now);
            let records = ended.into_iter().map(SeriesRecord::Rollup);
            effects.records.extend(records);
        }
    }

    fn write_standings(&mut self, now: UnixNanos, effects: &mut Effects) {
        for circuit in self.circuits.values_mut() {
            for instance in circuit.instances.values_mut() {
                instance.standing.time = now;
                let standing = instance.standing_to_store();
                effects.records.push(SeriesRecord::Standing(standing));
            }
        }
    }

    fn write_settings(&mut self, now: UnixNanos, effects: &mut Effects) {
        for circuit in self.circuits.values_mut() {
            for report in circuit
                .instances
                .values_mut()
                .filter_map(|i| i.report.as_mut())
            {
                report.time = now;
                effects.records.push(SeriesRecord::Settings(report.clone()));
            }
        }
    }

    fn remove_expired(&mut self, now: UnixNanos) {
        let restored_at = self.restored_at;
        let mut left = HashMap::new();
        let gone = &mut self.gone;
        self.circuits.retain(|key, circuit| {
            circuit.instances.retain(|_, instance| {
                let stays = !is_gone(instance, restored_at, now);
                if !stays {
                    gone.note(&instance.standing);
                }
                stays
            });
            if !circuit.instances.is_empty() {
                *left.entry(key.service.clone()).or_default() += circuit.instances.len();
            }
            !circuit.instances.is_empty() || !circuit.minutes.is_empty()
        });
        self.instances = left.values().sum();
        self.by_service = left;
        let circuits = &self.circuits;
        self.targets.retain(|key, _| circuits.contains_key(key));
    }

    pub(super) fn learn_target(&mut self, key: &CircuitKey, target: &str) {
        let Some(circuit) = self.circuits.get_mut(key) else {
            return;
        };
        if self.targets.get(key).is_some_and(|known| known == target) {
            return;
        }
        self.targets.insert(key.clone(), target.to_owned());
        for instance in circuit.instances.values_mut() {
            target.clone_into(&mut instance.standing.target);
        }
    }

    /// Restores an earlier run from the journal.
    pub(super) fn restore(
        &mut self,
        facts: Vec<Facts>,
        minutes: BTreeMap<CircuitKey, Minutes>,
        now: UnixNanos,
    ) {
        self.restored_at = now;
        for facts in facts {
            let key = facts.standing.key.clone();
            let service = key.service.clone();
            if !facts.standing.target.is_empty() {
                self.targets
                    .insert(key.clone(), facts.standing.target.clone());
            }
            let instance = Instance::restore(facts);
            let id = instance.standing.instance.clone();
            let circuit = self.circuits.entry(key).or_default();
            circuit.is_of_spans |= instance.standing.source == Source::Spans;
            circuit.instances.insert(id, instance);
            self.count_one(&service);
        }
        for (key, minutes) in minutes {
            self.circuits.entry(key).or_default().minutes = minutes;
        }
    }

    /// Returns the instances on the wall, by breaker.
    pub(super) fn facts(&self, now: UnixNanos) -> Vec<(CircuitKey, Vec<Facts>)> {
        let circuits = self.circuits.iter();
        let facts = circuits.map(|(key, circuit)| (key.clone(), self.facts_of(circuit, now)));
        facts.filter(|(_, facts)| !facts.is_empty()).collect()
    }

    /// Returns at most `max` instances that are not stale, the worst states first.
    pub(super) fn worst_instances(&self, max: usize, now: UnixNanos) -> Vec<Id> {
        let circuits = self.circuits.values();
        let instances = circuits.flat_map(|circuit| circuit.instances.values());
        let mut reporting: Vec<_> = instances.filter(|one| !one.is_stale(now)).collect();
        reporting.sort_by_key(|one| std::cmp::Reverse(one.standing.state));
        reporting.truncate(max);
        let id = |one: &&Instance| (one.standing.key.clone(), one.standing.instance.clone());
        reporting.iter().map(id).collect()
    }

    pub(super) fn counted(
        &self,
        id: &Id,
        now: UnixNanos,
    ) -> Option<(Facts, CircuitCalls, CallsMade)> {
        let (key, instance) = id;
        let instance = self.circuits.get(key)?.instances.get(instance)?;
        Some((instance.facts(now), instance.counted, instance.made.clone()))
    }

    pub(super) fn services(&self) -> Vec<String> {
        self.by_service.keys().cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.circuits.len()
    }

    pub(super) fn circuit_facts(&self, key: &CircuitKey, now: UnixNanos) -> Vec<Facts> {
        let circuit = self.circuits.get(key);
        circuit.map_or_else(Vec::new, |circuit| self.facts_of(circuit, now))
    }

    fn facts_of(&self, circuit: &Circuit, now: UnixNanos) -> Vec<Facts> {
        let instances = circuit.instances.values();
        let on_wall = instances.filter(|instance| !is_gone(instance, self.restored_at, now));
        on_wall.map(|instance| instance.facts(now)).collect()
    }

    pub(super) fn known_target(&self, key: &CircuitKey) -> Option<String> {
        self.targets.get(key).cloned()
    }

    /// Returns a breaker's minutes that are not in the journal as rollups yet.
    pub(super) fn minutes(&self, key: &CircuitKey) -> Minutes {
        let circuit = self.circuits.get(key);
        circuit
            .map(|circuit| circuit.minutes.clone())
            .unwrap_or_default()
    }

    pub(super) fn last_seen(&self) -> BTreeMap<(CircuitKey, String), UnixNanos> {
        let instances = self
            .circuits
            .values()
            .flat_map(|circuit| circuit.instances.values());
        instances
            .filter(|instance| !instance.restored)
            .map(|instance| {
                let standing = &instance.standing;
                let id = (standing.key.clone(), standing.instance.clone());
                (id, standing.last_seen)
            })
            .collect()
    }
}

/// Returns whether an instance has left the wall.
fn is_gone(instance: &Instance, restored_at: UnixNanos, now: UnixNanos) -> bool {
    now - instance.heard(restored_at) > FORGET_AFTER
}
