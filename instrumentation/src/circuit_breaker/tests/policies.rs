//! Tests of commands with a retry, a rate limiter, a bulkhead, a time limiter and a deadline.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::time::{Instant, sleep};

use super::*;
use crate::circuit_breaker::{
    Cause, CommandError, ExecutionEvent, IsolationPool, PoolSettings, Registry,
};
use crate::resilience::{
    self, AdaptSettings, Bulkhead, BulkheadSettings, Cache, Decision, EventKind, Hedge,
    HedgeSettings, RateLimiter, RateLimiterSettings, Retry, RetrySettings, TimeLimiter,
    TimeLimiterSettings,
};

fn retry() -> Retry {
    let settings = RetrySettings {
        jitter_percent: 0.0,
        budget: None,
        ..RetrySettings::default()
    };
    Retry::builder("stock")
        .settings(settings)
        .registry(&resilience::Registry::new())
        .build()
}

fn rate_limiter(limit: u32, max_wait: Duration) -> RateLimiter {
    let settings = RateLimiterSettings {
        limit,
        period: ms(100),
        max_wait,
        ..RateLimiterSettings::default()
    };
    RateLimiter::builder("stock")
        .settings(settings)
        .registry(&resilience::Registry::new())
        .build()
}

fn bulkhead(max_wait: Duration) -> Bulkhead {
    let settings = BulkheadSettings {
        max_concurrent: 1,
        max_wait,
        ..BulkheadSettings::default()
    };
    Bulkhead::builder("stock")
        .settings(settings)
        .registry(&resilience::Registry::new())
        .build()
}

fn time_limiter(timeout: Duration) -> TimeLimiter {
    let builder = TimeLimiter::builder("stock").registry(&resilience::Registry::new());
    builder.settings(TimeLimiterSettings { timeout }).build()
}

fn cause<T: std::fmt::Debug, E: std::fmt::Debug>(result: Result<T, CommandError<E>>) -> Cause<E> {
    match result {
        Err(CommandError::Failed { cause, .. }) => cause,
        other => panic!("{other:?}"),
    }
}

/// Guarantees: each attempt passes the breaker, and the fallback is called once, after the last attempt.
#[tokio::test(start_paused = true)]
async fn attempts_pass_the_breaker_one_by_one() {
    let breaker = breaker(Settings::default());
    let attempts = AtomicU32::new(0);
    let fails_twice = || async {
        match attempts.fetch_add(1, Relaxed) {
            2 => Ok(7),
            _ => Err("busy"),
        }
    };
    let command = breaker.command().retry(&retry()).run(fails_twice);
    let (result, execution) = command.execute_observed().await;
    assert_eq!((result.unwrap(), execution.attempts()), (7, 3));
    assert_eq!(execution.elapsed(), ms(300));
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.success, calls.failure), (1, 2));
    let fallbacks = AtomicU32::new(0);
    let command = breaker
        .command()
        .retry(&retry())
        .run(|| async { Err::<u32, _>("down") });
    let command = command.fallback(|_| {
        fallbacks.fetch_add(1, Relaxed);
        async { Ok(0) }
    });
    assert_eq!(command.execute().await.unwrap(), 0);
    assert_eq!(fallbacks.load(Relaxed), 1);
}

/// Guarantees: errors that are the caller's fault, refusals, and failures that the predicate stops are not retried.
#[tokio::test(start_paused = true)]
async fn some_ends_are_not_repeated() {
    let breaker = breaker(Settings {
        minimum_calls: 1_000,
        ..Settings::default()
    });
    let attempts = AtomicU32::new(0);
    let fails = |text: &'static str| {
        let attempts = &attempts;
        move || async move {
            attempts.fetch_add(1, Relaxed);
            Err::<u32, _>(text)
        }
    };
    let command = breaker.command().retry(&retry());
    let bad = command
        .clone()
        .run(fails("unknown"))
        .bad_request_if(|text| *text == "unknown");
    assert!(matches!(
        bad.execute().await,
        Err(CommandError::BadRequest("unknown"))
    ));
    assert_eq!(attempts.swap(0, Relaxed), 1);
    let stopped = command
        .clone()
        .run(fails("gone"))
        .retry_if(|_| Decision::Stop);
    stopped.execute().await.unwrap_err();
    assert_eq!(attempts.swap(0, Relaxed), 1);
    let panics = command
        .clone()
        .run(fails("gone"))
        .retry_if(|_| panic!("in the predicate"));
    panics.execute().await.unwrap_err();
    assert_eq!(attempts.swap(0, Relaxed), 1);
    breaker.open_for(ms(50), "test");
    let refused = cause(command.run(fails("busy")).execute().await);
    assert!(matches!(refused, Cause::Rejected(_)));
    assert_eq!(breaker.snapshot().calls.rejected, 1);
}

