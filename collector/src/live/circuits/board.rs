//! All breakers as they report, and what each report means for the journal and for those who watch.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::instance::Instance;
use super::rollup::Minutes;
use crate::codec::circuits::{CircuitEvent, Observation, SettingsReport, Source};
use crate::model::{CircuitKey, CircuitTransition, HOUR_NANOS, MINUTE_NANOS};
use crate::store::series::{SeriesRecord, SettingsRecord};

/// Instances of breakers that are followed at once (ours: about 20 KiB each); more are counted and passed over.
pub(super) const MAX_INSTANCES: usize = 10_000;
/// After that much silence an instance leaves the wall; the journal keeps it.
pub(super) const FORGET_NANOS: u64 = 15 * MINUTE_NANOS;
/// How often the standing of every instance is written.
pub(super) const STANDING_NANOS: u64 = MINUTE_NANOS;
/// How often unchanged settings are written again.
pub(super) const SETTINGS_NANOS: u64 = HOUR_NANOS;

/// All breakers.
#[derive(Debug, Default)]
pub(super) struct Board {
    circuits: BTreeMap<CircuitKey, Circuit>,
    targets: BTreeMap<CircuitKey, String>,
    instances: usize,
    last_standing: u64,
    last_settings: u64,
    restored_at: u64,
}

#[derive(Debug, Default)]
struct Circuit {
    instances: BTreeMap<String, Instance>,
    minutes: Minutes,
}

/// What requests lead to.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// To be made durable.
    pub(super) records: Vec<SeriesRecord>,
    /// To be announced.
    pub(super) transitions: Vec<CircuitTransition>,
    /// Instances or series over a limit.
    pub(super) over_limit: u64,
}

impl Effects {
    fn transition(&mut self, transition: CircuitTransition) {
        self.transitions.push(transition.clone());
        self.records.push(SeriesRecord::Transition(transition));
    }
}

impl Board {
    /// Takes in what a metrics request says of an instance.
    pub(super) fn observe(&mut self, observation: &Observation, now: u64, effects: &mut Effects) {
        let (key, id) = (&observation.key, &observation.instance);
        let Some((circuit, is_new)) = self.circuit(key, id, observation.source, now) else {
            effects.over_limit += 1;
            return;
        };
        let Some(instance) = circuit.instances.get_mut(id) else {
            return;
        };
        let observed = instance.observe(observation, now);
        effects.over_limit += observed.too_many_series;
        let state = instance.standing.state;
        let standing = is_new.then(|| SeriesRecord::Standing(instance.standing.clone()));
        let calls = observed.sample.as_ref().map(|sample| sample.calls);
        circuit.minutes.add(now, &calls.unwrap_or_default(), state);
        effects.records.extend(standing);
        if let Some(derived) = observed.derived {
            effects.transition(derived);
        }
        effects
            .records
            .extend(observed.sample.map(SeriesRecord::Sample));
    }

    /// Takes in an event.
    pub(super) fn event(&mut self, event: CircuitEvent, now: u64, effects: &mut Effects) {
        match event {
            CircuitEvent::Transition(transition) => self.transition(transition, now, effects),
            CircuitEvent::Settings(report) => self.settings(report, now, effects),
        }
    }

    fn transition(&mut self, transition: CircuitTransition, now: u64, effects: &mut Effects) {
        let (key, id) = (transition.key.clone(), transition.instance.clone());
        let Some((circuit, is_new)) = self.circuit(&key, &id, Source::Fusebox, now) else {
            effects.over_limit += 1;
            return;
        };
        let Some(instance) = circuit.instances.get_mut(&id) else {
            return;
        };
        let worst = transition.from.max(transition.to);
        if let Some(transition) = instance.transition(transition, now) {
            circuit.minutes.add(now, &Default::default(), worst);
            effects.transition(transition);
        }
        if is_new {
            let standing = instance.standing.clone();
            effects.records.push(SeriesRecord::Standing(standing));
        }
    }

    fn settings(&mut self, report: SettingsReport, now: u64, effects: &mut Effects) {
        let SettingsReport {
            key,
            instance: id,
            settings,
            forced,
        } = report;
        let Some((circuit, is_new)) = self.circuit(&key, &id, Source::Fusebox, now) else {
            effects.over_limit += 1;
            return;
        };
        let Some(instance) = circuit.instances.get_mut(&id) else {
            return;
        };
        let record = SettingsRecord {
            key,
            instance: id,
            time_unix_nanos: now,
            settings,
            forced,
        };
        if instance.settings(record.clone(), now) {
            effects.records.push(SeriesRecord::Settings(record));
        }
        if is_new {
            let standing = instance.standing.clone();
            effects.records.push(SeriesRecord::Standing(standing));
        }
    }

    /// Returns the breaker with that instance in it, and whether the instance is new; `None` over the limit.
    fn circuit(
        &mut self,
        key: &CircuitKey,
        id: &str,
        source: Source,
        now: u64,
    ) -> Option<(&mut Circuit, bool)> {
        let known = self
            .circuits
            .get(key)
            .is_some_and(|c| c.instances.contains_key(id));
        if !known {
            if self.instances >= MAX_INSTANCES {
                return None;
            }
            self.instances += 1;
            let circuit = self.circuits.entry(key.clone()).or_default();
            let mut instance = Instance::new(key, id, source, now);
            instance.standing.target = self.targets.get(key).cloned().unwrap_or_default();
            circuit.instances.insert(id.to_owned(), instance);
        }
        self.circuits.get_mut(key).map(|circuit| (circuit, !known))
    }

