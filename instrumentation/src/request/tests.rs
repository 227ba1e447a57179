//! Caches and collapsers within a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{join_all, join3};

use super::*;
use crate::circuit_breaker::{Cause, CircuitBreaker, Override, OverrideKind, Registry};

fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder("users")
        .registry(&Registry::new())
        .build()
}

/// Hystrix's scenario 26, testRequestCache1.
#[tokio::test]
async fn a_key_is_asked_once_in_a_request() {
    let breaker = breaker();
    let cache: RequestCache<u32, usize, &str> = RequestCache::new(&breaker);
    let asked = AtomicUsize::new(0);
    let ask = || async { Ok(asked.fetch_add(1, Relaxed)) };
    let request = RequestContext::new();
    assert_eq!(cache.get(&request, 7, ask).await, Ok(0));
    assert_eq!(cache.get(&request.clone(), 7, ask).await, Ok(0));
    assert_eq!(breaker.shell.shared.answers_from_cache(), 1);
    assert_eq!(cache.get(&request, 8, ask).await, Ok(1));
    assert_eq!(
        cache.get(&RequestContext::new(), 7, ask).await,
        Ok(2),
        "another request"
    );
    let other: RequestCache<u32, usize, &str> = RequestCache::new(&breaker);
    assert_eq!(other.get(&request, 7, ask).await, Ok(3), "another cache");
    cache.clear(&request, &7);
    assert_eq!(cache.get(&request, 7, ask).await, Ok(4));
}

/// Guarantees: concurrent callers wait for one result, also if that is an error.
#[tokio::test]
async fn an_answer_that_is_under_way_is_shared() {
    let cache: RequestCache<u32, usize, String> = RequestCache::new(&breaker());
    let (request, asked) = (RequestContext::new(), AtomicUsize::new(0));
    let ask = || async {
        asked.fetch_add(1, Relaxed);
        tokio::task::yield_now().await;
        Err("down".to_owned())
    };
    let get = || cache.get(&request, 7, ask);
    let (first, second, third) = join3(get(), get(), get()).await;
    assert_eq!(asked.load(Relaxed), 1);
    for error in [first, second, third] {
        assert_eq!(*error.unwrap_err(), "down");
    }
}

/// Guarantees: if a caller is dropped or panics, the next one makes the call and does not hang.
#[tokio::test]
async fn a_question_that_is_given_up_is_asked_by_the_next() {
    let cache: RequestCache<u32, usize, ()> = RequestCache::new(&breaker());
    let request = RequestContext::new();
    let mut first = Box::pin(cache.get(&request, 7, std::future::pending::<Result<usize, ()>>));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(cache.get(&request, 7, || async { Ok(2) }));
    assert!(
        (&mut second).now_or_never().is_none(),
        "it waits for the first"
    );
    drop(first);
    assert_eq!(second.await, Ok(2));
}

#[tokio::test]
async fn keys_of_a_request_are_bounded() {
    let cache: RequestCache<usize, usize, ()> = RequestCache::new(&breaker());
    let (request, asked) = (RequestContext::new(), AtomicUsize::new(0));
    let ask = || async { Ok(asked.fetch_add(1, Relaxed)) };
    for key in 0..KEYS_MAX {
        cache.get(&request, key, ask).await.unwrap();
    }
    for _ in 0..2 {
        cache.get(&request, KEYS_MAX, ask).await.unwrap();
    }
    cache.get(&request, 0, ask).await.unwrap();
    assert_eq!(
        asked.load(Relaxed),
        KEYS_MAX + 2,
        "one key too many is asked each time"
    );
}

/// Scenario: as many callers as may wait for a slow call; then one more comes, and one with another key.
/// Guarantees: one too many makes its own call, the other key is cached, and places are free again afterwards.
#[tokio::test]
async fn those_who_wait_are_bounded() {
    let cache: RequestCache<u32, usize, ()> = RequestCache::new(&breaker());
    let (request, asked) = (RequestContext::new(), AtomicUsize::new(0));
    let never = std::future::pending::<Result<usize, ()>>;
    let ask = || async { Ok(asked.fetch_add(1, Relaxed)) };
    let mut first = Box::pin(cache.get(&request, 7, never));
    assert!((&mut first).now_or_never().is_none());
    let mut waiting: Vec<_> = (0..WAITING_MAX)
        .map(|_| Box::pin(cache.get(&request, 7, ask)))
        .collect();
    assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
    let one_more = cache.get(&request, 7, ask).now_or_never();
    assert_eq!(one_more, Some(Ok(0)), "it does not wait");
    for _ in 0..2 {
        let other = cache.get(&request, 8, ask).now_or_never();
        assert_eq!(other, Some(Ok(1)), "another key does not wait");
    }
    drop(first);
    let answers = join_all(waiting).await;
    assert!(answers.iter().all(|answer| *answer == Ok(2)));
    assert_eq!(asked.load(Relaxed), 3);
    cache.clear(&request, &7);
    let mut first = Box::pin(cache.get(&request, 7, never));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(cache.get(&request, 7, ask));
    assert!((&mut second).now_or_never().is_none(), "a place is free");
}

