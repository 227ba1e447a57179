//! Breakers that spans tell of, alone and before their metrics come.

use fusebox::circuit_breaker::Outcome;

use super::super::from_spans::MAX_BREAKERS;
use super::*;

fn calls(outcome: Outcome, state: EffectiveState, count: u64) -> Vec<(BreakerId, SpanCalls)> {
    let mut calls = SpanCalls::default();
    for _ in 0..count {
        calls.add(SpanCall {
            outcome: Some(outcome),
            state: Some(state),
            fallback: (outcome == Outcome::Failure).then_some(true),
            nanos: 2_000_000,
        });
    }
    vec![((key(), "a".to_owned()), calls)]
}

impl World {
    async fn spans(&self, outcome: Outcome, state: EffectiveState, count: u64, now: u64) {
        let calls = calls(outcome, state, count);
        self.circuits
            .ingest_spans(calls, UnixNanos::new(now))
            .await
            .unwrap();
    }

    async fn counted(&self) -> CircuitCalls {
        let range = TimeRange {
            start: UnixNanos::new(T0),
            end: UnixNanos::new(at(3_600.0)),
        };
        let history = self.circuits.history(&key(), range, 1).await.unwrap();
        history.value.buckets[0].calls
    }
}

/// *Scenario*: a service sends only spans of its breaker; after two minutes the breaker rejects calls.
/// *Guarantees*: the wall shows the breaker, marked, with every call, its durations, fallbacks, and its
/// opening.
#[tokio::test(start_paused = true)]
async fn a_breaker_without_metrics_is_on_the_wall() {
    use EffectiveState::{Closed, Open};
    let world = World::new();
    world.spans(Outcome::Success, Closed, 3, at(1.0)).await;
    world.spans(Outcome::Failure, Closed, 4, at(60.0)).await;
    let view = world.only(at(61.0));
    assert_eq!((view.source, view.calls.failure), (Source::Spans, 4));
    assert_eq!(world.counted().await.success, 0, "metrics may come");
    world.spans(Outcome::Success, Closed, 1, at(100.0)).await;
    assert!(world.only(at(100.5)).latency.p50_nanos.is_some());
    world.spans(Outcome::Rejected, Open, 5, at(120.0)).await;
    let view = world.only(at(121.0));
    assert_eq!((view.source, view.state), (Source::Spans, Open));
    let calls = world.counted().await;
    assert_eq!((calls.success, calls.failure, calls.rejected), (4, 4, 5));
    assert_eq!(calls.fallback_success, 4);
    let found = world.circuits.transitions(None, TimeRange::ALL, 10).await;
    assert_eq!(found.unwrap().value[0].reason, "reported by spans");
    assert!(!world.only(at(300.0)).instances[0].stale);
    assert!(world.only(at(421.0)).instances[0].stale);
}

/// *Scenario*: metrics of a service arrive a minute after its first spans; those of another, only after its
/// spans were counted.
/// *Guarantees*: no call is counted twice, and the wall shows the breaker's own reports.
#[tokio::test(start_paused = true)]
async fn what_a_breaker_reports_itself_takes_its_place() {
    let world = World::new();
    let mut breaker = FakeBreaker::new("a", at(0.5));
    world
        .spans(Outcome::Success, EffectiveState::Closed, 7, at(1.0))
        .await;
    assert_eq!(world.only(at(2.0)).source, Source::Spans);
    breaker.count("success", 0, 7);
    world.report(&breaker, at(60.0)).await;
    world
        .spans(Outcome::Success, EffectiveState::Closed, 2, at(95.0))
        .await;
    breaker.count("success", 0, 2);
    world.report(&breaker, at(96.0)).await;
    assert_eq!(world.counted().await.success, 9);
    let view = world.only(at(97.0));
    assert_eq!((view.source, view.instances.len()), (Source::Fusebox, 1));
    let world = World::new();
    world
        .spans(Outcome::Success, EffectiveState::Closed, 7, at(1.0))
        .await;
    world
        .spans(Outcome::Success, EffectiveState::Closed, 1, at(95.0))
        .await;
    assert_eq!(world.only(at(96.0)).source, Source::Spans);
    world
        .report(&FakeBreaker::new("b", at(100.0)), at(101.0))
        .await;
    let view = world.only(at(102.0));
    assert_eq!((view.source, view.instances.len()), (Source::Fusebox, 1));
}