/// Guarantees: a breaker that opens between two attempts ends the retry.
#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_ends_the_retry() {
    let breaker = breaker(Settings {
        minimum_calls: 2,
        ..Settings::default()
    });
    let (result, execution) = breaker
        .command()
        .retry(&retry())
        .run(|| async { Err::<u32, _>("down") })
        .execute_observed()
        .await;
    assert!(matches!(cause(result), Cause::Rejected(_)));
    assert_eq!(execution.attempts(), 3);
    assert_eq!(breaker.snapshot().calls.failure, 2);
}

/// Scenario: more calls than the rate limiter and the bulkhead of the command admit.
/// Guarantees: they are refused, and the breaker of the healthy target stays closed.
#[tokio::test(start_paused = true)]
async fn limits_of_the_caller_do_not_open_the_breaker() {
    let breaker = breaker(Settings {
        minimum_calls: 1,
        ..Settings::default()
    });
    let limiter = rate_limiter(1, Duration::ZERO);
    let limited = breaker.command().rate_limiter(&limiter);
    assert_eq!(
        limited
            .clone()
            .run(|| async { Ok::<_, &str>(1) })
            .execute()
            .await
            .unwrap(),
        1
    );
    for _ in 0..30 {
        let (result, execution) = limited
            .clone()
            .run(|| async { Ok::<_, &str>(1) })
            .execute_observed()
            .await;
        assert!(matches!(cause(result), Cause::RateLimited(_)));
        assert_eq!(execution.events().next().unwrap().as_str(), "RATE_LIMITED");
    }
    let bulkhead = bulkhead(Duration::ZERO);
    let slot = bulkhead.try_acquire().unwrap();
    for _ in 0..30 {
        let full = breaker
            .command()
            .bulkhead(&bulkhead)
            .run(|| async { Ok::<_, &str>(1) });
        assert!(matches!(
            cause(full.execute().await),
            Cause::BulkheadFull(1)
        ));
    }
    drop(slot);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(breaker.snapshot().calls.bulkhead_full, 60);
}

