//! What a circuit breaker adds to a call, beside other crates in one run: a successful call through a closed breaker and a
//! refusal by an open one, on one thread and on two that share it. Each crate has its default settings but for the time in
//! open, and is called in the cheapest way that it offers around code that returns a `Result`; fusebox as a
//! permit, around a call, which is a span too (without a subscriber here), and as a command with a timeout and slots.

#[path = "../../benches/on_threads/mod.rs"]
mod on_threads;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use failsafe::{CircuitBreaker as _, FailurePolicy as _, failure_policy};
use fusebox::circuit_breaker::{CircuitBreaker, Outcome, Registry, Settings, layer};
use on_threads::on_threads;
use recloser::Recloser;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Failures after which every one of them is open.
const FAILURES: usize = 200;

/// A successful answer of the protected code, or a failure.
type Answer = Result<u32, u32>;

fn fusebox() -> CircuitBreaker {
    let settings = Settings {
        open_duration: DAY,
        ..Settings::default()
    };
    let builder = CircuitBreaker::builder("bench").settings(settings);
    builder.registry(&Registry::new()).build()
}

/// As a caller does who times its call itself.
fn permit(breaker: &CircuitBreaker, answer: Answer) -> bool {
    let outcome = match answer {
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    match black_box(breaker).try_acquire() {
        Ok(permit) => permit.record(outcome, black_box(Duration::from_millis(3))),
        Err(refusal) => {
            black_box(&refusal);
            return false;
        }
    }
    true
}

fn recloser() -> Arc<Recloser> {
    Arc::new(Recloser::custom().open_wait(DAY).build())
}

/// Its two default rules, with our threshold, minimum and length.
fn failsafe() -> impl failsafe::CircuitBreaker + Clone + Sync {
    let day = failsafe::backoff::constant(DAY);
    let window = Duration::from_secs(10);
    let rate = failure_policy::success_rate_over_time_window(0.5, 20, window, day.clone());
    let policy = rate.or_else(failure_policy::consecutive_failures(5, day));
    failsafe::Config::new().failure_policy(policy).build()
}

fn tower_resilience() -> CircuitBreakerLayer {
    let builder = CircuitBreakerLayer::builder().wait_duration_in_open(DAY);
    builder.build().expect("the settings are valid")
}

async fn answer(answer: Answer) -> Answer {
    black_box(answer)
}

/// Calls a service. Its future is ready at once, but for tower-resilience's where another thread has the lock: that one waits,
/// and spawns tasks, so it needs a runtime.
fn serve<S>(mut service: S) -> impl FnMut(Answer) -> bool
where
    S: Service<Answer, Response = u32>,
{
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Runtime::new().expect("a runtime starts"));
    let entered = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    move |request| {
        let _entered = &entered;
        let ready = service.poll_ready(&mut cx);
        if !matches!(ready, Poll::Ready(Ok(()))) {
            return false;
        }
        let mut future = pin!(service.call(request));
        let ended = match future.as_mut().poll(&mut cx) {
            Poll::Ready(ended) => ended,
            Poll::Pending => runtime.block_on(future),
        };
        ended.is_ok()
    }
}

/// Times calls through a breaker that is closed, and through another one that failures have opened.
fn bench<B, C>(c: &mut Criterion, name: &str, new: impl Fn() -> B, begin: impl Fn(B) -> C + Sync)
where
    B: Clone + Sync,
    C: FnMut(Answer) -> bool,
{
    let closed = new();
    time(c, "closed, successful", name, || begin(closed.clone()));
    let open = new();
    let mut call = begin(open.clone());
    for _ in 0..FAILURES {
        call(Err(7));
    }
    assert!(!call(Ok(7)), "{name} is not open");
    time(c, "open, refused", name, || begin(open.clone()));
}

fn time<C>(c: &mut Criterion, what: &str, name: &str, begin: impl Fn() -> C + Sync)
where
    C: FnMut(Answer) -> bool,
{
    for threads in [1, 2] {
        let mut group = c.benchmark_group(format!("{what}, {threads} thread(s)"));
        let begin = || {
            let mut call = begin();
            move || {
                black_box(call(black_box(Ok(7))));
            }
        };
        group.bench_function(name, |b| {
            b.iter_custom(|iterations| on_threads(threads, iterations, begin));
        });
        group.finish();
    }
}

fn benches(c: &mut Criterion) {
    time(c, "closed, successful", "clock read alone", || {
        |_| black_box(Some(Instant::now())).is_some()
    });
    bench(c, "fusebox, permit", fusebox, |breaker| {
        move |answer| permit(&breaker, answer)
    });
    bench(c, "fusebox, call", fusebox, |breaker| {
        move |answer| breaker.call_blocking(|| black_box(answer)).is_ok()
    });
    bench(c, "fusebox, command", fusebox, |breaker| {
        move |result| {
            let command = breaker.command().run(|| answer(result));
            let ended = pin!(command.execute()).poll(&mut Context::from_waker(Waker::noop()));
            matches!(ended, Poll::Ready(Ok(_)))
        }
    });
    let layer = || {
        let layer = layer::CircuitBreakerLayer::new(fusebox());
        layer.classify(layer::ErrorsOnly).layer(service_fn(answer))
    };
    bench(c, "fusebox, layer", layer, serve);
    bench(c, "recloser", recloser, |breaker| {
        move |answer| breaker.call(|| black_box(answer)).is_ok()
    });
    bench(c, "failsafe", failsafe, |breaker| {
        move |answer| breaker.call(|| black_box(answer)).is_ok()
    });
    let layer = || tower_resilience().layer(service_fn(answer));
    bench(c, "tower-resilience", layer, serve);
}

criterion_group!(breakers, benches);
criterion_main!(breakers);
