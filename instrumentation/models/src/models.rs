//! Properties for any interleaving: no additional probe, no lost slot, no call counted twice, no additional permit.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::{future, thread};
use tokio::sync::oneshot;

use crate::budget::{Budget, BudgetSettings};
use crate::circuit_breaker::{CircuitBreaker, Outcome, Registry, Settings};
use crate::gathering::{Gathering, Joined, Waiting};
use crate::request::{RequestCache, RequestContext};
use crate::resilience::{
    self, AdaptRule, AdaptSettings, Bulkhead, BulkheadSettings, Cache, RateLimiter,
    RateLimiterSettings,
};
use crate::semaphore::{Permit, Semaphore};

/// Interleavings per model; all together take seconds.
pub(crate) const INTERLEAVINGS: usize = 500;

/// The models by name.
pub(crate) const ALL: [(&str, fn()); 10] = [
    (
        "half_open_has_exactly_its_probes",
        half_open_has_exactly_its_probes,
    ),
    (
        "no_call_is_lost_when_a_breaker_grows",
        no_call_is_lost_when_a_breaker_grows,
    ),
    (
        "an_adaptive_bulkhead_loses_no_slot",
        an_adaptive_bulkhead_loses_no_slot,
    ),
    (
        "a_semaphore_has_as_many_permits_as_its_size",
        a_semaphore_has_as_many_permits_as_its_size,
    ),
    (
        "a_waiter_that_gives_up_takes_no_permit_along",
        a_waiter_that_gives_up_takes_no_permit_along,
    ),
    (
        "a_cycle_has_as_many_permits_as_its_limit",
        a_cycle_has_as_many_permits_as_its_limit,
    ),
    (
        "a_token_of_a_budget_is_taken_once",
        a_token_of_a_budget_is_taken_once,
    ),
    (
        "callers_of_a_cache_share_one_call",
        callers_of_a_cache_share_one_call,
    ),
    (
        "callers_of_a_request_share_one_call",
        callers_of_a_request_share_one_call,
    ),
    ("an_argument_is_in_one_batch", an_argument_is_in_one_batch),
];

const MS: Duration = Duration::from_millis(1);