/// *Scenario*: a page asks for a breaker as of its first call, long before its calls are stored; and the spans of another
/// only name it.
/// *Guarantees*: the first is found as of a moment when it was known; the other is on the wall without calls.
#[tokio::test(start_paused = true)]
async fn a_link_from_the_first_call_leads_to_its_breaker() {
    let world = World::new();
    let closed = EffectiveState::Closed;
    for now in [at(1.0), at(95.0)] {
        world.spans(Outcome::Success, closed, 1, now).await;
    }
    let around = async |now: f64| {
        let now = UnixNanos::new(at(now));
        world
            .circuits
            .circuit_around(&key(), now)
            .await
            .unwrap()
            .value
    };
    let (view, heard) = around(1.0).await.unwrap();
    assert_eq!(view.source, Source::Spans);
    assert_eq!(heard, UnixNanos::new(at(181.0)));
    let (_, heard) = around(96.0).await.unwrap();
    assert_eq!(heard, UnixNanos::new(at(96.0)));
    let long_before = UnixNanos::new(at(1.0)) - Duration::from_secs(3_600);
    let found = world.circuits.circuit_around(&key(), long_before).await;
    assert!(found.unwrap().value.is_none());

    let mut named = SpanCalls::default();
    named.add(SpanCall {
        outcome: None,
        state: None,
        fallback: None,
        nanos: 1,
    });
    let world = World::new();
    for now in [at(1.0), at(95.0)] {
        let calls = vec![((key(), "a".to_owned()), named.clone())];
        let taken = world.circuits.ingest_spans(calls, UnixNanos::new(now));
        taken.await.unwrap();
        let view = world.only(now);
        assert_eq!((view.source, view.calls.total()), (Source::Spans, 0));
    }
}

/// *Scenario*: the first metrics of a service arrive five minutes after its spans, which were counted by
/// then.
/// *Guarantees*: calls in its spans count once, and those after its first report all count.
#[tokio::test(start_paused = true)]
async fn late_metrics_count_from_where_spans_ended() {
    let world = World::new();
    for (calls, now) in [(7, at(1.0)), (1, at(95.0))] {
        let closed = EffectiveState::Closed;
        world.spans(Outcome::Success, closed, calls, now).await;
    }
    assert_eq!(world.counted().await.success, 8);
    let mut breaker = FakeBreaker::new("a", at(0.5));
    breaker.count("success", 0, 8);
    world.report(&breaker, at(300.0)).await;
    assert_eq!(world.counted().await.success, 8);
    breaker.count("success", 0, 3);
    world.report(&breaker, at(301.0)).await;
    assert_eq!(world.counted().await.success, 11);
    let mut replica = FakeBreaker::new("b", at(0.5));
    replica.count("success", 0, 5);
    world.report(&replica, at(302.0)).await;
    assert_eq!(world.counted().await.success, 11, "a replica's too");
}

/// *Scenario*: a service that sends metrics has more breaker instances than are learnt from spans.
/// *Guarantees*: they take no room from services that only send spans, and nothing counts as left out.
#[tokio::test(start_paused = true)]
async fn services_with_metrics_take_no_room() {
    let world = World::new();
    world.report(&FakeBreaker::new("a", at(0.5)), at(1.0)).await;
    let one = calls(Outcome::Success, EffectiveState::Closed, 1)
        .remove(0)
        .1;
    let of_instance = |number: usize| ((key(), number.to_string()), one.clone());
    let mut calls: Vec<_> = (0..=MAX_BREAKERS).map(of_instance).collect();
    let other = CircuitKey {
        service: "spans".to_owned(),
        ..key()
    };
    calls.push(((other, "a".to_owned()), one.clone()));
    let taken = world.circuits.ingest_spans(calls, UnixNanos::new(at(2.0)));
    taken.await.unwrap();
    assert!(world.counters.incidents.all().is_empty());
}

/// *Scenario*: after a restart, spans of two breakers arrive: one reported itself before, one was known from spans.
/// *Guarantees*: each is on the wall once: the first as it was, the second with the calls of now.
#[tokio::test(start_paused = true)]
async fn a_breaker_of_an_earlier_run_is_on_the_wall_once() {
    for reports_itself in [true, false] {
        let world = World::new();
        match reports_itself {
            true => world.report(&FakeBreaker::new("a", at(0.0)), at(1.0)).await,
            false => {
                let closed = EffectiveState::Closed;
                world.spans(Outcome::Success, closed, 3, at(1.0)).await;
                world.spans(Outcome::Success, closed, 3, at(100.0)).await;
            }
        }
        let World { dir, circuits, .. } = world;
        drop(circuits);
        let (circuits, counters) = open(&dir, at(110.0));
        let world = World {
            dir,
            counters,
            circuits,
        };
        let closed = EffectiveState::Closed;
        world.spans(Outcome::Success, closed, 3, at(111.0)).await;
        let view = world.only(at(112.0));
        assert_eq!(view.instances.len(), 1, "{view:?}");
        assert_eq!(view.instances[0].stale, reports_itself);
        let one = world
            .circuits
            .circuit_now(&key(), UnixNanos::new(at(112.0)));
        assert_eq!(one.unwrap().instances.len(), 1);
    }
}
