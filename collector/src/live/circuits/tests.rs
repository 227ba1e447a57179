//! The wall of now and of any moment, on made-up breakers and made-up time.

mod clock;
mod counts;
mod disk;
mod flood;
mod from_spans;
mod measure;

use std::sync::Arc;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::codec::circuits::request::{FakeBreaker, events, micrometer, observed};
use crate::codec::circuits::tests::any_request;
use crate::model::{
    CircuitCalls, CircuitView, CircuitWall, Provenance, Source, StateSpan, TimeRange, UnixNanos,
    nanos,
};
use crate::store::series::SeriesRecord;

/// A second in the middle of an hour.
const T0: u64 = 1_795_397_400 * nanos(SECOND);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

struct World {
    dir: TempDir,
    counters: Arc<Counters>,
    circuits: Circuits,
}

fn open(dir: &TempDir, now: u64) -> (Circuits, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let log = SeriesLog::open_with(dir.path(), WEEK, Duration::ZERO, Arc::clone(&counters));
    let circuits =
        Circuits::with_log(log.unwrap(), Arc::clone(&counters), UnixNanos::new(now)).unwrap();
    (circuits, counters)
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (circuits, counters) = open(&dir, T0);
        Self {
            dir,
            counters,
            circuits,
        }
    }

    async fn report(&self, breaker: &FakeBreaker, now: u64) {
        let request = breaker.metrics(now);
        self.circuits
            .ingest_metrics(observed(&request), UnixNanos::new(now))
            .await
            .unwrap();
    }

    async fn turn(&self, breaker: &mut FakeBreaker, to: EffectiveState, reason: &str, now: u64) {
        let request = breaker.turn(to, now, reason);
        self.circuits
            .ingest_events(events(&request), UnixNanos::new(now))
            .await
            .unwrap();
    }

    fn only(&self, now: u64) -> CircuitView {
        let wall = self.circuits.wall_now(UnixNanos::new(now));
        assert_eq!(wall.circuits.len(), 1, "{wall:?}");
        wall.circuits.into_iter().next().unwrap()
    }
}

fn at(seconds: f64) -> u64 {
    T0.saturating_add_signed((seconds * 1e9) as i64)
}

fn key() -> CircuitKey {
    CircuitKey {
        service: "product-page".to_owned(),
        name: "inventory".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_wall_shows_the_last_ten_seconds_merged_over_instances() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    let mut b = FakeBreaker::new("b", at(0.0));
    for second in 0..30 {
        a.count("success", -40, 8);
        a.count("failure", -20, 2);
        b.count("success", 0, 10);
        world.report(&a, at(f64::from(second) + 0.3)).await;
        world.report(&b, at(f64::from(second) + 0.7)).await;
    }
    let view = world.only(at(29.8));
    assert_eq!((view.calls.success, view.calls.failure), (180, 20));
    assert_eq!(view.error_percent, Some(10.0));
    assert_eq!(view.calls_per_second, 20.0);
    assert_eq!(view.window_ms, 10_000);
    assert_eq!(view.instances.len(), 2);
    assert_eq!(view.instances[0].error_percent, Some(20.0));
    let union = LatencyHistogram::from_buckets([(-40, 80), (-20, 20), (0, 100)]);
    assert_eq!(view.latency.p50_nanos, union.quantile(0.5).map(nanos));
    assert_eq!(view.latency.p99_nanos, union.quantile(0.99).map(nanos));
    assert_eq!(view.spark.len(), 60);
    assert_eq!(
        view.spark.iter().map(|bar| bar.calls.total()).sum::<u64>(),
        600
    );
    assert_eq!(view.spark[59].state, Some(EffectiveState::Closed));
    assert_eq!(view.spark[0].state, None);
}

/// *Scenario:* a sender's reports arrive every second, around its edge: some just before, some just after.
/// *Guarantees:* every bar of the sparkline has the same number of calls.
#[tokio::test(start_paused = true)]
async fn steady_traffic_draws_steady_bars_although_reports_jitter() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    let jitter = [0.02, -0.03, 0.05, -0.01, -0.04, 0.03, 0.01];
    for second in 0..60 {
        a.count("success", 0, 10);
        let late = jitter[second as usize % jitter.len()];
        world.report(&a, at(f64::from(second) + 1.0 + late)).await;
    }
    let view = world.only(at(60.5));
    let bars: Vec<u64> = view.spark.iter().map(|bar| bar.calls.total()).collect();
    assert!(bars[35..59].iter().all(|calls| *calls == 20), "{bars:?}");
    assert_eq!(bars.iter().sum::<u64>(), 600);
}