/// Guarantees: waiting for a permit and a slot makes a call neither slow, hanging nor late at the breaker.
#[tokio::test(start_paused = true)]
async fn waits_on_this_side_make_no_call_slow() {
    let breaker = breaker(Settings {
        minimum_calls: 1,
        slow_call_duration: Some(ms(20)),
        slow_call_rate_percent: 1.0,
        ..Settings::default()
    });
    calls(&breaker, Outcome::Success, 20);
    let limiter = rate_limiter(1, ms(500));
    limiter.try_acquire().unwrap();
    let quick = || async {
        sleep(ms(10)).await;
        Ok::<_, &str>(1)
    };
    let (started, waiting) = (
        Instant::now(),
        breaker.command().rate_limiter(&limiter).run(quick),
    );
    let waiting = tokio::spawn(waiting.execute());
    sleep(ms(50)).await;
    assert_eq!(
        breaker.state(),
        EffectiveState::Closed,
        "it waits, and does not hang"
    );
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert!(started.elapsed() >= ms(110));
    let bulkhead = bulkhead(ms(500));
    let slot = bulkhead.try_acquire().unwrap();
    let waiting = tokio::spawn(breaker.command().bulkhead(&bulkhead).run(quick).execute());
    sleep(ms(50)).await;
    assert_eq!(breaker.state(), EffectiveState::Closed);
    drop(slot);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Guarantees: a probe that waited for its slot is still the probe, whose success closes the breaker.
#[tokio::test(start_paused = true)]
async fn a_probe_that_waited_closes_the_breaker() {
    let breaker = breaker(Settings {
        minimum_calls: 1,
        slow_call_duration: Some(ms(200)),
        ..Settings::default()
    });
    calls(&breaker, Outcome::Failure, 1);
    sleep(ms(5_000)).await;
    let bulkhead = bulkhead(ms(100));
    let slot = bulkhead.try_acquire().unwrap();
    let probe = || async { Ok::<_, &str>(1) };
    let waiting = tokio::spawn(breaker.command().bulkhead(&bulkhead).run(probe).execute());
    sleep(ms(50)).await;
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    drop(slot);
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Scenario: callers give up while waiting for a permit or a slot, after longer than the limit of slow calls.
/// Guarantees: the breaker counts them as cancelled and not as slow, because the target was never called.
#[tokio::test(start_paused = true)]
async fn who_gives_up_on_this_side_makes_no_call_slow() {
    let breaker = breaker(Settings {
        minimum_calls: 1,
        slow_call_duration: Some(ms(20)),
        slow_call_rate_percent: 1.0,
        ..Settings::default()
    });
    let (limiter, bulkhead) = (rate_limiter(1, ms(500)), bulkhead(ms(500)));
    limiter.try_acquire().unwrap();
    let _slot = bulkhead.try_acquire().unwrap();
    let command = breaker.command();
    for command in [
        command.clone().rate_limiter(&limiter),
        command.bulkhead(&bulkhead),
    ] {
        let waiting = command.run(|| async { Ok::<_, &str>(1) }).execute();
        assert!(tokio::time::timeout(ms(50), waiting).await.is_err());
    }
    assert_eq!(breaker.snapshot().calls.cancelled, 2);
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Guarantees: the time of a call includes the wait for its slot; a call without a slot by then does not count against
/// the target.
#[tokio::test(start_paused = true)]
async fn the_wait_for_a_slot_is_part_of_the_timeout() {
    let breaker = breaker(Settings::default());
    let (bulkhead, limiter) = (bulkhead(ms(500)), time_limiter(ms(100)));
    let command = breaker.command().bulkhead(&bulkhead).time_limiter(&limiter);
    let slot = bulkhead.try_acquire().unwrap();
    let started = Instant::now();
    let full = command.clone().run(|| async { Ok::<_, &str>(1) });
    assert!(matches!(
        cause(full.execute().await),
        Cause::BulkheadFull(1)
    ));
    assert_eq!(started.elapsed(), ms(100));
    let slow = || async {
        sleep(ms(70)).await;
        Ok::<_, &str>(1)
    };
    let late = tokio::spawn(command.run(slow).execute());
    sleep(ms(40)).await;
    drop(slot);
    assert!(matches!(cause(late.await.unwrap()), Cause::TimedOut(limit) if limit == ms(100)));
    assert_eq!(started.elapsed(), ms(200));
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.bulkhead_full, calls.timeout), (1, 1));
    assert_eq!(limiter.snapshot().count(EventKind::TimedOut), 1);
}

/// Guarantees: no attempt runs or starts after the deadline; an attempt that is cut short does not count as a failure.
#[tokio::test(start_paused = true)]
async fn the_deadline_limits_the_whole() {
    let breaker = breaker(Settings::default());
    let hangs = || std::future::pending::<Result<u32, &str>>();
    let started = Instant::now();
    let command = breaker
        .command()
        .time_limiter(&time_limiter(ms(100)))
        .deadline(ms(250))
        .retry(&retry());
    let (result, execution) = command.clone().run(hangs).execute_observed().await;
    assert!(matches!(cause(result), Cause::TimedOut(limit) if limit == ms(250)));
    assert_eq!((execution.attempts(), started.elapsed()), (2, ms(250)));
    let calls = breaker.snapshot().calls;
    assert_eq!(
        (calls.timeout, calls.cancelled),
        (1, 1),
        "100 ms of 100, 50 ms of 100"
    );
    let started = Instant::now();
    let (result, execution) = command
        .run(|| async { Err::<u32, _>("down") })
        .execute_observed()
        .await;
    assert!(matches!(cause(result), Cause::Failed("down")));
    assert_eq!(
        (execution.attempts(), started.elapsed()),
        (2, ms(100)),
        "the third one would begin at 300 ms"
    );
}

/// Scenario: a target hangs in the first attempt, or in the second one, for which the deadline leaves a quarter of the
/// time. Guarantees: it has timed out if it had the whole time, also if its timeout is as long as the deadline, or if
/// it has none.
#[tokio::test(start_paused = true)]
async fn only_an_attempt_with_less_time_is_cancelled_by_the_deadline() {
    for timeout in [None, Some(ms(400))] {
        let breaker = breaker(Settings {
            timeout,
            ..Settings::default()
        });
        let attempts = AtomicU32::new(0);
        let hangs_later = || async {
            if attempts.fetch_add(1, Relaxed) > 0 {
                std::future::pending::<()>().await;
            }
            sleep(ms(200)).await;
            Err::<u32, _>("down")
        };
        let command = breaker.command().deadline(ms(400)).retry(&retry());
        let cut = cause(command.clone().run(hangs_later).execute().await);
        assert!(matches!(cut, Cause::TimedOut(limit) if limit == ms(400)));
        let calls = breaker.snapshot().calls;
        assert_eq!((calls.failure, calls.cancelled, calls.timeout), (1, 1, 0));
        let hangs = || std::future::pending::<Result<u32, &str>>();
        let late = cause(command.run(hangs).execute().await);
        assert!(matches!(late, Cause::TimedOut(limit) if limit == ms(400)));
        assert_eq!(breaker.snapshot().calls.timeout, 1);
    }
}

/// Guarantees: a time limiter counts a call without a slot as failed, and one that the deadline ended as cancelled.
#[tokio::test(start_paused = true)]
async fn a_time_limiter_counts_what_others_ended() {
    let breaker = breaker(Settings::default());
    let (bulkhead, limiter) = (bulkhead(Duration::ZERO), time_limiter(ms(100)));
    let command = breaker.command().time_limiter(&limiter);
    let slot = bulkhead.try_acquire().unwrap();
    let full = command.clone().bulkhead(&bulkhead);
    let full = full.run(|| async { Ok::<_, &str>(1) }).execute().await;
    assert!(matches!(cause(full), Cause::BulkheadFull(1)));
    drop(slot);
    let hangs = || std::future::pending::<Result<u32, &str>>();
    let cut = command.deadline(ms(20)).run(hangs).execute().await;
    assert!(matches!(cause(cut), Cause::TimedOut(limit) if limit == ms(20)));
    let counts = limiter.snapshot();
    let count = |event| counts.count(event);
    assert_eq!(
        (
            count(EventKind::Failed),
            count(EventKind::Cancelled),
            count(EventKind::TimedOut)
        ),
        (1, 1, 0)
    );
}

/// Guarantees: a refusal that may be retried is an error like others: the next attempt follows after the wait of the
/// settings, not after that of the refusal.
#[tokio::test(start_paused = true)]
async fn refusals_are_repeated_after_the_waits_of_the_settings() {
    let breaker = breaker(Settings::default());
    breaker.open_for(Duration::from_secs(60), "test");
    let retry = Retry::builder("stock")
        .settings(RetrySettings::resilience4j())
        .registry(&resilience::Registry::new())
        .build();
    let started = Instant::now();
    let command = breaker
        .command()
        .retry(&retry)
        .run(|| async { Ok::<_, &str>(1) });
    let (result, execution) = command.execute_observed().await;
    assert!(matches!(cause(result), Cause::Rejected(_)));
    assert_eq!(execution.attempts(), 3);
    assert_eq!(started.elapsed(), ms(1_000));
}

/// Guarantees: attempts that may take longer than the deadline are logged once, with the figures.
#[test]
fn attempts_beyond_the_deadline_are_warned_of() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let writer = Lines(Arc::clone(&lines));
    let subscriber = tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(false)
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    let (breaker, retry) = (breaker(Settings::default()), retry());
    let _ = breaker.command().deadline(ms(3_300)).retry(&retry);
    assert!(
        lines.lock().unwrap().is_empty(),
        "3 attempts of 1 s, and 300 ms between them"
    );
    for _ in 0..2 {
        let _ = breaker.command().deadline(ms(3_299)).retry(&retry);
    }
    let text = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "WARN",
        "retry=\"stock\"",
        "attempts=3",
        "longest=3.3s",
        "deadline=3.299s",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[test]
fn a_deadline_of_nothing_is_refused() {
    let command = || breaker(Settings::default()).command();
    let refused = command().try_deadline(Duration::ZERO).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("deadline must be above 0"), "{text}");
    assert!(command().try_deadline(Duration::MAX).is_ok());
    let built = || command().deadline(Duration::ZERO);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(built)).is_err());
}

