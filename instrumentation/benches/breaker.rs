//! The cost of a breaker for a call: nanoseconds for `try_acquire` and `record`, closed and open, on one thread and on
//! two that share it. `record` reads the clock once: subtract the line with only the clock read.

mod on_threads;

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use fusebox::circuit_breaker::{
    CircuitBreaker, Outcome, Override, OverrideKind, Registry, Settings,
};
use on_threads::on_threads;
use tokio::time::Instant;

const ELAPSED: Duration = Duration::from_millis(3);

fn breaker(name: &str) -> CircuitBreaker {
    CircuitBreaker::builder(name)
        .registry(&Registry::new())
        .build()
}

fn opened(name: &str) -> CircuitBreaker {
    let settings = Settings {
        minimum_calls: 1,
        open_duration: Duration::from_secs(24 * 60 * 60),
        ..Settings::default()
    };
    let registry = Registry::new();
    let builder = CircuitBreaker::builder(name).registry(&registry);
    let breaker = builder.settings(settings).build();
    fail(&breaker);
    assert!(breaker.try_acquire().is_err());
    breaker
}

/// Opens for a nanosecond: each call is a probe, and one that fails opens it again.
fn probing(name: &str) -> CircuitBreaker {
    let settings = Settings {
        minimum_calls: 1,
        open_duration: Duration::from_nanos(1),
        half_open_probes: 1,
        ..Settings::default()
    };
    let registry = Registry::new();
    let builder = CircuitBreaker::builder(name).registry(&registry);
    let breaker = builder.settings(settings).build();
    fail(&breaker);
    breaker
}

fn succeed(breaker: &CircuitBreaker) {
    if let Ok(permit) = breaker.try_acquire() {
        permit.record(Outcome::Success, black_box(ELAPSED));
    }
}

fn fail(breaker: &CircuitBreaker) {
    if let Ok(permit) = breaker.try_acquire() {
        permit.record(Outcome::Failure, ELAPSED);
    }
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("breaker");
    for threads in [1, 2] {
        let id = |what: &str| format!("{what}, {threads} thread(s)");
        let mut bench = |what: &str, work: &(dyn Fn() + Sync)| {
            group.bench_function(id(what), |b| {
                b.iter_custom(|iterations| on_threads(threads, iterations, || work));
            });
        };
        bench("clock read alone", &|| {
            black_box(Instant::now());
        });
        let closed = breaker("closed");
        bench("closed, successful", &|| succeed(black_box(&closed)));
        let open = opened("open");
        bench("open, refused", &|| {
            drop(black_box(black_box(&open).try_acquire()));
        });
        let probing = probing("probing");
        bench("half-open, failed", &|| fail(&probing));
        let mixed = CircuitBreaker::builder("failing");
        let settings = Settings {
            failure_rate_percent: 100.0,
            ..Settings::default()
        };
        let mixed = mixed.registry(&Registry::new()).settings(settings).build();
        succeed(&mixed);
        bench("closed, failed", &|| {
            succeed(&mixed);
            fail(&mixed);
        });
        let forced = breaker("forced");
        forced.force(Override {
            kind: OverrideKind::ForcedClosed,
            reason: "bench".to_owned(),
            expires: Some(SystemTime::now() + Duration::from_secs(3_600)),
        });
        bench("forced closed with an end", &|| succeed(&forced));
    }
    group.finish();
}

criterion_group!(breaker_call, benches);
criterion_main!(breaker_call);
