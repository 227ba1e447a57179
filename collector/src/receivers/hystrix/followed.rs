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
mod tests {
    use fusebox::circuit_breaker::{EffectiveState, OverrideKind};
    use serde_json::{Value, json};

    use super::*;
    use crate::codec::hystrix::decode;

    const SECOND: u64 = 1_000_000_000;

    fn command(name: &str, second: u64, success: u64, is_open: bool) -> Value {
        json!({"type": "HystrixCommand", "name": name, "group": "shop", "currentTime": 1_795_428_000_000 + second * 1_000,
            "isCircuitBreakerOpen": is_open, "rollingCountSuccess": success, "errorPercentage": 0, "requestCount": success,
            "currentConcurrentExecutionCount": 2, "threadPool": "warehouse",
            "propertyValue_executionIsolationStrategy": "THREAD",
            "latencyExecute": {"25": 10, "50": 20, "75": 30, "90": 40, "95": 50, "99": 60, "99.5": 70, "100": 80}})
    }

    fn read(followed: &mut Followed, object: &Value, second: u64) -> bool {
        let object = decode(&object.to_string()).unwrap();
        followed.read(object, UnixNanos::new((1_795_428_000 + second) * SECOND))
    }

    fn take(followed: &mut Followed, second: u64) -> Second {
        followed.take_second(UnixNanos::new((1_795_428_000 + second) * SECOND))
    }

    /// Guarantees: each second has the calls read in it, their latencies and the state; settings are reported
    /// when they change.
    #[test]
    fn a_second_has_what_came_in_it() {
        let mut followed = Followed::new("shop", "127.0.0.1:8081".to_owned());
        assert!(read(&mut followed, &command("stock", 0, 0, false), 0));
        let first = take(&mut followed, 0);
        assert_eq!((first.observations.len(), first.settings.len()), (1, 1));
        assert!(first.observations[0].counts.is_empty());
        assert!(
            take(&mut followed, 1).observations.is_empty(),
            "nothing was read"
        );
        let pool =
            json!({"type": "HystrixThreadPool", "name": "warehouse", "currentCorePoolSize": 7});
        assert!(read(&mut followed, &pool, 1));
        assert!(read(&mut followed, &command("stock", 1, 80, false), 1));
        assert!(read(&mut followed, &command("stock", 2, 200, true), 2));
        let second = take(&mut followed, 2);
        let stock = &second.observations[0];
        assert_eq!(
            (stock.key.service.as_str(), stock.key.name.as_str()),
            ("shop", "stock")
        );
        assert_eq!(
            (stock.state, stock.in_flight),
            (Some(EffectiveState::Open), Some(2))
        );
        let point = &stock.counts[0];
        assert_eq!(
            (stock.counts.len(), point.what, point.count),
            (1, Count::Outcome(Outcome::Success), 200)
        );
        for (share, ms) in [(0.5, 20.0), (0.9, 40.0), (0.99, 60.0), (1.0, 80.0)] {
            let got = point.latency.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((got / ms - 1.0).abs() < 0.05, "{share}: {got}");
        }
        assert_eq!(second.settings[0].settings.max_concurrent, Some(7));
    }