fn hedge(delay: Duration) -> Hedge {
    let settings = HedgeSettings {
        delay,
        ..HedgeSettings::default()
    };
    Hedge::builder("stock")
        .settings(settings)
        .registry(&resilience::Registry::new())
        .build()
}

/// Guarantees: a slow attempt gets a second one in parallel, which passes the breaker too; the breaker counts the loser
/// as cancelled.
#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_hedged_behind_the_breaker() {
    let breaker = breaker(Settings::default());
    let attempts = AtomicU32::new(0);
    let first_hangs = || async {
        match attempts.fetch_add(1, Relaxed) {
            0 => std::future::pending().await,
            _ => Ok::<_, &str>(7),
        }
    };
    let command = breaker.command().hedge(&hedge(ms(50))).run(first_hangs);
    let (result, execution) = command.execute_observed().await;
    assert_eq!((result.unwrap(), execution.attempts()), (7, 2));
    assert_eq!(execution.elapsed(), ms(50));
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.success, calls.cancelled), (1, 1));
}

/// Guarantees: an error that is the caller's fault ends a hedged call immediately, a retry repeats it when all of its
/// attempts have failed, and a refused hedge does not prevent the retry of a failed attempt.
#[tokio::test(start_paused = true)]
async fn hedges_and_retries_work_together() {
    let breaker = breaker(Settings {
        max_concurrent: 1,
        ..Settings::default()
    });
    let slow = |text: &'static str| {
        move || async move {
            sleep(ms(100)).await;
            Err::<u32, _>(text)
        }
    };
    let command = breaker.command().hedge(&hedge(ms(50))).retry(&retry());
    let bad = command.clone().run(slow("unknown"));
    let (result, execution) = bad.bad_request_if(|_| true).execute_observed().await;
    assert!(matches!(result, Err(CommandError::BadRequest("unknown"))));
    assert_eq!(execution.attempts(), 2, "one of them found no slot");
    let (result, execution) = command.run(slow("down")).execute_observed().await;
    assert!(matches!(cause(result), Cause::Failed("down")));
    assert_eq!(execution.attempts(), 6);
}