    /// Does what is due by time: hours that ended, standings, silent instances.
    pub(super) fn tick(&mut self, now: u64, effects: &mut Effects) {
        for (key, circuit) in &mut self.circuits {
            let ended = circuit.minutes.take_ended_hours(key, now);
            effects
                .records
                .extend(ended.into_iter().map(SeriesRecord::Rollup));
        }
        if now.saturating_sub(self.last_standing) >= STANDING_NANOS {
            self.last_standing = now;
            self.forget_silent(now);
            self.write_standings(now, effects);
        }
        if now.saturating_sub(self.last_settings) >= SETTINGS_NANOS {
            self.last_settings = now;
            self.write_settings(now, effects);
        }
    }

    fn write_standings(&mut self, now: u64, effects: &mut Effects) {
        for circuit in self.circuits.values_mut() {
            for instance in circuit.instances.values_mut() {
                instance.standing.time_unix_nanos = now;
                let standing = instance.standing.clone();
                effects.records.push(SeriesRecord::Standing(standing));
            }
        }
    }

    fn write_settings(&mut self, now: u64, effects: &mut Effects) {
        for circuit in self.circuits.values_mut() {
            for report in circuit
                .instances
                .values_mut()
                .filter_map(|i| i.report.as_mut())
            {
                report.time_unix_nanos = now;
                effects.records.push(SeriesRecord::Settings(report.clone()));
            }
        }
    }

    fn forget_silent(&mut self, now: u64) {
        let restored_at = self.restored_at;
        let mut left = 0;
        self.circuits.retain(|_, circuit| {
            circuit
                .instances
                .retain(|_, instance| !is_gone(instance, restored_at, now));
            left += circuit.instances.len();
            !circuit.instances.is_empty() || !circuit.minutes.is_empty()
        });
        self.instances = left;
        let circuits = &self.circuits;
        self.targets.retain(|key, _| circuits.contains_key(key));
    }

    /// Remembers what a breaker protects; only of breakers that are known.
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

    /// Takes over what the journal knows of an earlier run.
    pub(super) fn restore(
        &mut self,
        facts: Vec<Facts>,
        minutes: BTreeMap<CircuitKey, Minutes>,
        now: u64,
    ) {
        self.restored_at = now;
        for facts in facts {
            let key = facts.standing.key.clone();
            if !facts.standing.target.is_empty() {
                self.targets
                    .insert(key.clone(), facts.standing.target.clone());
            }
            let instance = Instance::restore(facts);
            let id = instance.standing.instance.clone();
            let circuit = self.circuits.entry(key).or_default();
            circuit.instances.insert(id, instance);
            self.instances += 1;
        }
        for (key, minutes) in minutes {
            self.circuits.entry(key).or_default().minutes = minutes;
        }
    }

    /// Returns the instances on the wall, by breaker.
    pub(super) fn facts(&self, now: u64) -> Vec<(CircuitKey, Vec<Facts>)> {
        let circuits = self.circuits.iter();
        let facts = circuits.map(|(key, circuit)| (key.clone(), self.facts_of(circuit, now)));
        facts.filter(|(_, facts)| !facts.is_empty()).collect()
    }

    /// Returns the instances of one breaker.
    pub(super) fn circuit_facts(&self, key: &CircuitKey, now: u64) -> Vec<Facts> {
        let circuit = self.circuits.get(key);
        circuit.map_or_else(Vec::new, |circuit| self.facts_of(circuit, now))
    }

    fn facts_of(&self, circuit: &Circuit, now: u64) -> Vec<Facts> {
        let instances = circuit.instances.values();
        let on_wall = instances.filter(|instance| !is_gone(instance, self.restored_at, now));
        on_wall.map(|instance| instance.facts(now)).collect()
    }

    /// Returns what a breaker protects: the called service as learnt from spans.
    pub(super) fn known_target(&self, key: &CircuitKey) -> Option<String> {
        self.targets.get(key).cloned()
    }

    /// Returns the minutes of a breaker that are not yet in the journal as rollups.
    pub(super) fn minutes(&self, key: &CircuitKey) -> Minutes {
        let circuit = self.circuits.get(key);
        circuit
            .map(|circuit| circuit.minutes.clone())
            .unwrap_or_default()
    }

    /// Returns when each instance was last heard of.
    pub(super) fn last_seen(&self) -> BTreeMap<(CircuitKey, String), u64> {
        let instances = self
            .circuits
            .values()
            .flat_map(|circuit| circuit.instances.values());
        instances
            .filter(|instance| !instance.restored)
            .map(|instance| {
                let standing = &instance.standing;
                let id = (standing.key.clone(), standing.instance.clone());
                (id, standing.last_seen_unix_nanos)
            })
            .collect()
    }
}

/// Returns whether an instance has left the wall; one that was restored has as long from the restart on.
fn is_gone(instance: &Instance, restored_at: u64, now: u64) -> bool {
    let heard = instance.standing.last_seen_unix_nanos;
    let heard = if instance.restored {
        heard.max(restored_at)
    } else {
        heard
    };
    now.saturating_sub(heard) > FORGET_NANOS
}
