//! The rolling figures of every breaker, pool and collapser of a registry, rendered as the text of the stream. Time is
//! an argument: `watch` calls this ten times a second while there are readers.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::collapsers::Collapsers;
use super::command::{CommandCounts, CommandEvent, CommandSettings, whole_ms};
use super::pools::Pools;
use super::rolling::{Rolling, WINDOW};
use crate::circuit_breaker::{CircuitBreaker, CircuitSnapshot, IsolationPool, Name, Registry};

/// Most breakers of a stream, about 2 KiB each per frame; the busiest are sent.
pub(super) const COMMANDS_MAX: usize = 1_000;

/// Interval in which running calls are counted; a shorter peak may be missed.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS_PER_SECOND: u32 = 10;

/// The figures of the breakers and pools of a registry.
#[derive(Debug)]
pub(super) struct Board {
    registry: Registry,
    commands: BTreeMap<String, Command>,
    pools: Pools,
    collapsers: Collapsers,
    looks: u32,
}

/// One breaker.
#[derive(Debug)]
struct Command {
    snapshot: CircuitSnapshot,
    pool: Option<Name>,
    rolling: Rolling,
}

impl Board {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            commands: BTreeMap::new(),
            pools: Pools::default(),
            collapsers: Collapsers::default(),
            looks: 0,
        }
    }

    /// Reads every breaker; the first and then every tenth call ends a second.
    pub(super) fn look(&mut self, now: SystemTime) {
        let ends_second = self.looks.is_multiple_of(LOOKS_PER_SECOND);
        self.looks = self.looks.wrapping_add(1);
        let (breakers, pools) = (self.registry.all(), self.registry.pools());
        self.pools.look(&pools, ends_second);
        let by_pool = if ends_second {
            self.collapsers.end_second(&breakers);
            callers(&pools)
        } else {
            Callers::new()
        };
        for breaker in &breakers {
            if ends_second {
                self.end_second(breaker, &by_pool, now);
            } else if let Some(command) = self.commands.get_mut(breaker.name()) {
                command.look(breaker);
            }
        }
        if self.commands.len() > breakers.len() {
            self.commands
                .retain(|name, _| self.registry.get(name).is_some());
        }
    }

    fn end_second(&mut self, breaker: &CircuitBreaker, by_pool: &Callers, now: SystemTime) {
        let known = by_pool.get(breaker.name());
        let pool = known.map(|(pool, _)| pool.clone());
        let shared = &breaker.shell.shared;
        let besides = CommandCounts {
            pool_rejected: known.map_or(0, |(_, refused)| *refused),
            from_cache: shared.answers_from_cache(),
            collapsed: shared.collapsed().map_or(0, |collapsed| collapsed.calls),
            ..CommandCounts::default()
        };
        let snapshot = breaker.snapshot();
        let known = self.commands.get_mut(breaker.name());
        // A breaker that was evicted or replaced starts again.
        let known = known.filter(|command| command.snapshot.created == snapshot.created);
        if let Some(command) = known {
            command.rolling.end_second(&snapshot, &besides);
            (command.snapshot, command.pool) = (snapshot, pool);
            return;
        }
        let age = now.duration_since(snapshot.created).unwrap_or_default();
        let mut rolling = Rolling::new(&snapshot, &besides, age < WINDOW);
        rolling.end_second(&snapshot, &besides);
        self.commands.insert(
            breaker.name().to_owned(),
            Command {
                snapshot,
                pool,
                rolling,
            },
        );
    }

    /// Returns a frame with all breakers that were ever called, the pools, and the collapsers.
    pub(super) fn frame(&self, now: SystemTime) -> String {
        let time_ms = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, whole_ms);
        let called = self.commands.values().filter(|command| command.is_called());
        let mut commands: Vec<_> = called.collect();
        if commands.len() > COMMANDS_MAX {
            commands.sort_by_cached_key(|command| {
                std::cmp::Reverse(command.rolling.counts().calls.total())
            });
            commands.truncate(COMMANDS_MAX);
        }
        let mut frame = String::new();
        let events = commands.iter().map(|command| command.event(time_ms));
        events.for_each(|event| put(&mut frame, &event));
        self.pools
            .events(time_ms)
            .for_each(|event| put(&mut frame, &event));
        self.collapsers
            .each_event(time_ms, |event| put(&mut frame, event));
        frame
    }
}

