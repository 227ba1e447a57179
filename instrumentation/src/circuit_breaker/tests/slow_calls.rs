//! Tests of slow calls that never return: dropped by their caller, hanging, or late although the code blocked.

use std::future::pending;
use std::io;

use tokio::time::{advance, timeout};

use super::*;
use crate::circuit_breaker::PoolSettings;

fn settings() -> Settings {
    Settings {
        slow_call_duration: Some(ms(500)),
        slow_call_rate_percent: 50.0,
        minimum_calls: 10,
        timeout: None,
        ..Settings::default()
    }
}

fn hang() -> impl Future<Output = Result<u32, io::Error>> {
    pending()
}

/// Scenario: an outer timeout drops every call. Guarantees: those that were slow by then open the breaker, the others
/// do not count.
#[tokio::test(start_paused = true)]
async fn calls_given_up_when_slow_count_as_slow() {
    let (breaker, notes) = observed(settings());
    for _ in 0..100 {
        timeout(ms(499), breaker.call(hang())).await.unwrap_err();
    }
    assert_eq!(breaker.snapshot().window.calls, 0);
    for _ in 0..5 {
        timeout(ms(600), breaker.call(hang())).await.unwrap_err();
    }
    for _ in 0..4 {
        timeout(ms(600), breaker.command().run(hang).execute())
            .await
            .unwrap_err();
    }
    let permit = breaker.try_acquire().unwrap();
    assert_eq!(breaker.state(), EffectiveState::Closed);
    let window = breaker.snapshot().window;
    assert_eq!((window.calls, window.slow, window.errors), (9, 9, 0));
    advance(ms(501)).await;
    drop(permit);
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(
        notes.reasons(),
        ["100 % of 10 calls took longer than 500 ms in 10 s (limit 50 %)"]
    );
    assert_eq!(breaker.snapshot().calls.cancelled, 110);
}

/// Scenario: the first calls never return. Guarantees: they are detected while they run, by the next call and by a
/// reader.
#[tokio::test(start_paused = true)]
async fn calls_that_hang_are_seen_while_they_run() {
    for reads in [true, false] {
        for window in [settings().window, WindowSettings::Count { calls: 10 }] {
            let breaker = breaker(Settings {
                window,
                ..settings()
            });
            let hanging: Vec<_> = (0..10).map(|_| breaker.try_acquire().unwrap()).collect();
            advance(ms(500)).await;
            assert_eq!(breaker.state(), EffectiveState::Closed, "not yet slow");
            advance(ms(1)).await;
            if reads {
                assert_eq!(breaker.state(), EffectiveState::Open);
            }
            assert!(breaker.try_acquire().is_err());
            assert_eq!(breaker.snapshot().in_flight, 10);
            drop(hanging);
            assert_eq!(breaker.snapshot().in_flight, 0);
        }
    }
}

/// Guarantees: a call that was detected while it ran is not counted again when it returns, nor after the breaker has
/// closed.
#[tokio::test(start_paused = true)]
async fn a_hanging_call_counts_once() {
    let breaker = breaker(settings());
    let mut hanging: Vec<_> = (0..4).map(|_| breaker.try_acquire().unwrap()).collect();
    advance(ms(600)).await;
    let window = breaker.snapshot().window;
    assert_eq!((window.calls, window.slow), (4, 4));
    hanging.pop().unwrap().record(Outcome::Success, ms(600));
    let window = breaker.snapshot().window;
    assert_eq!((window.calls, window.slow), (4, 4));
    calls(&breaker, Outcome::Failure, 6);
    assert_eq!(breaker.state(), EffectiveState::Open);
    advance(ms(5_000)).await;
    calls(&breaker, Outcome::Success, 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    advance(ms(5_000)).await;
    assert_eq!(
        breaker.snapshot().window.calls,
        0,
        "they are of an earlier generation"
    );
    drop(hanging);
    assert_eq!(breaker.snapshot().window.calls, 0);
}

/// Scenario: the probe hangs. Guarantees: it opens the breaker again as soon as it is slow.
#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_slow() {
    let (breaker, notes) = observed(settings());
    calls(&breaker, Outcome::Failure, 10);
    advance(ms(5_000)).await;
    let probe = breaker.try_acquire().unwrap();
    advance(ms(500)).await;
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    advance(ms(1)).await;
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(
        notes.reasons().last().unwrap(),
        "probe took 501 ms (limit 500 ms)"
    );
    probe.record(Outcome::Success, ms(501));
    assert_eq!(breaker.state(), EffectiveState::Open);
}

/// Guarantees: if the setting is off, only calls that returned are slow.
#[tokio::test(start_paused = true)]
async fn unfinished_calls_count_only_where_asked() {
    let breaker = breaker(Settings {
        count_unfinished_slow_calls: false,
        ..settings()
    });
    for _ in 0..20 {
        timeout(ms(600), breaker.call(hang())).await.unwrap_err();
    }
    let _hanging: Vec<_> = (0..20).map(|_| breaker.try_acquire().unwrap()).collect();
    advance(ms(600)).await;
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(breaker.snapshot().window.calls, 0);
}

/// A service whose head takes `head` and whose body is read from a channel.
#[cfg(feature = "http")]
mod bodies {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio::time::sleep;
    use tower::{Layer, ServiceExt, service_fn};

    use super::*;
    use crate::circuit_breaker::layer::CircuitBreakerLayer;
    use crate::http::client::ResponseBody;

    type Part = Result<Frame<&'static [u8]>, io::Error>;
    type Stream = futures_util::stream::BoxStream<'static, Part>;