#[tokio::test(start_paused = true)]
async fn a_transition_shows_at_once_with_its_call() {
    let world = World::new();
    let mut changes = world.circuits.subscribe();
    let mut a = FakeBreaker::new("a", at(0.0));
    world.report(&a, at(1.0)).await;
    world
        .turn(
            &mut a,
            EffectiveState::Open,
            "52 % of 118 calls failed",
            at(1.4),
        )
        .await;
    let view = world.only(at(1.5));
    assert_eq!(view.state, EffectiveState::Open);
    assert_eq!(view.since, UnixNanos::new(at(1.4)));
    assert_eq!(view.retry_at, Some(UnixNanos::new(at(6.4))));
    assert_eq!(view.reason, "52 % of 118 calls failed");
    assert!(view.last_opened_by.is_some());
    let found = world.circuits.transitions(None, TimeRange::ALL, 10).await;
    assert_eq!(found.unwrap().value.len(), 1);
    assert!(matches!(changes.try_recv(), Ok(CircuitChange::Samples)));
    let Ok(CircuitChange::Transition(transition)) = changes.try_recv() else {
        panic!("no transition announced");
    };
    assert_eq!(transition.to, EffectiveState::Open);
}

/// Scenario: a breaker opens, two probes fail, the collector restarts, a third probe fails, the breaker
/// closes and opens.
/// Guarantees: an outage begins with the call that opened the breaker and counts its probes; a restart keeps
/// both.
#[tokio::test(start_paused = true)]
async fn an_outage_lasts_until_the_breaker_closes() {
    use EffectiveState::{Closed, HalfOpen, Open};
    let mut world = World::new();
    let mut breaker = FakeBreaker::new("a", at(0.0));
    world.report(&breaker, at(1.0)).await;
    world.turn(&mut breaker, Open, "52 % failed", at(2.0)).await;
    let first = world.only(at(2.1)).last_opened_by;
    for second in [7.0, 12.0] {
        world
            .turn(&mut breaker, HalfOpen, "wait over", at(second))
            .await;
        world
            .turn(&mut breaker, Open, "a probe failed", at(second + 0.5))
            .await;
    }
    world.report(&breaker, at(13.0)).await;
    let World {
        dir,
        circuits,
        counters,
    } = world;
    drop((circuits, counters));
    let (circuits, counters) = open(&dir, at(14.0));
    world = World {
        dir,
        circuits,
        counters,
    };
    world
        .turn(&mut breaker, HalfOpen, "wait over", at(17.0))
        .await;
    world
        .turn(&mut breaker, Open, "a probe failed", at(17.5))
        .await;
    let outage = world.only(at(18.0)).outage.unwrap();
    assert_eq!(
        (outage.since, outage.failed_probes),
        (UnixNanos::new(at(2.0)), 3)
    );
    assert_eq!(
        (outage.opened_by, outage.reason.as_str()),
        (first, "52 % failed")
    );
    world
        .turn(&mut breaker, HalfOpen, "wait over", at(22.0))
        .await;
    world
        .turn(&mut breaker, Closed, "a probe succeeded", at(22.5))
        .await;
    world
        .turn(&mut breaker, Open, "80 % failed", at(30.0))
        .await;
    let outage = world.only(at(30.1)).outage.unwrap();
    assert_eq!(
        (outage.since, outage.failed_probes),
        (UnixNanos::new(at(30.0)), 0)
    );
    assert_eq!(outage.reason, "80 % failed");
}

