//! Running counts of other libraries: every call is on the wall and in the history once, whenever it is reported.

use super::*;

/// Sends the totals of the breaker `stock` in a JVM that counts since `start`.
async fn export(world: &World, state: &str, totals: (u64, u64, f64), start: f64, now: f64) {
    let request = micrometer(state, totals, at(start), at(now));
    let kept = world
        .circuits
        .ingest_metrics(observed(&request), UnixNanos::new(at(now)));
    kept.await.unwrap();
}

async fn counted(world: &World) -> CircuitCalls {
    let range = TimeRange {
        start: UnixNanos::new(at(-3_600.0)),
        end: UnixNanos::new(at(7_200.0)),
    };
    let key = CircuitKey {
        service: "shop".to_owned(),
        name: "stock".to_owned(),
    };
    let history = world.circuits.history(&key, range, 1).await.unwrap();
    history.value.buckets[0].calls
}

/// *Scenario*: a JVM starts 20 s after the collector and exports for the first time a minute later.
/// *Guarantees*: the calls of that minute count; those of a JVM older than the collector do not.
#[tokio::test(start_paused = true)]
async fn a_first_report_counts_whole_when_it_began_after_the_collector() {
    let world = World::new();
    export(&world, "closed", (40, 2, 0.0), 20.0, 80.0).await;
    let calls = counted(&world).await;
    assert_eq!((calls.success, calls.failure), (40, 2));
    let world = World::new();
    export(&world, "closed", (40, 2, 0.0), -20.0, 40.0).await;
    assert_eq!(counted(&world).await, CircuitCalls::default());
}

/// *Scenario*: an instance cannot reach the collector for so long that it leaves the wall, and then returns.
/// *Guarantees*: its earlier calls count once.
#[tokio::test(start_paused = true)]
async fn an_instance_that_comes_back_is_not_counted_again() {
    let world = World::new();
    export(&world, "closed", (40, 0, 0.0), 20.0, 80.0).await;
    let other = FakeBreaker::new("a", at(90.0));
    world.report(&other, at(1_100.0)).await;
    export(&world, "closed", (45, 0, 0.0), 20.0, 1_110.0).await;
    export(&world, "closed", (52, 0, 0.0), 20.0, 1_170.0).await;
    assert_eq!(counted(&world).await.success, 47);
}

/// *Scenario*: two replicas without instance ids start within a second; one is forced open, both report in
/// turn.
/// *Guarantees*: they are two instances: neither flaps, and the calls of both count.
#[tokio::test(start_paused = true)]
async fn replicas_that_start_together_are_two() {
    let world = World::new();
    for step in 1..=10 {
        let now = 10.0 * f64::from(step);
        let total = u64::from(step as u32);
        export(&world, "closed", (total, 0, 0.0), 1.1, now).await;
        export(&world, "forced_open", (2 * total, 0, 0.0), 1.6, now + 0.5).await;
    }
    let view = world.only(at(101.0));
    assert_eq!(view.instances.len(), 2);
    let found = world.circuits.transitions(None, TimeRange::ALL, 100).await;
    assert_eq!(
        found.unwrap().value.len(),
        1,
        "forced open when first reported"
    );
    assert_eq!(counted(&world).await.success, 30);
}

/// *Guarantees*: a breaker that is open in its first report has a transition and an outage, and the history
/// shows nothing before it.
#[tokio::test(start_paused = true)]
async fn open_when_first_heard_of_is_a_transition() {
    let world = World::new();
    export(&world, "open", (4, 9, 0.0), 1.0, 20.0).await;
    let found = world.circuits.transitions(None, TimeRange::ALL, 10).await;
    let found = found.unwrap().value;
    assert_eq!(found.len(), 1);
    let reason = "open when first reported: failure rate 50 %, slow calls 20 % of 10 calls";
    assert_eq!(found[0].reason, reason);
    assert_eq!(found[0].provenance, Provenance::Derived);
    let view = world.only(at(20.0));
    assert_eq!(view.since, UnixNanos::new(at(20.0)));
    assert_eq!(view.outage.unwrap().since, UnixNanos::new(at(20.0)));
    let range = TimeRange {
        start: UnixNanos::new(at(0.0)),
        end: UnixNanos::new(at(60.0)),
    };
    let history = world.circuits.history(&view.key, range, 1).await.unwrap();
    let states: Vec<_> = history.value.states.iter().map(|span| span.state).collect();
    assert_eq!(states, [EffectiveState::Open]);
}

/// *Scenario*: a collector stops between two reports, a minute after it stored the totals, and starts again
/// ten minutes later; before the service reports, it restarts once more.
/// *Guarantees*: the calls of that time count once, and ten minutes of calls do not become a rate of one
/// second.
#[tokio::test(start_paused = true)]
async fn calls_made_while_the_collector_was_away_appear() {
    let mut world = World::new();
    for step in 1..=11_u32 {
        let total = u64::from(step);
        let now = 10.0 * f64::from(step);
        export(&world, "closed", (10 * total, total, 0.0), -100.0, now).await;
    }
    assert_eq!(
        counted(&world).await.success,
        100,
        "the first ten are the base"
    );
    for now in [700.0, 705.0] {
        let World { dir, circuits, .. } = world;
        drop(circuits);
        let (circuits, counters) = open(&dir, at(now));
        world = World {
            dir,
            circuits,
            counters,
        };
        // Another breaker makes the collector store what it knows.
        let other = FakeBreaker::new("a", at(now));
        world.report(&other, at(now + 1.0)).await;
    }
    export(&world, "closed", (500, 31, 4.0), -100.0, 710.0).await;
    let calls = counted(&world).await;
    assert_eq!((calls.success, calls.failure, calls.rejected), (490, 30, 4));
    let key = CircuitKey {
        service: "shop".to_owned(),
        name: "stock".to_owned(),
    };
    let view = world.circuits.circuit_now(&key, UnixNanos::new(at(711.0)));
    assert_eq!(view.unwrap().calls.success, 0);
    export(&world, "closed", (505, 31, 4.0), -100.0, 720.0).await;
    assert_eq!(counted(&world).await.success, 495);
}
