//! The commands of one stream: turns what arrived within a second into observations of their circuits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fusebox::circuit_breaker::{LatencyHistogram, Outcome};

use super::growth::Growth;
use super::latency::Latencies;
use crate::codec::circuits::{
    Count, CountPoint, Figure, Observation, PolicyId, PolicyReport, Reading, SettingsReport,
    Temporality,
};
use crate::codec::hystrix::{Collapser, Command, Object, Pool};
use crate::model::policy::{COLLAPSER, POOL};
use crate::model::{CircuitCalls, CircuitKey, CircuitSettings, OverrideView, Source, UnixNanos};

/// Commands, pools and collapsers per stream; a service has some dozens.
const NAMES_MAX: usize = 1_000;
/// A command missing from the stream for this long can be evicted; by then it has left the wall.
const IDLE_MAX: Duration = Duration::from_secs(15 * 60);

#[derive(Debug)]
pub(super) struct Followed {
    service: String,
    instance: String,
    commands: BTreeMap<String, Known>,
    pools: BTreeMap<String, Pool>,
    /// Pools read since the last observation.
    fresh_pools: BTreeSet<String>,
    /// Collapsers read since the last observation.
    collapsers: BTreeMap<String, Collapser>,
    /// When the first command of this connection was read.
    read_since: Option<UnixNanos>,
}

#[derive(Debug)]
struct Known {
    command: Command,
    growth: Growth,
    latencies: Latencies,
    added: CircuitCalls,
    /// Whether it was read since the last observation.
    is_fresh: bool,
    observed: UnixNanos,
    /// The last reported settings and override on this connection.
    reported: Option<(CircuitSettings, Option<OverrideView>)>,
}

#[derive(Debug, Default)]
pub(super) struct Second {
    pub(super) observations: Vec<Observation>,
    pub(super) settings: Vec<SettingsReport>,
    pub(super) policies: Vec<PolicyReport>,
}

impl Followed {
    pub(super) fn new(service: &str, instance: String) -> Self {
        Self {
            service: service.to_owned(),
            instance,
            commands: BTreeMap::new(),
            pools: BTreeMap::new(),
            fresh_pools: BTreeSet::new(),
            collapsers: BTreeMap::new(),
            read_since: None,
        }
    }

    /// Starts a new connection: the board may have forgotten what was reported on the previous one.
    pub(super) fn connected(&mut self) {
        self.read_since = None;
        for known in self.commands.values_mut() {
            known.reported = None;
        }
    }

    /// Reads an object; returns false if there is no room for its name.
    pub(super) fn read(&mut self, object: Object, now: UnixNanos) -> bool {
        match object {
            Object::Command(command) => self.command(*command, now),
            Object::Pool(pool) => self.pool(pool),
            Object::Collapser(collapser) => self.collapser(collapser),
            Object::Other => true,
        }
    }

    fn pool(&mut self, pool: Pool) -> bool {
        let has_room = self.pools.len() < NAMES_MAX || self.pools.contains_key(&pool.name);
        if has_room {
            self.fresh_pools.insert(pool.name.clone());
            self.pools.insert(pool.name.clone(), pool);
        }
        has_room
    }

    fn collapser(&mut self, collapser: Collapser) -> bool {
        let is_known = self.collapsers.contains_key(&collapser.name);
        let has_room = is_known || self.collapsers.len() < NAMES_MAX;
        if has_room {
            self.collapsers.insert(collapser.name.clone(), collapser);
        }
        has_room
    }