/// The sizes of the batches that were called.
type Sizes = Arc<crate::sync::Mutex<Vec<usize>>>;

/// A collapser that doubles, records the sizes of its batches, and returns no result for arguments above 90.
fn doubling(breaker: &CircuitBreaker, most: u32) -> (Collapser<u32, u32, &'static str>, Sizes) {
    let settings = CollapserSettings {
        max_requests_in_batch: most,
        ..CollapserSettings::default()
    };
    let sizes = Sizes::default();
    let note = Arc::clone(&sizes);
    let call = move |arguments: Vec<u32>| {
        note.lock().push(arguments.len());
        async move {
            match arguments.first() {
                Some(90) => Err("no 90"),
                Some(91) => panic!("91"),
                _ => Ok(arguments
                    .into_iter()
                    .filter(|n| *n < 90)
                    .map(|n| 2 * n)
                    .collect()),
            }
        }
    };
    (Collapser::new(breaker, settings, call).unwrap(), sizes)
}

/// Hystrix's scenario 35, testMaxRequestsInBatch.
#[tokio::test(start_paused = true)]
async fn batches_are_bounded_and_each_caller_gets_its_own_answer() {
    let breaker = breaker();
    let (doubling, sizes) = doubling(&breaker, 2);
    let request = RequestContext::new();
    let answers = join_all((1..=3).map(|n| doubling.call(&request, n))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [2, 4, 6]);
    assert_eq!(*sizes.lock(), [2, 1]);
    assert_eq!(breaker.snapshot().calls.success, 2);
    let collapsed = breaker.shell.shared.collapsed().unwrap();
    assert_eq!((collapsed.calls, collapsed.sizes.count()), (3, 2));
}

/// Hystrix's scenario 35, testDuplicateArgumentsWithRequestCachingOff, in which all equal arguments but one fail there.
/// Guarantees: a batch waits for its window, requests have their own batches, and equal arguments are not merged.
#[tokio::test(start_paused = true)]
async fn a_window_gathers_the_calls_of_a_request() {
    let (doubling, sizes) = doubling(&breaker(), 100);
    let (one, other) = (RequestContext::new(), RequestContext::new());
    let started = tokio::time::Instant::now();
    let later = async {
        tokio::time::sleep(Duration::from_millis(9)).await;
        doubling.call(&one, 5).await
    };
    let (first, second, apart) =
        join3(doubling.call(&one, 5), later, doubling.call(&other, 6)).await;
    assert_eq!(
        (first.unwrap(), second.unwrap(), apart.unwrap()),
        (10, 10, 12)
    );
    assert_eq!(started.elapsed(), Duration::from_millis(10));
    let mut sizes = sizes.lock().clone();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2]);
}

/// Guarantees: an error of the batch, a missing answer, a panic and a refusal reach every caller; none hangs.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_an_error() {
    let breaker = breaker();
    let (doubling, sizes) = doubling(&breaker, 100);
    let request = RequestContext::new();
    let both = async |first, second| {
        tokio::join!(
            doubling.call(&request, first),
            doubling.call(&request, second)
        )
    };
    let (first, second) = both(90, 1).await;
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(
            matches!(&error, CollapseError::Failed(cause) if matches!(**cause, Cause::Failed("no 90")))
        );
    }
    let (answered, missing) = both(1, 95).await;
    assert_eq!(answered.unwrap(), 2);
    let missing = missing.unwrap_err();
    assert_eq!(
        missing.to_string(),
        "the call of a batch answered 1 of 2 arguments"
    );
    let (first, second) = both(91, 2).await;
    assert!(matches!(
        (first, second),
        (Err(CollapseError::Lost), Err(CollapseError::Lost))
    ));
    breaker.force(Override {
        kind: OverrideKind::ForcedOpen,
        reason: "test".to_owned(),
        expires: None,
    });
    let called = sizes.lock().len();
    let refused = doubling.call(&request, 3).await.unwrap_err();
    assert!(matches!(&refused, CollapseError::Failed(cause) if cause.rejected().is_some()));
    assert_eq!(sizes.lock().len(), called, "refused code never runs");
}

