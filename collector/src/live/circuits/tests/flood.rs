//! Made-up breakers fill the board; those of others are on the wall all the same.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::*;
use crate::codec::circuits::request::{events, metrics, observed, resource, text};
use crate::live::circuits::board::MAX_INSTANCES;
use fusebox::semconv;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, metric::Data, number_data_point,
};

fn breakers(service: &str, names: std::ops::Range<usize>, now: u64) -> ExportMetricsServiceRequest {
    let point = |n: usize| NumberDataPoint {
        attributes: vec![
            text(semconv::BREAKER_NAME, &format!("junk-{n}")),
            text(semconv::BREAKER_STATE, "closed"),
        ],
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsInt(1)),
        ..NumberDataPoint::default()
    };
    let state = Metric {
        name: semconv::STATE.to_owned(),
        data: Some(Data::Gauge(Gauge {
            data_points: names.map(point).collect(),
        })),
        ..Metric::default()
    };
    metrics(resource(service, Some("one")), vec![state])
}

async fn flood(world: &World, now: u64) -> u64 {
    let mut not_kept = 0;
    for request in 0..17 {
        let request = breakers("loud", request * 600..(request + 1) * 600, now);
        let kept = world
            .circuits
            .ingest_metrics(observed(&request), UnixNanos::new(now));
        not_kept += kept.await.unwrap().not_kept;
    }
    not_kept
}

/// *Scenario*: 17 requests of 600 made-up breakers of one service, then the breaker of another opens.
/// *Guarantees*: the wall shows it as open; the service that fills the board is informed of what was not
/// kept.
#[tokio::test(start_paused = true)]
async fn a_breaker_of_another_service_finds_room() {
    let world = World::new();
    assert_eq!(
        flood(&world, at(0.0)).await,
        17 * 600 - MAX_INSTANCES as u64
    );
    let mut real = FakeBreaker::new("a", at(1.0));
    world
        .turn(&mut real, EffectiveState::Open, "errors", at(1.0))
        .await;
    assert!(flood(&world, at(2.0)).await > 0);
    let view = world.circuits.circuit_now(&key(), UnixNanos::new(at(2.0)));
    assert_eq!(view.unwrap().state, EffectiveState::Open);
    let wall = world.circuits.wall_now(UnixNanos::new(at(2.0)));
    assert!(wall.circuits.len() <= MAX_INSTANCES);
    assert_eq!(
        world.counters.incidents.all().get("circuit_opening_limit"),
        None
    );
}

/// *Scenario*: as many services as there are places have one breaker each.
/// *Guarantees*: the opening of one more is reported to the sender and counted; minutes later it has a place.
#[tokio::test(start_paused = true)]
async fn an_opening_without_room_is_counted_until_idle_ones_make_room() {
    let world = World::new();
    for service in 0..MAX_INSTANCES {
        let request = breakers(&format!("junk-{service}"), 0..1, at(0.0));
        let decoded = observed(&request);
        let mut effects = Effects::default();
        let now = UnixNanos::new(at(0.0));
        world
            .circuits
            .state()
            .board
            .observe(&decoded.observations[0], false, now, &mut effects);
        assert_eq!(effects.not_kept, 0);
    }
    let mut real = FakeBreaker::new("a", at(1.0));
    let opens = real.turn(EffectiveState::Open, at(1.0), "errors");
    let kept = world
        .circuits
        .ingest_events(events(&opens), UnixNanos::new(at(1.0)));
    assert_eq!(kept.await.unwrap().not_kept, 1);
    assert_eq!(world.counters.incidents.all()["circuit_opening_limit"], 1);
    assert_eq!(world.counters.incidents.all()["series_limit"], 1);
    world.report(&real, at(302.0)).await;
    let view = world
        .circuits
        .circuit_now(&key(), UnixNanos::new(at(302.0)));
    assert_eq!(view.unwrap().state, EffectiveState::Open);
}
