//! Tests of pools, alone and behind breakers.

use std::future::{Future, pending, poll_fn};
use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::{Context, KeyValue};

use super::*;
use crate::circuit_breaker::{CircuitBreaker, Outcome, PoolError, Registry, Settings, request_log};

fn pool(core_size: u32, queue: u32) -> (Registry, IsolationPool) {
    let registry = Registry::new();
    let settings = PoolSettings {
        core_size,
        max_queue_size: queue,
        ..PoolSettings::default()
    };
    let pool = registry.pool("warehouse", settings).unwrap();
    (registry, pool)
}

fn breaker(registry: &Registry, timeout: Option<Duration>) -> CircuitBreaker {
    let settings = Settings {
        timeout,
        ..Settings::default()
    };
    CircuitBreaker::builder("stock")
        .registry(registry)
        .settings(settings)
        .build()
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Scenario: two workers and a queue of one; four calls arrive, and the first ones end.
/// Guarantees: two run, one waits, one is refused; the waiting call runs as soon as a worker is free.
#[tokio::test]
async fn workers_then_the_queue_then_refusals() {
    let (_registry, pool) = pool(2, 1);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let call = || {
        let (pool, mut stopped) = (pool.clone(), stopped.clone());
        tokio::spawn(async move {
            pool.run(async move { stopped.wait_for(|stop| *stop).await.is_ok() })
                .await
        })
    };
    let running = [call(), call(), call()];
    settle().await;
    let full = pool.snapshot();
    assert_eq!((full.active, full.queued, full.executed), (2, 1, 2));
    let refused = pool.run(async {}).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "pool warehouse is full: 2 calls are running and 1 waiting"
    );
    stop.send(true).unwrap();
    for call in running {
        assert_eq!(call.await.unwrap(), Ok(true));
    }
    let idle = pool.snapshot();
    assert_eq!((idle.active, idle.queued, idle.largest), (0, 0, 2));
    assert_eq!((idle.executed, idle.completed, idle.rejected), (3, 3, 1));
}

/// Guarantees: a caller that gives up leaves the queue and drops its running call.
#[tokio::test]
async fn callers_that_give_up_free_their_places() {
    let (_registry, pool) = pool(1, 1);
    let mut running = Box::pin(pool.run(pending::<()>()));
    assert!((&mut running).now_or_never().is_none());
    let mut waiting = Box::pin(pool.run(async { 7 }));
    assert!((&mut waiting).now_or_never().is_none());
    assert_eq!(pool.snapshot().queued, 1);
    drop(waiting);
    assert_eq!(pool.snapshot().queued, 0);
    drop(running);
    assert_eq!(pool.run(async { 8 }).await, Ok(8));
}

/// Guarantees: blocking code occupies its worker until it returns, even if its caller has given up.
#[tokio::test]
async fn a_thread_keeps_its_worker() {
    let (registry, pool) = pool(1, 0);
    let breaker = breaker(&registry, Some(Duration::from_millis(1)));
    let (release, released) = mpsc::channel::<()>();
    let code = move || released.recv().map_err(|_| "hung up");
    let late = pool.call_blocking(&breaker, code).await.unwrap_err();
    assert_eq!(late, PooledError::TimedOut(Duration::from_millis(1)));
    assert_eq!(pool.snapshot().active, 1);
    assert!(matches!(
        pool.run(async {}).await,
        Err(PoolRunError::Full(_))
    ));
    release.send(()).unwrap();
    while pool.snapshot().active > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(breaker.snapshot().calls.timeout, 1);
}

/// Guarantees: a panic reaches the caller, counts as a failure, and frees the worker.
#[tokio::test]
async fn panics_reach_the_caller() {
    let (registry, pool) = pool(1, 0);
    let breaker = breaker(&registry, None);
    let idle = || async {
        while pool.snapshot().active > 0 {
            tokio::task::yield_now().await;
        }
    };
    let (called, by) = (breaker.clone(), pool.clone());
    let task = async move { by.call(&called, async { out_of_paper() }).await };
    let panic = tokio::spawn(task).await.unwrap_err().into_panic();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "out of paper");
    idle().await;
    let (called, by) = (breaker.clone(), pool.clone());
    let task = async move { by.call_blocking(&called, out_of_paper).await };
    assert!(tokio::spawn(task).await.unwrap_err().is_panic());
    idle().await;
    assert_eq!(breaker.snapshot().calls.failure, 2);
}

fn out_of_paper() -> Result<(), ()> {
    panic!("out of paper")
}