/// Scenario: the event of the opening is lost, and the state metric keeps reporting open.
/// Guarantees: one second of disagreement is ignored, two are not; the derived transition has no call.
#[tokio::test(start_paused = true)]
async fn the_state_set_heals_a_missed_event() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    world.report(&a, at(1.0)).await;
    a.state = EffectiveState::Open;
    world.report(&a, at(2.0)).await;
    world.report(&a, at(3.0)).await;
    assert_eq!(world.only(at(3.0)).state, EffectiveState::Closed);
    world.report(&a, at(4.0)).await;
    let view = world.only(at(4.0));
    assert_eq!(view.state, EffectiveState::Open);
    assert_eq!(view.since, UnixNanos::new(at(2.0)));
    assert_eq!(view.reason, "reported by fusebox");
    assert_eq!(view.last_opened_by, None);
    let found = world.circuits.transitions(None, TimeRange::ALL, 1).await;
    assert_eq!(found.unwrap().value[0].provenance, Provenance::Derived);
    // The event comes after all: it explains the state.
    a.state = EffectiveState::Closed;
    let late = a.turn(EffectiveState::Open, at(1.9), "probe failed");
    world
        .circuits
        .ingest_events(events(&late), UnixNanos::new(at(4.5)))
        .await
        .unwrap();
    let view = world.only(at(4.5));
    assert_eq!(view.since, UnixNanos::new(at(1.9)));
    assert_eq!(view.reason, "probe failed");
    assert!(view.last_opened_by.is_some());
    let found = world
        .circuits
        .transitions(None, TimeRange::ALL, 10)
        .await
        .unwrap()
        .value;
    assert_eq!(
        found.len(),
        1,
        "the event takes the place of the derived one"
    );
}

/// Scenario: an operator's reason begins with the words that the collector uses for derived transitions.
/// Guarantees: no other event replaces it, it is listed, and a derived transition is replaced whatever its
/// reason.
#[tokio::test(start_paused = true)]
async fn the_words_of_a_reason_are_never_taken_for_a_provenance() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    world.report(&a, at(1.0)).await;
    let reason = "reported by ops: the disk is full";
    world
        .turn(&mut a, EffectiveState::Open, reason, at(2.0))
        .await;
    let mut b = FakeBreaker::new("a", at(0.0));
    let older = b.turn(EffectiveState::Open, at(1.5), "it failed");
    world
        .circuits
        .ingest_events(events(&older), UnixNanos::new(at(2.5)))
        .await
        .unwrap();
    let view = world.only(at(2.5));
    assert_eq!((view.since.get(), &*view.reason), (at(2.0), reason));
    let listed = || world.circuits.transitions(None, TimeRange::ALL, 10);
    let reasons: Vec<_> = listed()
        .await
        .unwrap()
        .value
        .into_iter()
        .map(|t| t.reason)
        .collect();
    assert_eq!(reasons, [reason, "it failed"]);
    let (again, _) = open(&world.dir, at(3.0));
    let found = again.transitions(None, TimeRange::ALL, 10).await.unwrap();
    assert_eq!(found.value, listed().await.unwrap().value);
}

#[tokio::test(start_paused = true)]
async fn an_older_report_does_not_undo_an_event() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    world.report(&a, at(1.0)).await;
    let before = a.metrics(at(1.9));
    world
        .turn(&mut a, EffectiveState::Open, "failed", at(2.0))
        .await;
    world
        .circuits
        .ingest_metrics(observed(&before), UnixNanos::new(at(2.1)))
        .await
        .unwrap();
    assert_eq!(world.only(at(2.2)).state, EffectiveState::Open);
    // The same event twice, and an older one that was overtaken.
    a.state = EffectiveState::Closed;
    world
        .turn(&mut a, EffectiveState::Open, "failed", at(2.0))
        .await;
    a.state = EffectiveState::HalfOpen;
    let overtaken = a.turn(EffectiveState::Closed, at(1.5), "probe succeeded");
    world
        .circuits
        .ingest_events(events(&overtaken), UnixNanos::new(at(2.5)))
        .await
        .unwrap();
    assert_eq!(world.only(at(2.5)).state, EffectiveState::Open);
    let found = world
        .circuits
        .transitions(Some(&key()), TimeRange::ALL, 10)
        .await;
    let times: Vec<u64> = found.unwrap().value.iter().map(|t| t.time.get()).collect();
    assert_eq!(times, [at(2.0), at(1.5)]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_far_off_is_not_believed() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    let wrong = a.turn(EffectiveState::Open, at(86_400.0), "failed");
    world
        .circuits
        .ingest_events(events(&wrong), UnixNanos::new(at(1.0)))
        .await
        .unwrap();
    let view = world.only(at(1.0));
    assert_eq!(view.since, UnixNanos::new(at(1.0)));
    assert_eq!(view.retry_at, Some(UnixNanos::new(at(6.0))));
}

