//! Tests which attempt wins, which are cancelled, and what is counted.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;
use crate::resilience::{BudgetSettings, PolicySettings, Registry};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hedge(settings: HedgeSettings) -> Hedge {
    Hedge::builder("search")
        .settings(settings)
        .registry(&Registry::new())
        .build()
}

fn three() -> Hedge {
    hedge(HedgeSettings {
        delay: ms(10),
        max_attempts: 3,
        budget: None,
    })
}

/// Counts the futures that are dropped before their end.
struct Dropped<'a>(&'a AtomicU32);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Makes attempts that end as scripted: after this number of milliseconds, with this result.
async fn race(
    hedge: &Hedge,
    script: &[(u64, Result<u32, &'static str>)],
) -> (Result<u32, &'static str>, u32, u32) {
    let (started, dropped) = (AtomicU32::new(0), AtomicU32::new(0));
    let result = hedge.call(|| {
        let attempt = started.fetch_add(1, Relaxed) as usize;
        let (millis, result) = script[attempt];
        let dropped = &dropped;
        async move {
            let guard = Dropped(dropped);
            sleep(ms(millis)).await;
            std::mem::forget(guard);
            result
        }
    });
    let result = result.await;
    (result, started.load(Relaxed), dropped.load(Relaxed))
}

#[tokio::test(start_paused = true)]
async fn a_quick_call_is_made_once() {
    let hedge = three();
    assert_eq!(race(&hedge, &[(9, Ok(1))]).await, (Ok(1), 1, 0));
    assert_eq!(race(&hedge, &[(9, Err("gone"))]).await, (Err("gone"), 1, 0));
    let counts = hedge.snapshot();
    assert_eq!(
        (
            counts.count(EventKind::Succeeded),
            counts.count(EventKind::Failed)
        ),
        (1, 1)
    );
}

/// Guarantees: the first success wins, whichever attempt it is, and the losers are cancelled and counted.
#[tokio::test(start_paused = true)]
async fn the_first_success_wins_and_the_losers_are_cancelled() {
    let hedge = three();
    let second = [(100, Ok(1)), (5, Ok(2)), (100, Ok(3))];
    assert_eq!(race(&hedge, &second).await, (Ok(2), 2, 1));
    let first = [(25, Ok(1)), (100, Ok(2)), (100, Ok(3))];
    assert_eq!(race(&hedge, &first).await, (Ok(1), 3, 2));
    let counts = hedge.snapshot();
    assert_eq!(counts.count(EventKind::Hedged), 3);
    assert_eq!(counts.count(EventKind::LoserCancelled), 3);
    assert_eq!(counts.count(EventKind::SucceededAfterRetry), 1);
    assert_eq!(counts.count(EventKind::Succeeded), 1);
}

/// Guarantees: an error waits for the attempts that are still running; the last error is returned.
#[tokio::test(start_paused = true)]
async fn an_error_is_the_result_when_no_attempt_is_left() {
    let hedge = three();
    let late_success = [(12, Err("first")), (30, Ok(2)), (100, Err("third"))];
    assert_eq!(race(&hedge, &late_success).await, (Ok(2), 3, 1));
    let all_fail = [(15, Err("first")), (4, Err("second")), (9, Ok(3))];
    assert_eq!(race(&hedge, &all_fail).await, (Err("first"), 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_spent_budget_makes_no_hedge() {
    let budget = BudgetSettings {
        percent_of_calls: 0.0,
        per_second: 0,
        max_saved: 1,
    };
    let hedge = hedge(HedgeSettings {
        delay: ms(10),
        max_attempts: 2,
        budget: Some(budget),
    });
    let slow = [(50, Ok(1)), (60, Ok(2))];
    assert!(hedge.inner.is_idle());
    assert_eq!(race(&hedge, &slow).await, (Ok(1), 2, 1));
    assert_eq!(race(&hedge, &slow).await, (Ok(1), 1, 0));
    assert_eq!(hedge.snapshot().count(EventKind::BudgetExhausted), 1);
    assert!(
        !hedge.inner.is_idle(),
        "a new one would have its budget once more"
    );
}

/// Guarantees: a call that is dropped drops its attempts and counts as cancelled, one that panics as a panic.
#[tokio::test(start_paused = true)]
async fn dropped_and_panicking_calls_are_counted() {
    let hedge = three();
    let hangs = [(1_000, Ok(1)); 3];
    let dropped = tokio::time::timeout(ms(25), race(&hedge, &hangs)).await;
    assert!(dropped.is_err());
    let panics = hedge.clone();
    let task = tokio::spawn(async move {
        panics
            .call(|| async { panic!("in an attempt") as Result<(), ()> })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    let counts = hedge.snapshot();
    assert_eq!(
        (
            counts.count(EventKind::Cancelled),
            counts.count(EventKind::Panicked)
        ),
        (1, 1)
    );
}

#[test]
fn settings_that_cannot_work_are_refused_with_a_sentence() {
    let refusal = |delay, max_attempts| {
        let settings = HedgeSettings {
            delay,
            max_attempts,
            budget: None,
        };
        settings.validate().unwrap_err().to_string()
    };
    assert_eq!(
        refusal(ms(1), 1),
        "hedge setting max_attempts must be 2 to 10, not 1: the first attempt is one of them"
    );
    assert!(refusal(Duration::ZERO, 2).starts_with("hedge setting delay must be above 0"));
    assert!(refusal(ms(1), 11).starts_with("hedge setting max_attempts must be 2 to 10"));
}
