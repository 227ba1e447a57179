//! The cost of a policy for an admitted call: a permit of a rate limiter, a slot of a bulkhead, a retry whose first
//! attempt succeeds, and a command with all of them. Subtract the line with only the clock read.
//!
//! "Command with everything" is a clone of a command with a retry, the breaker, a rate limiter, a time limiter and a
//! bulkhead, each counting its call, and code that is ready at once: two reads of the clock, no timer, no allocation, and
//! spans that no subscriber wants.

#[expect(dead_code, reason = "one thread is enough here")]
mod on_threads;

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fusebox::circuit_breaker::{self, CircuitBreaker, RepeatedCommand};
use fusebox::resilience::{
    Bulkhead, Hedge, RateLimiter, RateLimiterSettings, Registry, Retry, TimeLimiter,
};
use on_threads::on_this_thread;
use tokio::time::Instant;

async fn work() -> Result<u32, &'static str> {
    Ok(black_box(7))
}

fn rate_limiter(registry: &Registry) -> RateLimiter {
    let settings = RateLimiterSettings {
        limit: u32::MAX,
        period: Duration::from_secs(3_600),
        ..RateLimiterSettings::default()
    };
    RateLimiter::builder("bench")
        .settings(settings)
        .registry(registry)
        .build()
}

/// One policy of each kind, which lets every call pass.
struct Policies {
    limiter: RateLimiter,
    bulkhead: Bulkhead,
    retry: Retry,
    time_limiter: TimeLimiter,
    hedge: Hedge,
    breaker: CircuitBreaker,
}

impl Policies {
    fn new(registry: &Registry) -> Self {
        let breakers = circuit_breaker::Registry::new();
        Self {
            limiter: rate_limiter(registry),
            bulkhead: Bulkhead::builder("bench").registry(registry).build(),
            retry: Retry::builder("bench").registry(registry).build(),
            time_limiter: TimeLimiter::builder("bench").registry(registry).build(),
            hedge: Hedge::builder("bench").registry(registry).build(),
            breaker: CircuitBreaker::builder("bench").registry(&breakers).build(),
        }
    }

    fn command(&self) -> RepeatedCommand {
        let command = self.breaker.command().rate_limiter(&self.limiter);
        let command = command
            .time_limiter(&self.time_limiter)
            .bulkhead(&self.bulkhead);
        command.retry(&self.retry)
    }
}

/// Polls a future that is ready immediately, so that the policy is timed and not the runtime.
fn ready<T, E>(future: impl Future<Output = Result<T, E>>) {
    let ended = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
    black_box(matches!(ended, Poll::Ready(Ok(_))));
}

fn benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime starts");
    let _entered = runtime.enter();
    let policies = Policies::new(&Registry::new());
    let Policies {
        limiter,
        bulkhead,
        retry,
        time_limiter,
        hedge,
        breaker,
    } = &policies;
    let command = policies.command();
    let mut group = c.benchmark_group("resilience");
    let mut bench = |what: &str, work: &mut dyn FnMut()| {
        group.bench_function(what, |b| {
            b.iter_custom(|iterations| on_this_thread(iterations, &mut *work));
        });
    };
    bench("clock read alone", &mut || {
        black_box(Instant::now());
    });
    bench("rate limiter, try_acquire", &mut || {
        black_box(limiter.try_acquire()).unwrap_or_default();
    });
    bench("bulkhead, try_acquire", &mut || {
        drop(black_box(bulkhead.try_acquire()));
    });
    bench("rate limiter, call", &mut || ready(limiter.call(work)));
    bench("bulkhead, call", &mut || ready(bulkhead.call(work)));
    bench("retry, first attempt succeeds", &mut || {
        ready(retry.call(work))
    });
    bench("time limiter, call", &mut || ready(time_limiter.call(work)));
    bench("hedge, first attempt succeeds", &mut || {
        ready(hedge.call(work))
    });
    bench("command, breaker alone", &mut || {
        ready(breaker.command().run(work).execute());
    });
    bench("command with everything", &mut || {
        ready(command.clone().run(work).execute());
    });
    let command = policies.command().hedge(hedge);
    bench("command with everything and a hedge", &mut || {
        ready(command.clone().run(work).execute());
    });
    group.finish();
}

criterion_group!(policies, benches);
criterion_main!(policies);