/// Scenario: the first attempt fails while the second one waits for a slot, which another call gets.
/// Guarantees: the command ends with the last attempt, and so does its duration.
#[tokio::test(start_paused = true)]
async fn a_refused_hedge_ends_the_time_of_the_command() {
    let breaker = breaker(Settings::default());
    let slots = bulkhead(ms(100));
    let command = breaker.command().bulkhead(&slots).hedge(&hedge(ms(10)));
    let command = command.run(|| async {
        sleep(ms(50)).await;
        Err::<u32, _>("down")
    });
    let other = async {
        sleep(ms(5)).await;
        let slot = slots.acquire().await;
        sleep(ms(500)).await;
        slot.is_ok()
    };
    let ((result, execution), is_ok) = tokio::join!(command.execute_observed(), other);
    assert!(matches!(cause(result), Cause::BulkheadFull(_)) && is_ok);
    assert_eq!(execution.elapsed(), ms(110));
}

fn pool(core_size: u32, queue: u32) -> IsolationPool {
    let settings = PoolSettings {
        core_size,
        max_queue_size: queue,
        ..PoolSettings::default()
    };
    Registry::new().pool("warehouse", settings).unwrap()
}

/// Hystrix's scenario 20, testRejectedThreadWithNoFallback: one worker and a queue of one; the third call is refused.
/// Guarantees: it is neither short-circuited nor timed out, and the pool and the breaker count it.
#[tokio::test(start_paused = true)]
async fn rejected_thread_with_no_fallback() {
    let breaker = breaker(Settings::default());
    let pool = pool(1, 1);
    let call = || {
        let command = breaker.command().in_pool(&pool);
        let command = command.run(|| async {
            sleep(ms(100)).await;
            Ok::<_, &str>(7)
        });
        command.execute_observed()
    };
    let ((first, _), (second, _), (third, execution)) = tokio::join!(call(), call(), call());
    assert_eq!((first.unwrap(), second.unwrap()), (7, 7));
    assert!(matches!(cause(third), Cause::PoolFull(full) if full.workers == 1));
    let events: Vec<_> = execution.events().map(|event| event.as_str()).collect();
    assert_eq!(events, ["THREAD_POOL_REJECTED", "FALLBACK_MISSING"]);
    let calls = breaker.snapshot().calls;
    assert_eq!((calls.success, calls.bulkhead_full), (2, 1));
    assert_eq!(pool.callers(), [(breaker.shell.name.clone(), 1)]);
    assert_eq!(pool.snapshot().rejected, 1);
}