#[tokio::test(start_paused = true)]
async fn micrometer_transitions_are_derived_from_its_state() {
    let world = World::new();
    let start = at(-100.0);
    let reports = [
        ("closed", (50, 0, 0.0)),
        ("closed", (56, 0, 0.0)),
        ("open", (61, 5, 10.0)),
        ("open", (61, 5, 20.0)),
        ("half_open", (62, 5, 20.0)),
        ("closed", (72, 5, 20.0)),
    ];
    for (step, (state, counts)) in reports.into_iter().enumerate() {
        let now = at(10.0 * step as f64);
        let request = micrometer(state, counts, start, now);
        world
            .circuits
            .ingest_metrics(observed(&request), UnixNanos::new(now))
            .await
            .unwrap();
        if step == 2 {
            let view = world.only(now);
            assert_eq!(view.state, EffectiveState::Open);
            assert_eq!(view.source, Source::Resilience4j);
            // The window covers one report: five good, five bad, ten refused.
            let calls = (view.calls.success, view.calls.failure, view.calls.rejected);
            assert_eq!(calls, (5, 5, 10));
            assert_eq!(view.rejected_per_second, 1.0);
            // What it judges by, not what the last report of counts comes to.
            assert_eq!(view.error_percent, Some(50.0));
            let reason = "failure rate 50 %, slow calls 20 % of 10 calls";
            assert_eq!(view.reason, reason);
        }
    }
    let found = world
        .circuits
        .transitions(None, TimeRange::ALL, 10)
        .await
        .unwrap()
        .value;
    let states: Vec<_> = found.iter().map(|t| t.to.as_str()).collect();
    assert_eq!(states, ["closed", "half_open", "open"]);
    assert_eq!(found[0].reason, "reported by resilience4j");
    let quiet = |seconds| world.only(at(seconds)).instances[0].stale;
    assert!(
        !quiet(79.0) && quiet(81.0),
        "three intervals of ten seconds"
    );
}

#[tokio::test(start_paused = true)]
async fn silence_makes_stale_then_leaves_the_wall_but_not_the_history() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    let b = FakeBreaker::new("b", at(0.0));
    world.report(&a, at(0.0)).await;
    world
        .turn(&mut a, EffectiveState::Open, "failed", at(0.5))
        .await;
    for second in 1..=30 {
        world.report(&b, at(f64::from(second))).await;
    }
    assert_eq!(world.only(at(10.0)).state, EffectiveState::Open);
    let view = world.only(at(30.0));
    assert!(view.instances[0].stale && !view.instances[1].stale);
    assert_eq!(
        view.state,
        EffectiveState::Closed,
        "a silent instance decides nothing"
    );
    for minute in 1..17 {
        world.report(&b, at(f64::from(minute) * 60.0)).await;
    }
    assert_eq!(world.only(at(960.0)).instances.len(), 1);
    let then = world
        .circuits
        .circuit(&key(), Some(UnixNanos::new(at(5.0))))
        .await
        .unwrap()
        .value
        .unwrap();
    assert_eq!(then.instances.len(), 2);
    assert_eq!(then.state, EffectiveState::Open);
}