impl Command {
    fn look(&mut self, breaker: &CircuitBreaker) {
        self.snapshot.state = breaker.state();
        self.snapshot.in_flight = breaker.shell.in_flight();
        self.rolling.saw_running(self.snapshot.in_flight);
    }

    fn is_called(&self) -> bool {
        self.snapshot.calls.total() > 0 || self.snapshot.in_flight > 0
    }

    fn event(&self, time_ms: u64) -> CommandEvent<'_> {
        let snapshot = &self.snapshot;
        CommandEvent {
            name: &snapshot.name,
            group: &snapshot.group,
            pool: self.pool.as_deref(),
            time_ms,
            hosts: 1,
            open_hosts: u64::from(snapshot.state.refuses()),
            forced: snapshot.forced.as_ref().map(|forced| forced.kind),
            counts: self.rolling.counts(),
            in_flight: snapshot.in_flight,
            max_in_flight: self.rolling.max_running(),
            latency: self.rolling.latency(),
            window: WINDOW,
            settings: CommandSettings::from(&snapshot.settings),
        }
    }
}

/// For each breaker, the pool that runs its calls and how many of them the pool refused.
type Callers = BTreeMap<Name, (Name, u64)>;

fn callers(pools: &[IsolationPool]) -> Callers {
    let of = |pool: &IsolationPool| {
        let key = pool.name().clone();
        let callers = pool.callers().into_iter();
        callers.map(move |(name, refused)| (name, (key.clone(), refused)))
    };
    pools.iter().flat_map(of).collect()
}

