//! How many bytes a sample takes and how long the queries of the week take, for a hundred circuits.

use super::*;
use crate::model::{CircuitSample, HOUR, Source, UnixNanos, nanos};
use crate::store::series::{Rollup, RollupMinute};

const NAMES: u64 = 100;

fn names() -> Vec<CircuitKey> {
    let key = |number| CircuitKey {
        service: format!("service-{}", number % 12),
        name: format!("dependency-{number}"),
    };
    (0..NAMES).map(key).collect()
}

/// A busy second of one breaker, with varying rate, failures and durations.
fn busy_second(
    key: &CircuitKey,
    number: u64,
    second: u64,
    random: &mut fastrand::Rng,
) -> SeriesRecord {
    let success = random.u64(40..60);
    let failure = random.u64(0..3);
    let spread = [1, 4, 9, 14, 10, 6, 3, 2, 1];
    let in_flight = random.u32(0..8);
    let buckets = spread.iter().enumerate().map(|(at, share)| {
        let jitter = random.u64(0..3);
        (-50 + (number % 20) as i32 + at as i32, share + jitter)
    });
    SeriesRecord::Sample(CircuitSample {
        key: key.clone(),
        instance: format!("6f1c3a52-9d0e-4b7a-8c11-{:012x}", number * 7_919),
        time: UnixNanos::new(T0 + second * nanos(SECOND)),
        state: EffectiveState::Closed,
        calls: CircuitCalls {
            success,
            failure,
            ..CircuitCalls::default()
        },
        in_flight,
        latency_buckets: buckets.collect(),
    })
}

/// An hour of each breaker, `hour` hours ago.
fn past_hour(circuits: &[CircuitKey], hour: u64, random: &mut fastrand::Rng) -> Vec<SeriesRecord> {
    let minute = |minute, random: &mut fastrand::Rng| RollupMinute {
        minute,
        calls: CircuitCalls {
            success: random.u64(2_000..4_000),
            failure: random.u64(0..60),
            ..CircuitCalls::default()
        },
        state: EffectiveState::Closed,
    };
    let hour = T0 / nanos(HOUR) * nanos(HOUR) - hour * nanos(HOUR);
    let rollups = circuits.iter().map(|key| {
        SeriesRecord::Rollup(Rollup {
            key: key.clone(),
            hour: UnixNanos::new(hour),
            minutes: (0..60).map(|at| minute(at, random)).collect(),
        })
    });
    rollups.collect()
}

/// Appends twenty minutes of samples; returns their number.
async fn busy_minutes(log: &SeriesLog, circuits: &[CircuitKey], random: &mut fastrand::Rng) -> u64 {
    for second in 0..SECONDS {
        let mut records = Vec::new();
        for (number, key) in (0..).zip(circuits) {
            let record = busy_second(key, number, second, random);
            if second % 60 == 0 {
                let SeriesRecord::Sample(sample) = &record else {
                    continue;
                };
                let now = sample.time;
                let instance = instance::Instance::new(key, &sample.instance, Source::Fusebox, now);
                records.push(SeriesRecord::Standing(instance.standing));
            }
            records.push(record);
        }
        log.append(records).await.unwrap();
    }
    SECONDS * NAMES
}

const SECONDS: u64 = 1_200;

#[tokio::test]
#[ignore = "a measurement: run it alone, in release, with --nocapture"]
async fn measure_a_week_of_a_hundred_circuits() {
    use tokio::time::Instant;
    let world = World::new();
    let log = world.circuits.series();
    let mut random = fastrand::Rng::with_seed(1);
    let circuits = names();
    for hour in (1..=168).rev() {
        let records = past_hour(&circuits, hour, &mut random);
        log.append(records).await.unwrap();
    }
    let before = log.stats().bytes;
    println!("rollups of a week: {before} bytes");
    let samples = busy_minutes(log, &circuits, &mut random).await;
    let bytes = log.stats().bytes - before;
    println!("samples: {:.1} bytes each", bytes as f64 / samples as f64);
    let range = |start, end| TimeRange { start, end };
    let week = range(
        UnixNanos::new(T0 - 7 * 24 * nanos(HOUR)),
        UnixNanos::new(T0),
    );
    let minutes = range(
        UnixNanos::new(T0),
        UnixNanos::new(T0 + SECONDS * nanos(SECOND)),
    );
    let mut took = [const { Vec::new() }; 3];
    for key in &circuits {
        let start = Instant::now();
        let history = world.circuits.history(key, week, 168).await.unwrap();
        took[0].push(start.elapsed());
        assert!(history.value.buckets[80].calls.success > 100_000);
        let start = Instant::now();
        let wall = world
            .circuits
            .wall(Some(UnixNanos::new(at(900.0))))
            .await
            .unwrap();
        took[1].push(start.elapsed());
        assert_eq!(wall.value.circuits.len(), 100);
        let start = Instant::now();
        world.circuits.history(key, minutes, 100).await.unwrap();
        took[2].push(start.elapsed());
    }
    for (what, mut took) in ["week in 168", "wall then", "20 min in 100"]
        .iter()
        .zip(took)
    {
        took.sort_unstable();
        println!("{what}: p50 {:?}, worst {:?}", took[50], took[99]);
    }
    let start = Instant::now();
    let (circuits, _) = open(&world.dir, at(1_300.0));
    println!("restart: {:?}", start.elapsed());
    let start = Instant::now();
    assert_eq!(
        circuits
            .wall_now(UnixNanos::new(at(1_300.0)))
            .circuits
            .len(),
        100
    );
    println!("wall now: {:?}", start.elapsed());
}