/// Guarantees: a refusal by the pool counts as a call without a slot; the wait for a worker is part of the timeout.
#[tokio::test(start_paused = true)]
async fn breakers_count_what_pools_do() {
    let (registry, pool) = pool(1, 1);
    let breaker = breaker(&registry, Some(Duration::from_secs(1)));
    let mut first = Box::pin(pool.run(pending::<()>()));
    assert!((&mut first).now_or_never().is_none());
    let waits = pool.call(&breaker, async { Ok::<_, ()>(1) });
    let refused = async {
        settle().await;
        pool.call(&breaker, async { Ok::<_, ()>(2) }).await
    };
    let (waits, refused) = tokio::join!(waits, refused);
    assert_eq!(waits, Err(PooledError::TimedOut(Duration::from_secs(1))));
    assert!(matches!(
        refused,
        Err(PooledError::Full(PoolFull {
            workers: 1,
            queue: 1,
            ..
        }))
    ));
    drop(first);
    assert_eq!(
        pool.call(&breaker, async { Err::<(), _>(7) }).await,
        Err(PooledError::Failed(7))
    );
    let ignored = |_: &Result<(), i32>| Outcome::Ignored;
    assert!(
        pool.call_with(&breaker, async { Err(8) }, ignored)
            .await
            .is_err()
    );
    let calls = breaker.snapshot().calls;
    assert_eq!(
        (
            calls.timeout,
            calls.bulkhead_full,
            calls.failure,
            calls.ignored
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(pool.callers(), [(breaker.shell.name.clone(), 1)]);
}

/// Guarantees: OpenTelemetry's context and the log of the request reach the worker, a task or a thread.
#[tokio::test]
async fn the_context_goes_along() {
    let (registry, pool) = pool(1, 0);
    let (by_task, by_thread) = (
        breaker(&registry, None),
        CircuitBreaker::builder("price").registry(&registry).build(),
    );
    let tenant = || {
        Context::current()
            .baggage()
            .get("tenant")
            .map(ToString::to_string)
    };
    let task = async move {
        by_task.call(async { Ok::<_, ()>(()) }).await.unwrap();
        tenant()
    };
    let code = move || {
        by_thread.call_blocking(|| Ok::<_, ()>(())).unwrap();
        tenant()
    };
    let context = Context::current_with_baggage([KeyValue::new("tenant", "blue")]);
    let mut both = Box::pin(async {
        let first = pool.run(task).await;
        // A worker may be freed slightly after its answer.
        while pool.snapshot().active > 0 {
            tokio::task::yield_now().await;
        }
        (first, pool.run_blocking(code).await)
    });
    let in_context = poll_fn(move |cx| {
        let _attached = context.clone().attach();
        both.as_mut().poll(cx)
    });
    let (tenants, touched) = request_log::scope(in_context).await;
    let blue = || Ok(Some("blue".to_owned()));
    assert_eq!(tenants, (blue(), blue()));
    let touched: Vec<_> = touched
        .iter()
        .map(|touched| touched.name.as_str())
        .collect();
    assert_eq!(touched, ["stock", "price"]);
}

#[tokio::test]
async fn settings_change_while_calls_run() {
    let (registry, pool) = pool(3, 0);
    let resize = |core_size| {
        pool.update_settings(PoolSettings {
            core_size,
            ..pool.settings()
        })
    };
    let mut running: Vec<_> = (0..3)
        .map(|_| Box::pin(pool.run(pending::<()>())))
        .collect();
    for call in &mut running {
        assert!(call.now_or_never().is_none());
    }
    resize(1).unwrap();
    running.truncate(1);
    settle().await;
    assert!(
        matches!(pool.run(async {}).await, Err(PoolRunError::Full(_))),
        "one of one runs"
    );
    resize(2).unwrap();
    assert_eq!(pool.run(async { 1 }).await, Ok(1));
    assert!(resize(0).is_err());
    let taken = registry.pool("warehouse", PoolSettings::default());
    assert_eq!(
        taken.unwrap_err(),
        PoolError::Conflict("warehouse".to_owned())
    );
    assert!(registry.pool("warehouse", pool.settings()).is_ok());
}

/// Scenario: calls through 1,200 breakers with names from outside, in a registry with a limit of ten.
/// Guarantees: the pool lists the existing breakers, including the newest.
#[tokio::test]
async fn breakers_that_were_evicted_make_room_in_the_list() {
    let registry = Registry::with_limit(10);
    let pool = registry.pool("warehouse", PoolSettings::default()).unwrap();
    for number in 0..1_200 {
        let builder = CircuitBreaker::builder(&format!("tenant {number}"));
        let breaker = builder.registry(&registry).build();
        pool.call(&breaker, async { Ok::<_, ()>(()) })
            .await
            .unwrap();
        if number % 100 == 0 {
            assert!(pool.callers().len() <= 10);
        }
    }
    let names: Vec<_> = pool.callers().into_iter().map(|(name, _)| name).collect();
    let all: Vec<_> = registry
        .all()
        .iter()
        .map(|breaker| breaker.shell.name.clone())
        .collect();
    assert_eq!(names, all);
    assert!(names.iter().any(|name| *name == "tenant 1199"));
}
