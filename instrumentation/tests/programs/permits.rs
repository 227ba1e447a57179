//! Permits that are completed later, elsewhere, or never.

use std::collections::HashMap;
use std::time::Duration;

use fusebox::circuit_breaker::{CircuitBreaker, Outcome, OwnedPermit, Rejected};
use tokio::sync::oneshot;

use crate::breaker;

#[tokio::test]
async fn a_permit_is_settled_by_another_task() {
    let breaker = breaker();
    let (send, receive) = oneshot::channel();
    let permit = breaker.try_acquire_owned().unwrap();
    let task = tokio::spawn(async move { permit.record(receive.await.unwrap()) });
    assert_eq!(breaker.snapshot().in_flight, 1);
    send.send(Outcome::Failure).unwrap();
    task.await.unwrap();
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.in_flight, snapshot.calls.failure), (0, 1));
}

#[tokio::test]
async fn a_permit_dropped_with_its_task_is_cancelled() {
    let breaker = breaker();
    let permit = breaker.try_acquire_owned().unwrap();
    let task = tokio::spawn(async move {
        std::future::pending::<()>().await;
        permit.record(Outcome::Success);
    });
    tokio::task::yield_now().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(breaker.snapshot().calls.cancelled, 1);
}

#[test]
fn a_permit_is_settled_on_another_thread() {
    let breaker = breaker();
    let permit = breaker.try_acquire_owned().unwrap();
    std::thread::spawn(move || permit.record_elapsed(Outcome::Success, Duration::from_millis(7)))
        .join()
        .unwrap();
    assert_eq!(breaker.snapshot().latency.success.count(), 1);
}

/// Pending requests by number, as a client of a message queue stores them.
struct Pending {
    breaker: CircuitBreaker,
    requests: HashMap<u64, OwnedPermit>,
}

impl Pending {
    fn send(&mut self, number: u64) -> Result<(), Rejected> {
        let permit = self.breaker.try_acquire_owned()?;
        self.requests.insert(number, permit);
        Ok(())
    }

    fn answered(&mut self, number: u64, outcome: Outcome) {
        if let Some(permit) = self.requests.remove(&number) {
            permit.record(outcome);
        }
    }
}

#[test]
fn permits_are_kept_in_a_map() {
    let breaker = breaker();
    let mut pending = Pending {
        breaker: breaker.clone(),
        requests: HashMap::new(),
    };
    for number in 0..3 {
        pending.send(number).unwrap();
    }
    pending.answered(1, Outcome::Success);
    drop(pending);
    let totals = breaker.snapshot().calls;
    assert_eq!((totals.success, totals.cancelled), (1, 2));
}

#[tokio::test]
async fn a_borrowed_permit_is_held_across_an_await() {
    let breaker = breaker();
    let task = tokio::spawn(async move {
        let permit = breaker.try_acquire().unwrap();
        tokio::task::yield_now().await;
        permit.record(Outcome::Success, Duration::ZERO);
        breaker.snapshot().calls.success
    });
    assert_eq!(task.await.unwrap(), 1);
}

#[test]
fn a_blocking_call_needs_no_runtime() {
    let breaker = breaker();
    let threads: Vec<_> = (0..4)
        .map(|n| {
            let breaker = breaker.clone();
            std::thread::spawn(move || breaker.call_blocking(|| Ok::<_, &'static str>(n)).unwrap())
        })
        .collect();
    let sum: u32 = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!((sum, breaker.snapshot().calls.success), (6, 4));
}

#[tokio::test]
async fn a_blocking_call_runs_on_the_blocking_pool() {
    let breaker = breaker();
    let calling = breaker.clone();
    let task = tokio::task::spawn_blocking(move || {
        calling.call_blocking_with(|| Err::<u32, _>("gone"), |_| Outcome::Ignored)
    });
    assert!(task.await.unwrap().is_err());
    assert_eq!(breaker.snapshot().calls.ignored, 1);
}