/// Scenario: the target of a batch hangs.
/// Guarantees: all waiting callers get the error after the breaker's timeout, counted from when the batch was sent, and
/// the call is dropped.
#[tokio::test(start_paused = true)]
async fn a_batch_that_hangs_times_out() {
    let breaker = breaker();
    let held = Arc::new(());
    let given = Arc::clone(&held);
    let call = move |_: Vec<u32>| {
        let held = Arc::clone(&given);
        async move {
            let _held = held;
            std::future::pending::<Result<Vec<u32>, &str>>().await
        }
    };
    let hangs = Collapser::new(&breaker, CollapserSettings::default(), call).unwrap();
    let request = RequestContext::new();
    let started = tokio::time::Instant::now();
    let (first, second) = tokio::join!(hangs.call(&request, 1), hangs.call(&request, 2));
    for late in [first, second] {
        let CollapseError::Failed(cause) = late.unwrap_err() else {
            panic!("the batch was not lost");
        };
        assert!(matches!(*cause, Cause::TimedOut(limit) if limit == Duration::from_secs(1)));
    }
    assert_eq!(started.elapsed(), Duration::from_millis(1_010));
    drop(hangs);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(breaker.snapshot().calls.timeout, 1);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_is_not_asked_for() {
    let (doubling, sizes) = doubling(&breaker(), 100);
    let request = RequestContext::new();
    let mut gone = Box::pin(doubling.call(&request, 1));
    assert!((&mut gone).now_or_never().is_none());
    drop(gone);
    assert_eq!(doubling.call(&request, 2).await.unwrap(), 4);
    assert_eq!(*sizes.lock(), [1]);
}

/// Scenario: the runtime of the caller that started a batch ends before the batch is sent; a caller without a runtime
/// panics.
/// Guarantees: callers that wait on another runtime get an error, and the next batch of the request is sent.
#[test]
fn a_batch_ends_with_its_runtime() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
    };
    let (doubling, sizes) = doubling(&breaker(), 100);
    let request = RequestContext::new();
    let (first, other) = (runtime(), runtime());
    let mut begins = Box::pin(doubling.call(&request, 1));
    first.block_on(async { assert!((&mut begins).now_or_never().is_none()) });
    let mut waits = Box::pin(doubling.call(&request, 2));
    other.block_on(async { assert!((&mut waits).now_or_never().is_none()) });
    drop(first);
    assert!(matches!(
        waits.now_or_never(),
        Some(Err(CollapseError::Lost))
    ));
    let alone = || drop(doubling.call(&request, 3).now_or_never());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(alone)).is_err());
    let again = other.block_on(async {
        let call = doubling.call(&request, 4);
        tokio::time::timeout(Duration::from_secs(60), call).await
    });
    assert_eq!(again.expect("its batch goes out").unwrap(), 8);
    assert_eq!(*sizes.lock(), [1]);
}

/// Guarantees: no batch is larger than the settings allow, even while callers arrive as it is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_are_bounded_on_many_threads() {
    let (doubling, sizes) = doubling(&breaker(), 2);
    let request = RequestContext::new();
    let calls = (0..8).map(|_| {
        let (doubling, request) = (doubling.clone(), request.clone());
        tokio::spawn(async move {
            for _ in 0..500 {
                assert_eq!(doubling.call(&request, 1).await.unwrap(), 2);
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert!(sizes.lock().iter().all(|size| *size <= 2));
}

/// Guarantees: the error of a batch can be cloned and boxed, whatever the error of its call.
#[tokio::test]
async fn errors_of_batches_are_cloned_and_boxed() {
    let ask = |_: Vec<u32>| async { Err::<Vec<u32>, _>(std::io::Error::other("disk")) };
    let collapser = Collapser::new(&breaker(), CollapserSettings::default(), ask).unwrap();
    let failed = collapser.call(&RequestContext::new(), 1).await.unwrap_err();
    let boxed: Box<dyn std::error::Error + Send + Sync> = failed.clone().into();
    assert_eq!(boxed.to_string(), failed.to_string());
}