/// Runs `work` on this many threads, each with its number.
fn together(threads: usize, work: impl Fn(usize) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let run = |number: usize| {
        let work = Arc::clone(&work);
        thread::spawn(move || work(number))
    };
    let threads: Vec<_> = (0..threads).map(run).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn breaker(settings: Settings) -> CircuitBreaker {
    let builder = CircuitBreaker::builder("stock").registry(&Registry::new());
    builder.settings(settings).build()
}

/// Returns a breaker that is half-open when it is first called, with two probes.
fn half_open() -> CircuitBreaker {
    let breaker = breaker(Settings {
        minimum_calls: 1,
        open_duration: Duration::from_nanos(1),
        half_open_probes: 2,
        ..Settings::default()
    });
    breaker.try_acquire().unwrap().record(Outcome::Failure, MS);
    breaker
}

/// Scenario: four threads call a half-open breaker; one probe succeeds, one fails, two are dropped.
/// Guarantees: at most two probes run at the same time, and no slot is lost: the next call finds one.
fn half_open_has_exactly_its_probes() {
    let (breaker, running) = (half_open(), Arc::new(AtomicU32::new(0)));
    let shared = breaker.clone();
    together(4, move |number| {
        let Ok(permit) = shared.try_acquire() else {
            return;
        };
        if permit.is_probe() {
            assert!(running.fetch_add(1, SeqCst) < 2);
            thread::yield_now();
            running.fetch_sub(1, SeqCst);
        }
        match number {
            0 => permit.record(Outcome::Success, MS),
            1 => permit.record(Outcome::Failure, MS),
            _ => drop(permit),
        }
    });
    assert_eq!(breaker.snapshot().in_flight, 0);
    let permits: Vec<_> = (0..4).filter_map(|_| breaker.try_acquire().ok()).collect();
    let probes = permits.iter().filter(|permit| permit.is_probe()).count();
    assert!((1..=2).contains(&probes) || probes == 0 && permits.len() == 4);
}

/// Scenario: three threads call through a new breaker, which is a list of calls until the ninth.
/// Guarantees: every call is counted once.
fn no_call_is_lost_when_a_breaker_grows() {
    let breaker = breaker(Settings {
        minimum_calls: 1_000,
        ..Settings::default()
    });
    let shared = breaker.clone();
    together(3, move |number| {
        for _ in 0..5 {
            let outcome = match number {
                0 => Outcome::Failure,
                _ => Outcome::Success,
            };
            shared.try_acquire().unwrap().record(outcome, MS);
        }
    });
    let counted = breaker.snapshot();
    assert_eq!((counted.calls.success, counted.calls.failure), (10, 5));
    assert_eq!((counted.window.calls, counted.in_flight), (15, 0));
}

/// Scenario: slots of an adaptive bulkhead are taken and freed by calls that succeed and fail.
/// Guarantees: for any sequence of sizes, all slots are free at the end, and there were never more than allowed.
fn an_adaptive_bulkhead_loses_no_slot() {
    let settings = BulkheadSettings {
        max_concurrent: 2,
        adapt: Some(AdaptSettings {
            rule: AdaptRule::Aimd { latency: MS },
            ..AdaptSettings::default()
        }),
        ..BulkheadSettings::default()
    };
    let builder = Bulkhead::builder("stock").registry(&resilience::Registry::new());
    let bulkhead = builder.settings(settings).build();
    let shared = bulkhead.clone();
    together(3, move |number| {
        for round in 0..3 {
            match shared.try_acquire() {
                Ok(slot) => {
                    thread::yield_now(); // The call.
                    match (number + round) % 2 {
                        0 => slot.failed(),
                        _ => drop(slot),
                    }
                }
                Err(_) => thread::yield_now(),
            }
        }
    });
    let counted = bulkhead.snapshot();
    assert_eq!(counted.available, counted.limit);
}

/// Scenario: the size shrinks and grows while two threads take and return permits.
/// Guarantees: no permit is lost or created.
fn a_semaphore_has_as_many_permits_as_its_size() {
    let semaphore = Semaphore::new(2);
    let shared = Arc::clone(&semaphore);
    together(3, move |number| match number {
        0 => {
            shared.resize(2, 1);
            shared.resize(1, 3);
        }
        _ => (0..3).for_each(|_| {
            let _permit = shared.try_acquire();
            thread::yield_now();
        }),
    });
    let all: Vec<Permit> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
    assert_eq!(all.len(), 3);
}

/// Scenario: of three callers that wait for one permit while the size changes, one gives up.
/// Guarantees: the others get it, and it is free at the end.
fn a_waiter_that_gives_up_takes_no_permit_along() {
    let semaphore = Semaphore::new(1);
    let shared = Arc::clone(&semaphore);
    together(3, move |number| match number {
        0 => {
            let mut waiter = pin!(shared.acquire());
            let _ = waiter
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            thread::yield_now();
            shared.resize(1, 2);
            shared.resize(2, 1);
        }
        _ => {
            let _permit = future::block_on(shared.acquire());
            thread::yield_now();
        }
    });
    let all: Vec<Permit> = std::iter::from_fn(|| semaphore.try_acquire()).collect();
    assert_eq!(all.len(), 1);
}

/// Scenario: the limit of a rate limiter grows while three threads take permits.
/// Guarantees: the cycle has as many permits as its limit in the end, never more.
fn a_cycle_has_as_many_permits_as_its_limit() {
    let settings = |limit| RateLimiterSettings {
        limit,
        period: Duration::from_secs(24 * 60 * 60),
        ..RateLimiterSettings::default()
    };
    let builder = RateLimiter::builder("stock").registry(&resilience::Registry::new());
    let limiter = builder.settings(settings(2)).build();
    let (shared, taken) = (limiter.clone(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&taken);
    together(3, move |number| {
        if number == 0 {
            shared.update_settings(settings(3)).unwrap();
        }
        for _ in 0..2 {
            if shared.try_acquire().is_ok() {
                count.fetch_add(1, SeqCst);
            }
            thread::yield_now();
        }
    });
    let left = limiter.snapshot().available.unwrap();
    assert_eq!(u64::from(taken.load(SeqCst)) + left, 3);
}

/// Scenario: three threads take tokens of a budget and return some of them.
/// Guarantees: no token is taken twice, and none is lost.
fn a_token_of_a_budget_is_taken_once() {
    let budget = Arc::new(Budget::new(Some(&BudgetSettings {
        percent_of_calls: 0.0,
        per_second: 0,
        max_saved: 2,
    })));
    let (shared, taken) = (Arc::clone(&budget), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&taken);
    together(3, move |number| {
        shared.add_call();
        if shared.take() {
            thread::yield_now();
            match number {
                0 => shared.give_back(),
                _ => drop(count.fetch_add(1, SeqCst)),
            }
        }
    });
    let taken = u64::from(taken.load(SeqCst));
    assert_eq!(taken + budget.left().unwrap(), 2);
}

/// Scenario: of four callers that ask for one key, one gives up and one fails.
/// Guarantees: every other caller gets a value, at most one call runs at a time until one has failed, no caller is left
/// waiting, and the next one gets a value too.
fn callers_of_a_cache_share_one_call() {
    let registry = resilience::Registry::new();
    let cache: Cache<u32, u32> = Cache::builder("stock").registry(&registry).build();
    let (shared, running) = (cache.clone(), Arc::new(AtomicU32::new(0)));
    let has_failed = Arc::new(AtomicBool::new(false));
    together(4, move |number| {
        let call = || async {
            let others = running.fetch_add(1, SeqCst);
            assert!(others == 0 || has_failed.load(SeqCst));
            let _ended = Ended(&running);
            future::yield_now().await;
            match number {
                1 => {
                    has_failed.store(true, SeqCst);
                    Err(())
                }
                _ => Ok(7),
            }
        };
        let mut answer = pin!(shared.call(1, call));
        match number {
            0 => {
                let _ = answer
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                thread::yield_now();
            }
            1 => drop(future::block_on(answer)),
            _ => assert_eq!(future::block_on(answer), Ok(7)),
        }
    });
    assert_eq!(cache.snapshot().waiting, Some(0));
    let again = cache.call(1, || async { Ok::<u32, ()>(7) });
    assert_eq!(future::block_on(again), Ok(7));
}

/// Scenario: four callers ask a request's cache for one key; one gives up, and one clears the key in between.
/// Guarantees: each of the others gets the result, calls run at the same time only if the key was cleared, and no caller
/// is left waiting.
fn callers_of_a_request_share_one_call() {
    let breaker = breaker(Settings::default());
    let cache: Arc<RequestCache<u32, u32, ()>> = Arc::new(RequestCache::new(&breaker));
    let request = RequestContext::new();
    let (made, has_cleared) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (users, scope, calls) = (Arc::clone(&cache), request.clone(), Arc::clone(&made));
    let running = AtomicU32::new(0);
    together(4, move |number| {
        let call = || async {
            calls.fetch_add(1, SeqCst);
            let others = running.fetch_add(1, SeqCst);
            assert!(others == 0 || has_cleared.load(SeqCst));
            let _ended = Ended(&running);
            future::yield_now().await;
            Ok(7)
        };
        let mut answer = pin!(users.get(&scope, 1, call));
        match number {
            0 => {
                let _ = answer
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()));
                thread::yield_now();
            }
            1 => {
                has_cleared.store(true, SeqCst);
                users.clear(&scope, &1);
            }
            _ => assert_eq!(future::block_on(answer), Ok(7)),
        }
    });
    let again = cache.get(&request, 1, || async { Ok(8) });
    assert!(matches!(future::block_on(again), Ok(7 | 8)));
    assert!((1..=3).contains(&made.load(SeqCst)));
}