    fn command(&mut self, command: Command, now: UnixNanos) -> bool {
        let read_for = now - *self.read_since.get_or_insert(now);
        // The time of several hosts is not meaningful.
        let at = match command.hosts {
            1 if command.time > UnixNanos::default() => command.time,
            _ => now,
        };
        if let Some(known) = self.commands.get_mut(&command.name) {
            let added = known.growth.add(at, command.window, &command.calls);
            known.added.add(&added);
            known.command = command;
            known.is_fresh = true;
            return true;
        }
        if self.commands.len() >= NAMES_MAX {
            self.commands
                .retain(|_, known| known.is_fresh || now - known.observed <= IDLE_MAX);
        }
        if self.commands.len() >= NAMES_MAX {
            return false;
        }
        let known = Known {
            growth: Growth::new(at, command.window, &command.calls),
            latencies: Latencies::default(),
            // If the command was missing from the stream for a window, all of its calls are new.
            added: match read_for >= command.window {
                true => command.calls,
                false => CircuitCalls::default(),
            },
            is_fresh: true,
            observed: now,
            reported: None,
            command,
        };
        self.commands.insert(known.command.name.clone(), known);
        true
    }

    fn policy(
        &self,
        kind: &'static str,
        name: &str,
        figure: Figure,
        reading: Reading,
    ) -> PolicyReport {
        PolicyReport {
            service: self.service.clone(),
            instance: self.instance.clone(),
            id: PolicyId {
                kind,
                name: name.to_owned(),
            },
            figure,
            reading,
        }
    }

    /// Returns the figures of the collapsers read since the last call.
    fn take_collapsers(&mut self) -> Vec<PolicyReport> {
        let fresh = std::mem::take(&mut self.collapsers).into_values();
        let reports = fresh.flat_map(|collapser| {
            let readings = of_collapser(&collapser).into_iter();
            let report =
                |(figure, reading)| self.policy(COLLAPSER, &collapser.name, figure, reading);
            readings.map(report).collect::<Vec<_>>()
        });
        reports.collect()
    }

    /// Returns the figures of the pools read since the last call, and the breakers whose calls they run.
    fn take_pools(&mut self) -> Vec<PolicyReport> {
        let fresh = std::mem::take(&mut self.fresh_pools);
        let report = |pool: &str, figure, reading| self.policy(POOL, pool, figure, reading);
        let pools = fresh.iter().filter_map(|name| self.pools.get(name));
        let of_pools = pools.flat_map(|pool| {
            let readings = readings(pool).into_iter();
            readings.map(|(figure, reading)| report(&pool.name, figure, reading))
        });
        let commands = self.commands.values().filter(|known| known.is_fresh);
        let callers = commands.filter_map(|known| {
            let pool = known.command.pool.as_deref()?;
            let caller = Figure::Caller(known.command.name.clone());
            Some(report(pool, caller, window(known.command.pool_rejected)))
        });
        of_pools.chain(callers).collect()
    }

    /// Takes the observations since the last call.
    pub(super) fn take_second(&mut self, now: UnixNanos) -> Second {
        let mut policies = self.take_pools();
        policies.extend(self.take_collapsers());
        let mut second = Second {
            policies,
            ..Second::default()
        };
        for known in self.commands.values_mut().filter(|known| known.is_fresh) {
            let key = CircuitKey {
                service: self.service.clone(),
                name: known.command.name.clone(),
            };
            second
                .observations
                .push(known.observe(key.clone(), &self.instance, now));
            if let Some((settings, forced)) = known.report(&self.pools) {
                second.settings.push(SettingsReport {
                    key,
                    instance: self.instance.clone(),
                    settings,
                    forced,
                });
            }
        }
        second
    }
}

/// Its counts are those of Hystrix's own window.
fn readings(pool: &Pool) -> [(Figure, Reading); 8] {
    use Reading::Value;
    [
        (Figure::Now("active"), Value(pool.active)),
        (Figure::Now("queued"), Value(pool.queued)),
        (Figure::Now("size"), Value(pool.core_size)),
        (Figure::Now("largest"), Value(pool.largest)),
        (Figure::Now("queue_limit"), Value(pool.queue_limit)),
        (Figure::Now("completed"), Value(pool.completed)),
        (Figure::Count("executed"), window(pool.executed)),
        (Figure::Count("rejected"), window(pool.rejected)),
    ]
}

