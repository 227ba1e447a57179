//! The bulkhead beside a naive model, under cancels and timeouts.

use std::collections::VecDeque;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::resilience::{PolicySettings, Registry};

fn bulkhead(settings: BulkheadSettings) -> Bulkhead {
    Bulkhead::builder("reports")
        .settings(settings)
        .registry(&Registry::new())
        .build()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Debug, Clone)]
enum Step {
    Arrive,
    /// The call that came so many calls ago ends, if it runs.
    End(usize),
    /// It is dropped, whether it runs or waits.
    Cancel(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Arrive),
        3 => (0..8_usize).prop_map(Step::End),
        2 => (0..8_usize).prop_map(Step::Cancel),
        2 => (1..15_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Waits { since: u64 },
    Runs,
    Ended,
    Refused,
    Cancelled,
}

struct Naive {
    limit: usize,
    max_wait: u64,
    now: u64,
    queue: VecDeque<usize>,
    fates: Vec<Fate>,
}

impl Naive {
    fn arrive(&mut self) {
        let running = self
            .fates
            .iter()
            .filter(|fate| **fate == Fate::Runs)
            .count();
        self.fates.push(if running < self.limit {
            Fate::Runs
        } else if self.max_wait > 0 {
            self.queue.push_back(self.fates.len());
            Fate::Waits { since: self.now }
        } else {
            Fate::Refused
        });
    }

    fn leave(&mut self, call: usize, fate: Fate) {
        let was = std::mem::replace(&mut self.fates[call], fate);
        self.queue.retain(|waiting| *waiting != call);
        if was == Fate::Runs
            && let Some(next) = self.queue.pop_front()
        {
            self.fates[next] = Fate::Runs;
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        let over = |fate: &Fate| matches!(fate, Fate::Waits { since } if since + self.max_wait <= self.now);
        let refused: Vec<_> = (0..self.fates.len())
            .filter(|call| over(&self.fates[*call]))
            .collect();
        for call in refused {
            self.leave(call, Fate::Refused);
        }
    }
}

struct Call {
    task: JoinHandle<Result<u32, PolicyError<()>>>,
    end: Option<oneshot::Sender<()>>,
}

fn arrive(bulkhead: &Bulkhead) -> Call {
    let (end, ended) = oneshot::channel();
    let bulkhead = bulkhead.clone();
    let task = tokio::spawn(async move {
        let work = || async {
            let _ = ended.await;
            Ok(7)
        };
        bulkhead.call(work).await
    });
    Call {
        task,
        end: Some(end),
    }
}

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

proptest! {
    /// Guarantees: slots go to those who wait in the order in which they came; whoever ends, is dropped or waits too long
    /// leaves its slot or its place.
    #[test]
    fn slots_are_those_of_the_naive_model(steps in steps(), limit in 1..4_u32, max_wait in 0..20_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let bulkhead = bulkhead(BulkheadSettings { max_concurrent: limit, max_wait: ms(max_wait), ..BulkheadSettings::default() });
            let mut naive = Naive { limit: limit as usize, max_wait, now: 0, queue: VecDeque::new(), fates: Vec::new() };
            let mut calls = Vec::<Call>::new();
            for step in steps {
                match step {
                    Step::Arrive => {
                        naive.arrive();
                        calls.push(arrive(&bulkhead));
                        settle().await;
                    }
                    Step::End(back) if back < calls.len() => {
                        let call = calls.len() - 1 - back;
                        if naive.fates[call] == Fate::Runs {
                            naive.leave(call, Fate::Ended);
                            calls[call].end.take().unwrap().send(()).unwrap();
                            settle().await;
                        }
                    }
                    Step::Cancel(back) if back < calls.len() => {
                        let call = calls.len() - 1 - back;
                        if matches!(naive.fates[call], Fate::Runs | Fate::Waits { .. }) {
                            naive.leave(call, Fate::Cancelled);
                            calls[call].task.abort();
                            settle().await;
                        }
                    }
                    Step::End(_) | Step::Cancel(_) => {}
                    Step::Wait(millis) => for _ in 0..millis {
                        naive.tick();
                        tokio::time::advance(ms(1)).await;
                        settle().await;
                    },
                }
                let running = naive.fates.iter().filter(|fate| **fate == Fate::Runs).count();
                let refused = naive.fates.iter().filter(|fate| **fate == Fate::Refused).count();
                let counts = bulkhead.snapshot();
                prop_assert_eq!(counts.available, Some((naive.limit - running) as u64));
                prop_assert_eq!(counts.waiting, Some(naive.queue.len() as u64));
                prop_assert_eq!(counts.count(EventKind::Refused), refused as u64);
                for (call, fate) in calls.iter().zip(&naive.fates) {
                    let is_over = !matches!(fate, Fate::Waits { .. } | Fate::Runs);
                    prop_assert_eq!(call.task.is_finished(), is_over, "{:?}", fate);
                }
            }
            Ok(())
        })?;
    }
}

