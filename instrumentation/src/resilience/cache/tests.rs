//! Caches under time, errors, cancels and many callers.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{advance, sleep};

use super::*;
use crate::resilience::{PolicySettings, Registry};

fn cache(capacity: u32, ttl: Option<Duration>) -> Cache<u32, u32> {
    Cache::builder("users")
        .settings(CacheSettings {
            capacity,
            ttl,
            max_waiting: 2,
        })
        .registry(&Registry::new())
        .build()
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn an_answer_is_given_for_its_time() {
    let cache = cache(10, Some(10 * SECOND));
    let asked = AtomicU32::new(0);
    let ask = || async { Ok::<_, ()>(asked.fetch_add(1, Relaxed)) };
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(cache.call(7, ask).await.unwrap());
        advance(4 * SECOND).await;
    }
    assert_eq!(answers, [0, 0, 0, 1, 1]);
    cache.remove(&7);
    assert_eq!(cache.call(7, ask).await, Ok(2));
    cache.clear();
    assert_eq!(cache.call(7, ask).await, Ok(3));
    let counts = cache.snapshot();
    assert_eq!(counts.count(EventKind::FromCache), 3);
    assert_eq!((counts.calls(), counts.available), (7, Some(9)));
}

/// Scenario: three callers at once; the target fails, then answers.
/// Guarantees: a result is shared; after an error the waiting callers make their own calls immediately.
#[tokio::test(start_paused = true)]
async fn a_question_is_asked_once_and_an_error_is_not_kept() {
    let cache = cache(10, None);
    let asked = AtomicU32::new(0);
    let began = tokio::time::Instant::now();
    let ask = |fails: bool| {
        let asked = &asked;
        move || async move {
            asked.fetch_add(1, Relaxed);
            sleep(SECOND).await;
            if fails { Err("down") } else { Ok(7) }
        }
    };
    let failed = join_all((0..3).map(|_| cache.call(1, ask(true)))).await;
    assert!(failed.iter().all(Result::is_err));
    assert_eq!((asked.swap(0, Relaxed), began.elapsed()), (3, 2 * SECOND));
    let answered = join_all((0..3).map(|_| cache.call(1, ask(false)))).await;
    assert_eq!((answered, asked.load(Relaxed)), (vec![Ok(7); 3], 1));
    let counts = cache.snapshot();
    assert_eq!(counts.count(EventKind::Failed), 3);
    assert_eq!(counts.count(EventKind::FromCache), 2);
}

/// Scenario: five callers arrive while one is making the call; two may wait.
/// Guarantees: the other three make their own calls; the waiting callers get the first result, which is the stored one.
#[tokio::test(start_paused = true)]
async fn those_who_may_not_wait_ask_for_themselves() {
    let cache = cache(10, None);
    let asked = AtomicU32::new(0);
    let ask = || async {
        let number = asked.fetch_add(1, Relaxed);
        sleep(SECOND).await;
        Ok::<_, ()>(number)
    };
    let mut all = Box::pin(join_all((0..6).map(|_| cache.call(1, ask))));
    assert!((&mut all).now_or_never().is_none());
    assert_eq!(cache.snapshot().waiting, Some(2));
    assert_eq!(all.await, [Ok(0), Ok(0), Ok(0), Ok(1), Ok(2), Ok(3)]);
    assert_eq!(cache.call(1, ask).await, Ok(0));
    assert_eq!(cache.snapshot().waiting, Some(0));
}

/// Scenario: two callers wait when the one that makes the call is dropped.
/// Guarantees: one of them makes the call, the other gets its result, and it is stored.
#[tokio::test(start_paused = true)]
async fn a_question_that_is_given_up_is_asked_by_one_other() {
    let cache = cache(10, None);
    let mut first = Box::pin(cache.call(1, std::future::pending::<Result<u32, ()>>));
    assert!((&mut first).now_or_never().is_none());
    let asked = AtomicU32::new(0);
    let ask = || async {
        sleep(SECOND).await;
        Ok::<_, ()>(asked.fetch_add(1, Relaxed))
    };
    let mut others = Box::pin(join_all((0..2).map(|_| cache.call(1, ask))));
    assert!((&mut others).now_or_never().is_none(), "they wait");
    drop(first);
    assert_eq!(others.await, [Ok(0); 2]);
    assert_eq!(cache.call(1, ask).await, Ok(0), "it was kept");
    let counts = cache.snapshot();
    assert_eq!(counts.count(EventKind::Cancelled), 1);
    assert_eq!(counts.count(EventKind::FromCache), 2);
}

/// Scenario: the call fails, and then the two waiting callers make their own.
/// Guarantees: the result of the first of them is stored.
#[tokio::test(start_paused = true)]
async fn an_answer_after_an_error_is_kept() {
    let cache = cache(10, None);
    let asked = AtomicU32::new(0);
    let ask = || async {
        let number = asked.fetch_add(1, Relaxed);
        sleep(SECOND).await;
        if number == 0 { Err("down") } else { Ok(number) }
    };
    let answers = join_all((0..3).map(|_| cache.call(1, ask))).await;
    assert_eq!(answers, [Err("down"), Ok(1), Ok(2)]);
    assert_eq!(cache.call(1, ask).await, Ok(1));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let refused = |capacity, ttl| {
        let settings = CacheSettings {
            capacity,
            ttl,
            ..CacheSettings::default()
        };
        settings.validate().unwrap_err().field
    };
    assert_eq!(refused(0, None), "capacity");
    assert_eq!(refused(1, Some(Duration::ZERO)), "ttl");
}

/// Guarantees: a cache of other types under the same name neither gets, replaces nor removes the registered one.
#[tokio::test]
async fn the_first_types_of_a_name_win() {
    let registry = Registry::new();
    let numbers = || Cache::<u32, u32>::builder("users").registry(&registry);
    let texts = || Cache::<u32, String>::builder("users").registry(&registry);
    let first = numbers().build();
    assert_eq!(first.call(1, || async { Ok::<_, ()>(7) }).await, Ok(7));
    let refused = texts().try_build().unwrap_err();
    assert_eq!(refused.to_string(), "cache users exists with other types");
    let other = texts().build();
    let answer = other.call(1, || async { Ok::<_, ()>("Ada".to_owned()) });
    assert_eq!(answer.await.as_deref(), Ok("Ada"));
    assert!(registry.remove::<Cache<u32, String>>("users").is_none());
    assert_eq!(numbers().build().call(1, || async { Err(()) }).await, Ok(7));
    assert_eq!(registry.snapshots().len(), 1);
}