#[tokio::test(start_paused = true)]
async fn instances_over_the_limit_are_counted() {
    let world = World::new();
    let mut effects = Effects::default();
    let mut board = Board::default();
    let mut request = FakeBreaker::new("a", at(0.0)).metrics(at(0.0));
    let observation = observed(&request).observations.remove(0);
    for number in 0..=board::MAX_INSTANCES {
        let mut observation = observation.clone();
        observation.instance = number.to_string();
        board.observe(&observation, false, UnixNanos::new(at(0.0)), &mut effects);
    }
    assert_eq!(effects.over_limit, 1);
    request.resource_metrics.clear();
    world
        .circuits
        .ingest_metrics(observed(&request), UnixNanos::new(at(0.0)))
        .await
        .unwrap();
    assert_eq!(world.counters.metric_points_circuit.get(), 0);
}

/// Plays two instances for some minutes; returns the wall at the end of chosen seconds.
async fn play(world: &World, seed: u64, seconds: u32) -> Vec<(u64, CircuitWall)> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut breakers = [
        FakeBreaker::new("a", at(0.0)),
        FakeBreaker::new("b", at(0.0)),
    ];
    let document = serde_json::to_string(&fusebox::circuit_breaker::Settings::default()).unwrap();
    let settings = breakers[0].settings(at(0.0), &document);
    world
        .circuits
        .ingest_events(events(&settings), UnixNanos::new(at(0.0)))
        .await
        .unwrap();
    let mut walls = Vec::new();
    for second in 0..seconds {
        for breaker in &mut breakers {
            // An exporter's second is a little longer or shorter.
            let now = at(f64::from(second) + 0.3 + random.f64() * 0.4);
            if random.u8(..) < 20 {
                let to = random.choice(EffectiveState::ALL).unwrap();
                if to != breaker.state {
                    world.turn(breaker, to, "a reason", now).await;
                }
            }
            for _ in 0..random.usize(0..4) {
                let outcome = random
                    .choice(["success", "failure", "timeout", "rejected"])
                    .unwrap();
                breaker.count(outcome, random.i32(-60..10), random.u64(1..20));
            }
            breaker.in_flight = 0;
            world.report(breaker, now).await;
        }
        let end = at(f64::from(second) + 0.999);
        if random.u8(..) < 30 || second + 1 == seconds {
            walls.push((end, world.circuits.wall_now(UnixNanos::new(end))));
        }
    }
    walls
}