/// Appends an event of the stream.
fn put(frame: &mut String, event: &impl Serialize) {
    let json = serde_json::to_string(event).expect("an event is plain data");
    frame.push_str("data: ");
    frame.push_str(&json);
    frame.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::circuit_breaker::{Outcome, PoolSettings};

    const MS: Duration = Duration::from_millis(1);

    fn call(breaker: &CircuitBreaker, outcome: Outcome, times: usize) {
        for _ in 0..times {
            breaker.try_acquire().unwrap().record(outcome, 20 * MS);
        }
    }

    fn second(board: &mut Board, now: SystemTime) {
        (0..LOOKS_PER_SECOND).for_each(|_| board.look(now));
    }

    /// Returns the objects of a frame by their names.
    fn frame(board: &Board) -> BTreeMap<String, serde_json::Value> {
        let frame = board.frame(SystemTime::now());
        let objects = frame.split_terminator("\n\n").map(|event| {
            let object: serde_json::Value =
                serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            (object["name"].as_str().unwrap().to_owned(), object)
        });
        objects.collect()
    }

    /// Guarantees: counts cover the last ten seconds, durations the last minute; earlier calls are in neither.
    #[test]
    fn figures_age() {
        let registry = Registry::new();
        let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
        call(&breaker, Outcome::Success, 12);
        let created = breaker.snapshot().created;
        let mut old = Board::new(registry.clone());
        second(&mut old, created + WINDOW);
        assert_eq!(
            frame(&old)["stock"]["rollingCountSuccess"],
            0,
            "made before the window"
        );

        let mut board = Board::new(registry);
        second(&mut board, created);
        let first = frame(&board);
        assert_eq!(first["stock"]["rollingCountSuccess"], 12);
        assert_eq!(first["stock"]["latencyExecute_mean"], 20);
        call(&breaker, Outcome::Failure, 3);
        (0..9).for_each(|_| second(&mut board, created));
        assert_eq!(frame(&board)["stock"]["errorPercentage"], 20);
        second(&mut board, created);
        let later = frame(&board);
        assert_eq!(
            later["stock"]["rollingCountSuccess"], 0,
            "older than ten seconds"
        );
        assert_eq!(later["stock"]["rollingCountFailure"], 3);
        assert_eq!(later["stock"]["latencyExecute_mean"], 20);
        (0..70).for_each(|_| second(&mut board, created));
        assert_eq!(
            frame(&board)["stock"]["latencyExecute_mean"],
            0,
            "older than a minute"
        );
    }

    #[test]
    fn the_most_running_calls_are_those_of_the_window() {
        let registry = Registry::new();
        let breaker = CircuitBreaker::builder("stock").registry(&registry).build();
        let mut board = Board::new(registry);
        let now = SystemTime::now();
        board.look(now);
        let permits: Vec<_> = (0..3).map(|_| breaker.try_acquire().unwrap()).collect();
        board.look(now);
        permits
            .into_iter()
            .for_each(|permit| permit.record(Outcome::Success, MS));
        second(&mut board, now);
        let stock = &frame(&board)["stock"];
        assert_eq!(stock["rollingMaxConcurrentExecutionCount"], 3);
        assert_eq!(stock["currentConcurrentExecutionCount"], 0);
        (0..11).for_each(|_| second(&mut board, now));
        assert_eq!(
            frame(&board)["stock"]["rollingMaxConcurrentExecutionCount"],
            0
        );
    }

    /// Guarantees: a replaced breaker does not continue the counts of its predecessor, and a removed one is not sent.
    #[test]
    fn replaced_breakers_begin_again_and_removed_ones_end() {
        let registry = Registry::new();
        let build = || CircuitBreaker::builder("stock").registry(&registry);
        call(&build().build(), Outcome::Success, 9);
        let mut board = Board::new(registry.clone());
        second(&mut board, SystemTime::now());
        call(&build().replace().unwrap(), Outcome::Success, 2);
        second(&mut board, SystemTime::now());
        assert_eq!(frame(&board)["stock"]["rollingCountSuccess"], 2);
        registry.remove("stock");
        second(&mut board, SystemTime::now());
        assert!(frame(&board).is_empty());
    }

    /// Guarantees: refusals by a pool from before a breaker was replaced are not counted for the new breaker.
    #[tokio::test]
    async fn refusals_of_pools_begin_again_too() {
        let registry = Registry::new();
        let build = || CircuitBreaker::builder("stock").registry(&registry);
        let settings = PoolSettings {
            core_size: 1,
            ..PoolSettings::default()
        };
        let pool = registry.pool("warehouse", settings).unwrap();
        let mut hangs = Box::pin(pool.run(std::future::pending::<()>()));
        assert!((&mut hangs).now_or_never().is_none());
        let mut board = Board::new(registry.clone());
        for refused in [3, 2] {
            let breaker = build().replace().unwrap();
            for _ in 0..refused {
                let full = pool.call(&breaker, async { Ok::<_, ()>(()) }).await;
                assert!(full.is_err());
            }
            second(&mut board, SystemTime::now());
            assert_eq!(
                frame(&board)["stock"]["rollingCountThreadPoolRejected"],
                refused
            );
        }
    }

    #[test]
    fn a_frame_is_bounded_by_the_busiest() {
        let registry = Registry::with_limit(2 * COMMANDS_MAX);
        let build = |n: usize| {
            CircuitBreaker::builder(&format!("b{n}"))
                .registry(&registry)
                .build()
        };
        let kept: Vec<_> = (0..COMMANDS_MAX + 5).map(build).collect();
        kept.iter()
            .for_each(|breaker| call(breaker, Outcome::Success, 1));
        call(&kept[COMMANDS_MAX + 4], Outcome::Success, 5);
        let never_called = build(COMMANDS_MAX + 5);
        let mut board = Board::new(registry);
        second(&mut board, SystemTime::now());
        let frame = frame(&board);
        assert_eq!(frame.len(), COMMANDS_MAX);
        assert!(frame.contains_key(kept[COMMANDS_MAX + 4].name()));
        assert!(!frame.contains_key(never_called.name()));
    }
}
