//! The rate limiter beside a naive model, under cancels and several threads.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Context;

use proptest::prelude::*;
use tokio::task::{JoinHandle, yield_now};

use super::*;
use crate::resilience::{PolicySettings, Registry};

fn limiter(settings: RateLimiterSettings) -> RateLimiter {
    RateLimiter::builder("mail")
        .settings(settings)
        .registry(&Registry::new())
        .build()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What a test does with a limiter.
#[derive(Debug, Clone)]
enum Step {
    /// A call comes and waits if it must.
    Arrive,
    /// A call that does not wait.
    Try,
    /// The call that came so many calls ago is dropped.
    Cancel(usize),
    /// Milliseconds pass.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Arrive),
        1 => Just(Step::Try),
        2 => (0..6_usize).prop_map(Step::Cancel),
        3 => (1..25_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..60)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Waits,
    Permitted(u64),
    Refused(u64),
    Cancelled,
}

/// The rules once more, a millisecond at a time.
struct Naive {
    limit: u64,
    period: u64,
    max_wait: u64,
    now: u64,
    used: u64,
    queue: VecDeque<usize>,
    fates: Vec<Fate>,
}

impl Naive {
    fn arrive(&mut self, may_wait: bool) {
        let place = self.queue.len() as u64;
        let to_next = self.period - self.now % self.period;
        let wait = to_next + place / self.limit * self.period;
        self.fates.push(if self.used < self.limit {
            self.used += 1;
            Fate::Permitted(self.now)
        } else if may_wait && wait <= self.max_wait {
            self.queue.push_back(self.fates.len());
            Fate::Waits
        } else {
            Fate::Refused(self.now)
        });
    }

    fn cancel(&mut self, call: usize) {
        if self.fates[call] == Fate::Waits {
            self.fates[call] = Fate::Cancelled;
            self.queue.retain(|waiting| *waiting != call);
        }
    }

    fn tick(&mut self) {
        self.now += 1;
        if self.now.is_multiple_of(self.period) {
            self.used = 0;
            while self.used < self.limit
                && let Some(call) = self.queue.pop_front()
            {
                self.used += 1;
                self.fates[call] = Fate::Permitted(self.now);
            }
        }
    }
}

/// The limiter with its calls as tasks, which only their wakers run.
struct Real {
    limiter: RateLimiter,
    started: Instant,
    ended: Arc<Mutex<BTreeMap<usize, Fate>>>,
    tasks: Vec<Option<JoinHandle<()>>>,
}

impl Real {
    fn arrive(&mut self, may_wait: bool) {
        let (call, started) = (self.tasks.len(), self.started);
        let (limiter, ended) = (self.limiter.clone(), Arc::clone(&self.ended));
        self.tasks.push(Some(tokio::spawn(async move {
            let permit = match may_wait {
                true => limiter.acquire().await,
                false => limiter.try_acquire(),
            };
            let now = started.elapsed().as_millis() as u64;
            let fate = match permit {
                Ok(()) => Fate::Permitted(now),
                Err(_) => Fate::Refused(now),
            };
            ended.lock().unwrap().insert(call, fate);
        })));
    }

    async fn cancel(&mut self, call: usize) {
        if let Some(task) = self.tasks[call].take() {
            task.abort();
            if task.await.is_err() {
                self.ended.lock().unwrap().insert(call, Fate::Cancelled);
            }
        }
    }

    fn fates(&self) -> Vec<Fate> {
        let ended = self.ended.lock().unwrap();
        let fate = |call| ended.get(&call).copied().unwrap_or(Fate::Waits);
        (0..self.tasks.len()).map(fate).collect()
    }
}

async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

proptest! {
    /// Guarantees: whatever comes, waits and is dropped, each call gets its permit or its refusal when the naive model says.
    #[test]
    fn permits_are_those_of_the_naive_model(steps in steps(), limit in 1..4_u32, period in 2..12_u64, max_wait in 0..40_u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut naive = Naive {
                limit: u64::from(limit), period, max_wait, now: 0, used: 0, queue: VecDeque::new(), fates: Vec::new(),
            };
            let mut real = Real {
                limiter: limiter(RateLimiterSettings { limit, period: ms(period), max_wait: ms(max_wait), max_waiting: 1_000 }),
                started: Instant::now(),
                ended: Arc::default(),
                tasks: Vec::new(),
            };
            for step in steps {
                match step {
                    Step::Arrive | Step::Try => {
                        let may_wait = matches!(step, Step::Arrive);
                        naive.arrive(may_wait);
                        real.arrive(may_wait);
                        settle().await;
                    }
                    Step::Cancel(back) if back < naive.fates.len() => {
                        let call = naive.fates.len() - 1 - back;
                        naive.cancel(call);
                        real.cancel(call).await;
                        settle().await;
                    }
                    Step::Cancel(_) => {}
                    Step::Wait(millis) => for _ in 0..millis {
                        naive.tick();
                        tokio::time::advance(ms(1)).await;
                        settle().await;
                    },
                }
                prop_assert_eq!(real.fates(), naive.fates.clone());
                let counts = real.limiter.snapshot();
                prop_assert_eq!(counts.waiting, Some(naive.queue.len() as u64));
                prop_assert_eq!(counts.available, Some(naive.limit - naive.used));
            }
            Ok(())
        })?;
    }
}