    /// Makes a call whose head takes `head`; returns its response and the sender of its body.
    async fn call(
        breaker: &CircuitBreaker,
        head: Duration,
    ) -> (
        Response<ResponseBody<StreamBody<Stream>>>,
        mpsc::UnboundedSender<Part>,
    ) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut body = Some(receiver);
        let service = service_fn(move |_: Request<()>| {
            let parts = futures_util::stream::unfold(body.take().unwrap(), async |mut parts| {
                Some((parts.recv().await?, parts))
            });
            let stream: Stream = Box::pin(parts);
            async move {
                sleep(head).await;
                Ok::<_, Infallible>(Response::new(StreamBody::new(stream)))
            }
        });
        let service = CircuitBreakerLayer::new(breaker.clone()).layer(service);
        let response = service.oneshot(Request::new(())).await.unwrap();
        (response, sender)
    }

    /// Scenario: a healthy target sends long streams, and their readers are slow.
    /// Guarantees: neither makes the calls slow, while they run or when they end.
    #[tokio::test(start_paused = true)]
    async fn a_long_body_makes_no_call_slow() {
        let breaker = breaker(settings());
        let mut running = Vec::new();
        for _ in 0..20 {
            running.push(call(&breaker, ms(10)).await);
        }
        advance(ms(4_000)).await;
        assert_eq!(breaker.state(), EffectiveState::Closed);
        assert_eq!(breaker.snapshot().window.slow, 0);
        for (response, sender) in running {
            sender.send(Ok(Frame::data(b"stock"))).unwrap();
            drop(sender);
            response.into_body().collect().await.unwrap();
        }
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.state, EffectiveState::Closed);
        assert_eq!((snapshot.calls.success, snapshot.window.slow), (20, 0));
        let latency = snapshot.latency.of(Outcome::Success).unwrap();
        assert_eq!(latency.sum_seconds(), 0.2, "the time to the head");
    }

    /// Guarantees: a slow head makes a slow call, even if its body arrives immediately.
    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_a_slow_call() {
        let breaker = breaker(settings());
        for _ in 0..10 {
            let (response, sender) = call(&breaker, ms(501)).await;
            drop(sender);
            response.into_body().collect().await.unwrap();
        }
        assert_eq!(breaker.state(), EffectiveState::Open);
    }

    /// Guarantees: bodies that break off open the breaker; those that hang until a timeout count as timeouts.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_break_off_or_hang_are_failures() {
        let breaker = breaker(settings());
        for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut] {
            let (response, sender) = call(&breaker, ms(10)).await;
            advance(ms(2_000)).await;
            sender.send(Err(kind.into())).unwrap();
            response.into_body().collect().await.unwrap_err();
        }
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.calls.failure, snapshot.calls.timeout), (1, 1));
        assert_eq!((snapshot.window.errors, snapshot.window.slow), (2, 1));
    }

    /// Scenario: the probe is a stream. Guarantees: it is not slow while it lasts, and closes the breaker at its end.
    #[tokio::test(start_paused = true)]
    async fn a_probe_that_streams_is_not_slow() {
        let breaker = breaker(settings());
        calls(&breaker, Outcome::Failure, 10);
        advance(ms(5_000)).await;
        let (response, sender) = call(&breaker, ms(10)).await;
        advance(ms(4_000)).await;
        assert_eq!(breaker.state(), EffectiveState::HalfOpen);
        drop(sender);
        response.into_body().collect().await.unwrap();
        assert_eq!(breaker.state(), EffectiveState::Closed);
    }
}

/// Scenario: the code blocks its thread past the timeout, so that no timer can run. Guarantees: its result is a
/// timeout.
#[tokio::test]
async fn a_result_after_the_timeout_is_late_though_the_code_blocked() {
    let breaker = breaker(Settings {
        timeout: Some(ms(10)),
        ..Settings::default()
    });
    let command = breaker.command().run(|| async {
        let start = std::time::Duration::from_millis(50);
        std::thread::sleep(start);
        Ok::<_, io::Error>(1)
    });
    let (result, execution) = command.execute_observed().await;
    let events: Vec<_> = execution.events().map(|event| event.as_str()).collect();
    assert_eq!(events, ["TIMEOUT", "FALLBACK_MISSING"]);
    assert_eq!(
        result.unwrap_err().to_string(),
        "no answer within 10ms (no fallback)"
    );
    assert_eq!(breaker.snapshot().calls.timeout, 1);
}

/// Scenario: calls in a pool, by the pool or by a command, hang and are given up from outside.
/// Guarantees: they count as slow, and free their workers.
#[tokio::test(start_paused = true)]
async fn calls_in_a_pool_given_up_when_slow_count_as_slow() {
    let registry = Registry::new();
    let pool = registry.pool("stock", PoolSettings::default()).unwrap();
    let build = |name| CircuitBreaker::builder(name).registry(&registry);
    let [by_pool, by_command] =
        ["pool", "command"].map(|name| build(name).settings(settings()).build());
    for _ in 0..12 {
        let command = by_command.command().in_pool(&pool).run(hang);
        let pooled = timeout(ms(600), pool.call(&by_pool, hang()));
        let _ = tokio::join!(pooled, timeout(ms(600), command.execute()));
    }
    for breaker in [by_pool, by_command] {
        assert_eq!(breaker.state(), EffectiveState::Open, "{}", breaker.name());
        assert_eq!(breaker.snapshot().calls.cancelled, 10);
    }
    while pool.snapshot().active > 0 {
        tokio::task::yield_now().await;
    }
}