#[tokio::test(start_paused = true)]
async fn any_moment_shows_what_the_wall_showed_then() {
    for seed in 0..2 {
        let world = World::new();
        for (end, live) in play(&world, seed, 240).await {
            let mut past = world
                .circuits
                .wall(Some(UnixNanos::new(end)))
                .await
                .unwrap()
                .value;
            assert!(!past.live);
            past.live = true;
            // What was heard in a second without calls is not in the journal to the nanosecond.
            for circuit in past.circuits.iter_mut() {
                for (instance, then) in circuit
                    .instances
                    .iter_mut()
                    .zip(&live.circuits[0].instances)
                {
                    (instance.last_seen, instance.heard) = (then.last_seen, then.heard);
                }
            }
            assert_eq!(past, live, "seed {seed} at {end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_the_wall_and_the_history() {
    let world = World::new();
    let (end, before) = play(&world, 7, 200).await.pop().unwrap();
    world.circuits.learn_target(&key(), "stock");
    world
        .report(&FakeBreaker::new("c", at(0.0)), at(260.0))
        .await;
    let range = TimeRange {
        start: UnixNanos::new(at(0.0)),
        end: UnixNanos::new(at(240.0)),
    };
    let history = world
        .circuits
        .history(&key(), range, 4)
        .await
        .unwrap()
        .value;
    let World { dir, circuits, .. } = world;
    drop(circuits);
    let (circuits, counters) = open(&dir, at(300.0));
    let again = circuits.history(&key(), range, 4).await.unwrap();
    assert_eq!(again.value, history);
    assert!(counters.incidents.all().is_empty());
    let then = circuits.wall(Some(UnixNanos::new(end))).await.unwrap();
    let then = then.value;
    assert_eq!(then.circuits[0].calls, before.circuits[0].calls);
    assert_eq!(then.circuits[0].spark, before.circuits[0].spark);
    let now = circuits.wall_now(UnixNanos::new(at(300.0)));
    assert_eq!(now.circuits[0].target, "stock");
    assert_eq!(now.circuits[0].settings, before.circuits[0].settings);
    assert_eq!(now.circuits[0].instances.len(), 3);
    for (now, then) in now.circuits[0]
        .instances
        .iter()
        .zip(&before.circuits[0].instances)
    {
        assert!(now.stale);
        assert_eq!((now.state, now.since), (then.state, then.since));
    }
    assert!(
        circuits
            .wall_now(UnixNanos::new(at(300.0 + 901.0)))
            .circuits
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn history_counts_every_call_once_across_hours() {
    let world = World::new();
    let mut a = FakeBreaker::new("a", at(0.0));
    let mut expected = CircuitCalls::default();
    for step in 0..600 {
        a.count("success", -10, 3);
        expected.success += 3;
        world.report(&a, at(f64::from(step) * 20.0)).await;
    }
    world
        .turn(&mut a, EffectiveState::Open, "failed", at(11_981.0))
        .await;
    world.report(&a, at(12_000.0)).await;
    let whole = |start, end| TimeRange {
        start: UnixNanos::new(at(start)),
        end: UnixNanos::new(at(end)),
    };
    let range = whole(-600.0, 12_600.0);
    let history = world
        .circuits
        .history(&key(), range, 22)
        .await
        .unwrap()
        .value;
    let sum = history
        .buckets
        .iter()
        .fold(CircuitCalls::default(), |mut sum, bucket| {
            sum.add(&bucket.calls);
            sum
        });
    assert_eq!(sum, expected);
    assert_eq!(history.buckets[0].state, None);
    assert_eq!(history.buckets[1].calls.success, 90);
    let [closed, open] = &history.states[..] else {
        panic!("{:?}", history.states);
    };
    assert_eq!(closed.state, EffectiveState::Closed);
    assert_eq!(closed.start, UnixNanos::new(at(0.0)));
    assert_eq!(closed.end, UnixNanos::new(at(11_981.0)));
    let opened = StateSpan {
        state: EffectiveState::Open,
        start: UnixNanos::new(at(11_981.0)),
        end: open.end,
    };
    assert_eq!(*open, opened);
    // A range may begin and end within a minute: what lies there counts too, and once.
    for (start, end, calls) in [(0.0, 400.0, 60), (30.0, 390.0, 54), (370.0, 395.0, 3)] {
        let range = whole(start, end);
        let one = world
            .circuits
            .history(&key(), range, 1)
            .await
            .unwrap()
            .value;
        assert_eq!(one.buckets[0].calls.success, calls, "{start} to {end}");
    }
    // Shorter slices come from samples.
    let fine = world
        .circuits
        .history(&key(), whole(0.0, 400.0), 40)
        .await
        .unwrap()
        .value;
    assert_eq!(
        fine.buckets.iter().map(|b| b.calls.success).sum::<u64>(),
        60
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_request_makes_the_board_panic(
        requests in prop::collection::vec((any_request(), any::<u32>()), 1..12),
    ) {
        let mut board = Board::default();
        let mut now = T0;
        for (request, gap) in requests {
            now += u64::from(gap) * 1_000;
            let mut effects = Effects::default();
            for observation in observed(&request).observations {
                board.observe(&observation, false, UnixNanos::new(now), &mut effects);
            }
            board.tick(UnixNanos::new(now), &mut effects);
            for (key, facts) in board.facts(UnixNanos::new(now)) {
                let view = view::view(&key, "", &facts, UnixNanos::new(now));
                prop_assert!(view.error_percent.is_none_or(|p| (0.0..=100.0).contains(&p)));
                prop_assert!(view.calls_per_second.is_finite());
            }
        }
    }
}