/// Guarantees: none of 64 callers on several threads runs beside more than the slots allow, and all slots are free at the end,
/// although some callers are dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_slot_is_lost_or_doubled_on_many_threads() {
    static RUNNING: AtomicU32 = AtomicU32::new(0);
    let bulkhead = bulkhead(BulkheadSettings {
        max_concurrent: 3,
        max_wait: Duration::from_secs(60),
        max_waiting: 1_000,
        ..BulkheadSettings::default()
    });
    let call = |bulkhead: Bulkhead| async move {
        let work = || async {
            assert!(RUNNING.fetch_add(1, Relaxed) < 3);
            yield_now().await;
            RUNNING.fetch_sub(1, Relaxed);
            Ok::<_, ()>(())
        };
        bulkhead.call(work).await
    };
    let tasks: Vec<_> = (0..64)
        .map(|_| tokio::spawn(call(bulkhead.clone())))
        .collect();
    let slot = bulkhead.acquire().await.unwrap();
    let dropped: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn({
                let bulkhead = bulkhead.clone();
                async move { bulkhead.acquire().await.map(drop) }
            })
        })
        .collect();
    dropped.iter().for_each(JoinHandle::abort);
    drop(slot);
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
    for task in dropped {
        let _ = task.await;
    }
    assert_eq!(bulkhead.snapshot().available, Some(3));
    assert_eq!(bulkhead.snapshot().waiting, Some(0));
}