/// Guarantees: an adaptive bulkhead around a pool that refuses does not shrink because of the refusals.
#[tokio::test(start_paused = true)]
async fn what_a_pool_refuses_says_nothing_about_the_target() {
    let settings = BulkheadSettings {
        max_concurrent: 10,
        adapt: Some(AdaptSettings::default()),
        ..BulkheadSettings::default()
    };
    let slots = Bulkhead::builder("stock").settings(settings);
    let slots = slots.registry(&resilience::Registry::new()).build();
    let (breaker, pool) = (breaker(Settings::default()), pool(1, 1));
    let call = || {
        let command = breaker.command().bulkhead(&slots).in_pool(&pool);
        let hangs = command.run(std::future::pending::<Result<u32, &str>>);
        Box::pin(hangs.execute())
    };
    let (mut runs, mut waits) = (call(), call());
    let poll = futures_util::FutureExt::now_or_never;
    assert!(poll(&mut runs).is_none() && poll(&mut waits).is_none());
    assert!(matches!(cause(call().await), Cause::PoolFull(_)));
    assert_eq!(slots.snapshot().limit, Some(10));
}

/// Guarantees: the wait for a worker is part of the timeout, a dropped call leaves the pool, each attempt of a retry
/// takes a worker, a panic is propagated to the command, and blocking code works too.
#[tokio::test(start_paused = true)]
async fn code_runs_on_the_workers_of_a_pool() {
    let breaker = breaker(Settings {
        minimum_calls: 100,
        ..Settings::default()
    });
    let pool = pool(1, 1);
    let hangs = || {
        let command = breaker.command().in_pool(&pool);
        command
            .run(std::future::pending::<Result<u32, &str>>)
            .execute()
    };
    let started = Instant::now();
    let (first, second) = tokio::join!(hangs(), hangs());
    for late in [first, second] {
        assert!(matches!(cause(late), Cause::TimedOut(limit) if limit == ms(1_000)));
    }
    assert_eq!(started.elapsed(), ms(1_000));
    let fails = || async { Err::<u32, _>("busy") };
    let command = breaker.command().retry(&retry()).in_pool(&pool).run(fails);
    let (result, execution) = command.execute_observed().await;
    assert!(matches!(cause(result), Cause::Failed("busy")));
    assert_eq!(execution.attempts(), 3);
    let blocks = breaker.command().in_pool(&pool);
    let blocks = blocks.run_blocking(|| Ok::<_, &str>(std::thread::current().id()));
    assert_ne!(blocks.execute().await.unwrap(), std::thread::current().id());
    let panics = breaker.command().in_pool(&pool);
    let panics = panics.run(|| async { panic!("of a worker") as Result<u32, &str> });
    let caught =
        futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(panics.execute()));
    assert!(caught.await.is_err());
    let counts = pool.snapshot();
    assert_eq!((counts.active, counts.queued), (0, 0));
    assert_eq!(breaker.snapshot().calls.failure, 4);
}