/// Scenario: four callers add arguments to batches of two; one caller gives up, and the first window ends with its
/// runtime, the others after their time.
/// Guarantees: an argument is in one batch, no batch is larger than two, and every caller gets its own result, or an error
/// if its batch was lost.
fn an_argument_is_in_one_batch() {
    let gathering = Arc::new(Gathering::<u32, u32>::default());
    let (batches, lost) = (
        Arc::new(AtomicU32::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (shared, sent) = (Arc::clone(&gathering), Arc::clone(&batches));
    together(4, move |number| {
        let (answer, mut answered) = oneshot::channel();
        let argument = number as u32;
        let run = |batch: Vec<Waiting<u32, u32>>| {
            assert!(batch.len() <= 2);
            for Waiting { argument, answer } in batch {
                sent.fetch_add(1 << (8 * argument), SeqCst);
                let _ = answer.send(argument * 10);
            }
        };
        if number == 0 {
            answered.close();
        }
        match Arc::clone(&shared).join(Waiting { argument, answer }, 2) {
            Joined::First(window) => {
                thread::yield_now();
                match lost.swap(true, SeqCst) {
                    true => run(window.end()),
                    false => drop(window),
                }
            }
            Joined::Last(batch) => run(batch),
            Joined::Between => unreachable!("the second argument fills the batch"),
        }
        if number != 0 {
            let result = future::block_on(answered);
            assert!(result.is_ok_and(|result| result == argument * 10) || lost.load(SeqCst));
        }
    });
    let sent = batches.load(SeqCst).to_le_bytes();
    assert!(sent.iter().all(|times| *times <= 1), "{sent:?}");
    let (answer, _answered) = oneshot::channel();
    let next = gathering.join(
        Waiting {
            argument: 4,
            answer,
        },
        2,
    );
    assert!(matches!(next, Joined::First(_)), "nothing is left behind");
}

/// Counts a call as ended when it is dropped.
struct Ended<'a>(&'a AtomicU32);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