/// Guarantees: a panic frees the slot.
#[tokio::test]
async fn a_panic_frees_the_slot() {
    let bulkhead = bulkhead(BulkheadSettings {
        max_concurrent: 1,
        ..BulkheadSettings::default()
    });
    let panics = bulkhead.clone();
    let task = tokio::spawn(async move {
        panics
            .call(|| async { panic!("in the call") as Result<(), ()> })
            .await
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(bulkhead.call(|| async { Ok::<_, ()>(7) }).await, Ok(7));
}

/// Guarantees: a call that may not wait takes no place from those that do, and gives none back.
#[tokio::test(start_paused = true)]
async fn refused_calls_leave_the_queue_as_it_is() {
    let bulkhead = bulkhead(BulkheadSettings {
        max_concurrent: 1,
        max_wait: ms(1_000),
        max_waiting: 2,
        ..BulkheadSettings::default()
    });
    let held = bulkhead.acquire().await.unwrap();
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(bulkhead.acquire())).collect();
    for one in &mut waiting {
        assert!(one.now_or_never().is_none());
    }
    for _ in 0..5 {
        assert!(bulkhead.acquire().await.is_err());
        assert_eq!(bulkhead.snapshot().waiting, Some(2));
    }
    drop(held);
    waiting.truncate(1);
    assert!(waiting.remove(0).await.is_ok());
    assert_eq!(bulkhead.snapshot().waiting, Some(0));
}

#[test]
fn settings_that_cannot_work_are_refused_with_a_sentence() {
    let refusal = |max_concurrent, max_wait, max_waiting| {
        let settings = BulkheadSettings {
            max_concurrent,
            max_wait,
            max_waiting,
            ..BulkheadSettings::default()
        };
        settings.validate().unwrap_err().to_string()
    };
    assert_eq!(
        refusal(0, ms(1), 1),
        "bulkhead setting max_concurrent must be 1 to 1000000, not 0"
    );
    assert!(
        refusal(u32::MAX, ms(1), 1).starts_with("bulkhead setting max_concurrent must be 1 to")
    );
    assert!(refusal(1, Duration::MAX, 1).starts_with("bulkhead setting max_wait must be above 0"));
    assert!(refusal(1, ms(1), 0).starts_with("bulkhead setting max_waiting must be 1 to"));
}

/// Scenario: a target that takes four calls at once, each for 10 ms, and lets others queue; twenty callers ask all the time.
/// Guarantees: the slots of an adaptive bulkhead become about as many, the others are refused, and no slot is lost.
#[tokio::test(start_paused = true)]
async fn an_adaptive_bulkhead_finds_its_size() {
    let rule = AdaptRule::Aimd { latency: ms(15) };
    let bulkhead = bulkhead(BulkheadSettings {
        max_concurrent: 20,
        adapt: Some(AdaptSettings {
            rule,
            ..AdaptSettings::default()
        }),
        ..BulkheadSettings::default()
    });
    let target = Semaphore::new(4);
    let callers = (0..20).map(|_| {
        let (bulkhead, target) = (bulkhead.clone(), Arc::clone(&target));
        tokio::spawn(async move {
            for _ in 0..200 {
                let call = async || {
                    let _place = target.acquire().await;
                    tokio::time::sleep(ms(10)).await;
                    Ok::<_, ()>(())
                };
                if bulkhead.call(call).await.is_err() {
                    tokio::time::sleep(ms(5)).await;
                }
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let counts = bulkhead.snapshot();
    let slots = counts.limit.unwrap();
    assert!((3..=8).contains(&slots), "{slots}");
    assert_eq!(counts.available, Some(slots));
    assert!(counts.count(EventKind::Refused) > 100);
}

/// Guarantees: errors and timeouts shrink it, what was cancelled says nothing, and other settings bound what was learned.
#[tokio::test(start_paused = true)]
async fn an_adaptive_bulkhead_learns_from_ends() {
    let adaptive = |min, max| BulkheadSettings {
        max_concurrent: 10,
        adapt: Some(AdaptSettings {
            min,
            max,
            ..AdaptSettings::default()
        }),
        ..BulkheadSettings::default()
    };
    let bulkhead = bulkhead(adaptive(1, 100));
    let size = || bulkhead.snapshot().limit.unwrap();
    bulkhead.try_acquire().unwrap().cancelled();
    drop(
        bulkhead
            .call(std::future::pending::<Result<(), ()>>)
            .now_or_never(),
    );
    assert_eq!(size(), 10);
    bulkhead.try_acquire().unwrap().failed();
    assert_eq!(size(), 9);
    bulkhead.update_settings(adaptive(10, 100)).unwrap();
    assert_eq!(size(), 10);
    let fixed = BulkheadSettings::default();
    bulkhead.update_settings(fixed).unwrap();
    assert_eq!((size(), bulkhead.snapshot().available), (25, Some(25)));
    let refused = adaptive(20, 100).validate().unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("max_concurrent must be 20 to 100")
    );
}

/// Guarantees: a bulkhead that becomes adaptive begins with the slots that its settings name.
#[test]
fn a_fixed_bulkhead_becomes_adaptive() {
    let bulkhead = bulkhead(BulkheadSettings::default());
    let adaptive = BulkheadSettings {
        max_concurrent: 7,
        adapt: Some(AdaptSettings::default()),
        ..BulkheadSettings::default()
    };
    bulkhead.update_settings(adaptive).unwrap();
    assert_eq!(bulkhead.snapshot().limit, Some(7));
}

/// Guarantees: a call that another policy within refused takes no slots away: it never reached the target.
#[tokio::test]
async fn refusals_within_say_nothing() {
    let outer = bulkhead(BulkheadSettings {
        max_concurrent: 10,
        adapt: Some(AdaptSettings::default()),
        ..BulkheadSettings::default()
    });
    let inner = bulkhead(BulkheadSettings {
        max_concurrent: 1,
        ..BulkheadSettings::default()
    });
    let size = || outer.snapshot().limit.unwrap();
    let call = || async { Err::<(), _>("down") };
    let busy = inner.try_acquire().unwrap();
    let refused = outer.call(|| inner.call(call)).await.unwrap_err();
    assert!(matches!(
        refused,
        PolicyError::Failed(PolicyError::BulkheadFull(_))
    ));
    assert_eq!(size(), 10);
    drop(busy);
    outer.call(|| inner.call(call)).await.unwrap_err();
    assert_eq!(size(), 9, "this one did");
}