/// Hystrix's scenario 26, testRequestCache1, with a cache that outlives requests.
/// Guarantees: a cached value does not ask the breaker, results of a fallback are not cached, and the observer receives
/// both events.
#[tokio::test(start_paused = true)]
async fn answers_are_kept_around_the_command() {
    let breaker = breaker(Settings::default());
    let cache: Cache<u32, u32> = Cache::builder("stock")
        .registry(&resilience::Registry::new())
        .build();
    let attempts = AtomicU32::new(0);
    let stock = || async {
        match attempts.fetch_add(1, Relaxed) {
            0 => Err("down"),
            _ => Ok(7),
        }
    };
    let ask = || {
        let command = breaker.command().run(stock).fallback(|_| async { Ok(0) });
        command.cached(&cache, 1).execute_observed()
    };
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (result, execution) = ask().await;
        let events: Vec<_> = execution.events().map(|event| event.as_str()).collect();
        seen.push((result.unwrap(), events.join(" "), execution.attempts()));
    }
    assert_eq!(
        seen,
        [
            (0, "FAILURE FALLBACK_SUCCESS".to_owned(), 1),
            (7, "SUCCESS".to_owned(), 1),
            (7, "SUCCESS RESPONSE_FROM_CACHE".to_owned(), 0),
        ]
    );
    assert_eq!(attempts.load(Relaxed), 2);
    assert_eq!(breaker.shell.shared.answers_from_cache(), 1);
    let plain = breaker.command().run(stock).cached(&cache, 1);
    assert_eq!(plain.execute().await.unwrap(), 7);
}

/// Scenario: one command hangs while others wait for its result: one with a deadline, one that is dropped, one to the
/// end.
/// Guarantees: the wait is part of the deadline and of the command's duration, and each observer is notified of the
/// end.
#[tokio::test(start_paused = true)]
async fn a_wait_for_an_answer_is_limited_and_observed() {
    let breaker = breaker(Settings::default());
    let cache: Cache<u32, u32> = Cache::builder("stock")
        .registry(&resilience::Registry::new())
        .build();
    let stock = || async {
        sleep(ms(500)).await;
        Ok::<_, &str>(7)
    };
    let slow = || breaker.command().run(stock).cached(&cache, 1);
    let (asks, waits) = (slow().execute_observed(), slow().execute_observed());
    let late = breaker.command().deadline(ms(100)).run(stock);
    let late = late.cached(&cache, 1).execute_observed();
    let (seen, events) = std::sync::mpsc::channel();
    let dropped = breaker.command().run(stock).observe(move |execution| {
        let first = execution.events().next().map(ExecutionEvent::as_str);
        seen.send(first).ok();
    });
    let dropped = dropped.cached(&cache, 1).execute();
    let dropped = tokio::time::timeout(ms(50), dropped);
    let ((asked, _), (waited, execution), (late, cut), dropped) =
        tokio::join!(asks, waits, late, dropped);
    assert_eq!((asked.unwrap(), waited.unwrap()), (7, 7));
    assert_eq!(execution.elapsed(), ms(500));
    assert!(matches!(cause(late), Cause::TimedOut(limit) if limit == ms(100)));
    assert_eq!((cut.attempts(), breaker.snapshot().calls.total()), (0, 1));
    assert!(dropped.is_err());
    assert_eq!(events.try_recv().unwrap(), Some("CANCELLED"));
}