/// Guarantees: eight threads get exactly the permits of a cycle.
#[test]
fn permits_are_counted_exactly_on_many_threads() {
    let limiter = limiter(RateLimiterSettings {
        limit: 1_000,
        period: Duration::from_secs(3_600),
        ..RateLimiterSettings::default()
    });
    let take = || (0..500).filter(|_| limiter.try_acquire().is_ok()).count();
    let permits = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!(permits, 1_000);
    let counts = limiter.snapshot();
    assert_eq!(
        (
            counts.count(EventKind::Permitted),
            counts.count(EventKind::Refused)
        ),
        (1_000, 3_000)
    );
}

/// Scenario: a call has been given the permit of a new cycle, and is dropped before it runs again.
/// Guarantees: the next one gets the permit in the same cycle.
#[tokio::test(start_paused = true)]
async fn a_permit_that_was_granted_and_not_collected_goes_to_the_next() {
    let limiter = limiter(RateLimiterSettings {
        limit: 1,
        period: ms(10),
        max_wait: ms(100),
        ..RateLimiterSettings::default()
    });
    limiter.acquire().await.unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut first: Pin<Box<dyn Future<Output = _>>> = Box::pin(limiter.acquire());
    let mut second: Pin<Box<dyn Future<Output = _>>> = Box::pin(limiter.acquire());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    assert!(second.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(ms(10)).await;
    assert!(
        second.as_mut().poll(&mut cx).is_pending(),
        "the permit is the first one's"
    );
    drop(first);
    assert_eq!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(())));
    assert!(limiter.try_acquire().is_err(), "the cycle has one permit");
    assert_eq!(limiter.snapshot().count(EventKind::Cancelled), 1);
}

/// Guarantees: a call that would wait too long, and one more than may wait, are refused at once, with the time to come back.
#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_get_a_permit_is_refused_at_once() {
    let limiter = limiter(RateLimiterSettings {
        limit: 1,
        period: ms(10),
        max_wait: ms(25),
        max_waiting: 2,
    });
    let started = Instant::now();
    limiter.acquire().await.unwrap();
    let waiting = [
        tokio::spawn(acquire(limiter.clone())),
        tokio::spawn(acquire(limiter.clone())),
    ];
    settle().await;
    let refused = limiter.acquire().await.unwrap_err();
    assert_eq!(
        (refused.retry_after, started.elapsed()),
        (ms(30), Duration::ZERO)
    );
    assert_eq!(
        refused.to_string(),
        "rate limiter mail: no permit within the time that a call may wait"
    );
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

async fn acquire(limiter: RateLimiter) -> Result<(), RateLimited> {
    limiter.acquire().await
}

#[test]
fn settings_that_cannot_work_are_refused_with_a_sentence() {
    let second = Duration::from_secs(1);
    let refusal = |limit, period, max_wait, max_waiting| {
        let settings = RateLimiterSettings {
            limit,
            period,
            max_wait,
            max_waiting,
        };
        settings.validate().unwrap_err().to_string()
    };
    assert_eq!(
        refusal(0, second, second, 1),
        "rate limiter setting limit must be at least 1, not 0: no call would ever run"
    );
    assert!(
        refusal(1, Duration::ZERO, second, 1)
            .starts_with("rate limiter setting period must be above 0")
    );
    assert!(
        refusal(1, Duration::MAX, second, 1)
            .starts_with("rate limiter setting period must be above 0")
    );
    assert!(
        refusal(1, second, Duration::MAX, 1)
            .starts_with("rate limiter setting max_wait must be above 0")
    );
    assert!(
        refusal(1, second, second, 0).starts_with("rate limiter setting max_waiting must be 1 to")
    );
    for settings in [
        RateLimiterSettings::default(),
        RateLimiterSettings::resilience4j(),
    ] {
        assert_eq!(settings.validate(), Ok(()));
    }
}