    /// Guarantees: a collapser is reported with its counts, settings and the sizes of its batches, once a second.
    #[test]
    fn a_second_has_the_collapsers_of_its_stream() {
        let mut followed = Followed::new("shop", "a:1".to_owned());
        let collapser = json!({"type": "HystrixCollapser", "name": "prices", "currentTime": 1_795_428_000_000_u64,
            "rollingCountRequestsBatched": 30, "rollingCountBatches": 10, "rollingCountResponsesFromCache": 4,
            "batchSize_mean": 3, "batchSize": {"25": 2, "50": 3, "75": 3, "90": 4, "95": 4, "99": 5, "99.5": 5, "100": 5},
            "propertyValue_maxRequestsInBatch": 100, "propertyValue_timerDelayInMilliseconds": 10, "reportingHosts": 1});
        assert!(read(&mut followed, &collapser, 0));
        let policies = take(&mut followed, 0).policies;
        let prices = PolicyId {
            kind: COLLAPSER,
            name: "prices".to_owned(),
        };
        assert!(policies.iter().all(|report| report.id == prices));
        let reading = |figure: Figure| {
            let report = policies.iter().find(|report| report.figure == figure);
            report.map(|report| report.reading.clone())
        };
        assert_eq!(reading(Figure::Count("calls")), Some(window(30)));
        assert_eq!(reading(Figure::Count("from_cache")), Some(window(4)));
        assert_eq!(reading(Figure::Now("size_max")), Some(Reading::Value(100)));
        assert_eq!(reading(Figure::Now("delay_ms")), Some(Reading::Value(10)));
        let Some(Reading::Window(10, sizes)) = reading(Figure::Count("batches")) else {
            panic!("{policies:?}");
        };
        let median = sizes.quantile(0.5).unwrap().as_secs_f64();
        assert!((median / 3.0 - 1.0).abs() < 0.05, "{median}");
        assert_eq!(take(&mut followed, 1).policies, []);
    }

    /// Guarantees: a forced state is reported when it begins and ends, and everything is reported again on a
    /// new connection.
    #[test]
    fn settings_are_reported_when_they_change_and_over_a_new_connection() {
        let mut followed = Followed::new("shop", "a:1".to_owned());
        let mut sent = |second, is_forced: bool, is_connected| {
            if is_connected {
                followed.connected();
            }
            let mut stock = command("stock", second, 0, false);
            stock["propertyValue_circuitBreakerForceOpen"] = is_forced.into();
            assert!(read(&mut followed, &stock, second));
            let settings = take(&mut followed, second).settings.into_iter();
            let forced = settings.map(|report| report.forced.map(|forced| forced.kind));
            forced.collect::<Vec<_>>()
        };
        assert_eq!(sent(0, false, true), [None]);
        assert_eq!(sent(1, true, false), [Some(OverrideKind::ForcedOpen)]);
        assert_eq!(sent(2, true, false), []);
        assert_eq!(sent(3, false, false), [None]);
        assert_eq!(sent(4, false, true), [None]);
    }

    /// Guarantees: the first calls of a command count if it was first called while the stream was read.
    #[test]
    fn calls_of_a_new_command_count() {
        let mut followed = Followed::new("shop", "a:1".to_owned());
        assert!(read(&mut followed, &command("stock", 0, 5, false), 0));
        assert!(read(&mut followed, &command("price", 1, 5, false), 1));
        assert!(read(&mut followed, &command("mail", 60, 5, false), 60));
        followed.connected();
        assert!(read(&mut followed, &command("cart", 70, 5, false), 70));
        let observations = take(&mut followed, 70).observations.into_iter();
        let with_calls = observations.filter(|one| !one.counts.is_empty());
        let names: Vec<_> = with_calls
            .map(|one| (one.key.name, one.counts[0].count))
            .collect();
        assert_eq!(names, [("mail".to_owned(), 5)]);
    }

    #[test]
    fn names_are_bounded_and_idle_ones_make_room() {
        let mut followed = Followed::new("shop", "a:1".to_owned());
        for n in 0..NAMES_MAX {
            assert!(read(
                &mut followed,
                &command(&format!("c{n}"), 0, 0, false),
                0
            ));
        }
        assert!(!read(&mut followed, &command("one more", 0, 0, false), 0));
        assert!(read(&mut followed, &command("c7", 1, 0, false), 1));
        take(&mut followed, 1);
        assert!(!read(
            &mut followed,
            &command("one more", 901, 0, false),
            901
        ));
        assert!(read(
            &mut followed,
            &command("one more", 902, 0, false),
            902
        ));
        assert_eq!(followed.commands.len(), 1);
    }
}