/// Its counts are those of Hystrix's own window too.
fn of_collapser(collapser: &Collapser) -> [(Figure, Reading); 5] {
    use Reading::Value;
    // One second stands for one call.
    let sizes_ms = collapser.sizes.map(|calls| calls * 1e3);
    let sizes = Latencies::default().of(collapser.batches, &sizes_ms);
    let batches = Reading::Window(collapser.batches, sizes);
    [
        (Figure::Count("batches"), batches),
        (Figure::Count("calls"), window(collapser.calls)),
        (Figure::Count("from_cache"), window(collapser.from_cache)),
        (Figure::Now("size_max"), Value(collapser.size_max)),
        (Figure::Now("delay_ms"), Value(collapser.delay_ms)),
    ]
}

fn window(count: u64) -> Reading {
    Reading::Window(count, LatencyHistogram::default())
}

impl Known {
    fn observe(&mut self, key: CircuitKey, instance: &str, now: UnixNanos) -> Observation {
        let calls = std::mem::take(&mut self.added);
        let start = std::mem::replace(&mut self.observed, now);
        self.is_fresh = false;
        let counts = self.counts(&calls, start, now);
        Observation {
            key,
            instance: instance.to_owned(),
            source: Source::Hystrix,
            group: self.command.settings.group.clone(),
            time: now,
            points: counts.len() as u64 + 1,
            counts,
            state: Some(self.command.state),
            in_flight: Some(self.command.in_flight),
            own_window: Some(self.command.own_window),
        }
    }

    fn counts(
        &mut self,
        calls: &CircuitCalls,
        start: UnixNanos,
        time: UnixNanos,
    ) -> Vec<CountPoint> {
        let percentiles = &self.command.percentiles_ms;
        let mut ran = |count| self.latencies.of(count, percentiles);
        let executed = [
            (Outcome::Success, calls.success),
            (Outcome::Failure, calls.failure),
            (Outcome::Timeout, calls.timeout),
            (Outcome::Ignored, calls.ignored),
        ]
        .map(|(outcome, count)| (Count::Outcome(outcome), count, ran(count)));
        let others = [
            (Count::Outcome(Outcome::Rejected), calls.rejected),
            (Count::Outcome(Outcome::BulkheadFull), calls.bulkhead_full),
            (Count::Fallback { answered: true }, calls.fallback_success),
            (Count::Fallback { answered: false }, calls.fallback_failure),
        ]
        .map(|(what, count)| (what, count, LatencyHistogram::default()));
        let counts = executed.into_iter().chain(others);
        let happened = counts.filter(|(_, count, _)| *count > 0);
        let point = |(what, count, latency)| CountPoint {
            what,
            series: 0,
            temporality: Temporality::Delta,
            start,
            time,
            count,
            latency,
        };
        happened.map(point).collect()
    }

    /// Returns settings and override, if they are not reported yet.
    fn report(
        &mut self,
        pools: &BTreeMap<String, Pool>,
    ) -> Option<(CircuitSettings, Option<OverrideView>)> {
        let now = Some((self.settings(pools), self.forced()));
        if self.reported == now {
            return None;
        }
        self.reported.clone_from(&now);
        now
    }

    /// A command on a thread pool is limited by its workers, not by the semaphore, which it does not use.
    fn settings(&self, pools: &BTreeMap<String, Pool>) -> CircuitSettings {
        let mut settings = self.command.settings.clone();
        if let Some(pool) = &self.command.pool {
            let workers = pools
                .get(pool)
                .map(|pool| pool.core_size / self.command.hosts);
            settings.max_concurrent = workers.filter(|workers| *workers > 0);
        }
        settings
    }

    fn forced(&self) -> Option<OverrideView> {
        let kind = self.command.forced()?;
        Some(OverrideView {
            kind,
            reason: "a property of Hystrix".to_owned(),
            expires: None,
        })
    }
}

#[cfg(test)]
mod tests;
