//! Half-open always ends: for any timeout, lease and latency, a target that answers closes the breaker, and one that
//! does not opens it again. How long open and half-open last, and what happens without calls.

use std::sync::mpsc::{Sender, channel};

use tokio::time::{advance, interval, sleep};

use super::*;
use crate::circuit_breaker::State;
use crate::resilience::{self, RateLimiter, RateLimiterSettings};

/// Opens a breaker, then calls its target, which succeeds after `latency`, once a second for an hour; returns how long
/// it took to close.
async fn time_to_close(settings: Settings, latency: Duration) -> Option<Duration> {
    let breaker = breaker(settings);
    calls(&breaker, Outcome::Failure, 40);
    assert_eq!(breaker.state(), EffectiveState::Open);
    let start = tokio::time::Instant::now();
    let mut tick = interval(Duration::from_secs(1));
    for _ in 0..3_600 {
        tick.tick().await;
        if breaker.state() == EffectiveState::Closed {
            return Some(start.elapsed());
        }
        let breaker = breaker.clone();
        tokio::spawn(async move {
            let answer = async {
                sleep(latency).await;
                Ok::<_, std::io::Error>(())
            };
            breaker.call(answer).await.ok();
        });
    }
    None
}

/// Guarantees: neither a lease shorter than the latency nor a limit of half-open keeps the breaker of a healthy target
/// open.
#[tokio::test(start_paused = true)]
async fn a_target_that_answers_is_let_back_in() {
    let second = Duration::from_secs;
    for (lease, latency, longest, probes) in [
        (second(30), second(31), None, 1),
        (second(1), second(2), None, 1),
        (ms(1), second(600), None, 1),
        (second(30), second(31), Some(second(10)), 1),
        (second(30), second(1), Some(second(3)), 10),
        (second(2), second(45), Some(second(1)), 3),
    ] {
        let settings = Settings {
            timeout: Some(second(700)),
            probe_lease: lease,
            half_open_max_duration: longest,
            half_open_probes: probes,
            ..Settings::default()
        };
        let closed = time_to_close(settings, latency).await;
        let closed = closed.unwrap_or_else(|| panic!("never closed: {lease:?}, {latency:?}"));
        assert!(
            closed < latency * 4 + second(60),
            "{lease:?}, {latency:?}: {closed:?}"
        );
    }
}

/// Scenario: every probe times out after its lease, and there is always a newer one. Guarantees: the breaker opens
/// again.
#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_is_shut_off_again() {
    let (breaker, notes) = observed(Settings {
        probe_lease: ms(1_000),
        ..hystrix()
    });
    ready_for_probe(&breaker).await;
    let hung = breaker.try_acquire().unwrap();
    advance(ms(1_000)).await;
    let fresher = breaker.try_acquire().unwrap();
    hung.record(Outcome::Timeout, ms(1_000));
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    advance(ms(1_000)).await;
    assert!(breaker.try_acquire().is_err());
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(
        notes.reasons().last().unwrap(),
        "probe timed out after 1.00 s"
    );
    drop(fresher);
}

#[tokio::test(start_paused = true)]
async fn half_open_lasts_as_long_as_allowed() {
    let (breaker, notes) = observed(Settings {
        half_open_max_duration: Some(ms(3_000)),
        ..hystrix()
    });
    ready_for_probe(&breaker).await;
    let hung = breaker.try_acquire().unwrap();
    advance(ms(2_999)).await;
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    advance(ms(1)).await;
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after, ms(200));
    hung.record(Outcome::Success, ms(3_000));
    assert_eq!(breaker.state(), EffectiveState::Closed, "it did answer");
    assert_eq!(
        notes.reasons()[2..],
        [
            "too few probes ended in 3 s of half-open",
            "probe succeeded in 3.00 s"
        ]
    );
}

/// Opens the breaker `times` times in a row and returns how long it stayed open each time.
async fn waits(breaker: &CircuitBreaker, times: usize) -> Vec<Duration> {
    let mut waits = Vec::new();
    for _ in 0..times {
        calls(breaker, Outcome::Failure, 1);
        let wait = breaker.try_acquire().unwrap_err().retry_after;
        waits.push(wait);
        advance(wait).await;
    }
    waits
}

#[tokio::test(start_paused = true)]
async fn the_time_in_open_grows_to_its_maximum_until_it_closes() {
    let breaker = breaker(Settings {
        open_duration_factor: 2.0,
        open_duration_max: Some(ms(1_000)),
        ..hystrix()
    });
    let seen = waits(&breaker, 5).await;
    assert_eq!(seen, [ms(200), ms(400), ms(800), ms(1_000), ms(1_000)]);
    calls(&breaker, Outcome::Success, 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(waits(&breaker, 1).await, [ms(200)]);
}

/// Guarantees: instances that opened at the same time do not all probe at the same time, and none waits longer than
/// allowed.
#[tokio::test(start_paused = true)]
async fn jitter_spreads_the_ends_of_open() {
    let settings = Settings {
        open_duration_jitter_percent: 50.0,
        open_duration_max: Some(ms(250)),
        ..hystrix()
    };
    let mut seen = Vec::new();
    for _ in 0..20 {
        seen.extend(waits(&breaker(settings.clone()), 10).await);
    }
    assert!(
        seen.iter().all(|wait| (ms(83)..=ms(250)).contains(wait)),
        "{seen:?}"
    );
    assert!(seen.iter().any(|wait| *wait < ms(130)) && seen.iter().any(|wait| *wait > ms(200)));
}

/// Guarantees: an open breaker whose time is over is due, or is half-open if it becomes so by itself.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_says_that_it_is_due() {
    let minute = Duration::from_secs(60);
    for automatic in [false, true] {
        let (breaker, notes) = observed(Settings {
            automatic_half_open: automatic,
            open_duration: minute,
            ..hystrix()
        });
        calls(&breaker, Outcome::Failure, 1);
        advance(minute - ms(1)).await;
        assert!(!breaker.is_due() && !breaker.snapshot().is_due);
        advance(ms(1)).await;
        let snapshot = breaker.snapshot();
        assert_eq!(snapshot.is_due, !automatic);
        assert_eq!(breaker.is_due(), !automatic);
        let expected = if automatic {
            State::HalfOpen
        } else {
            State::Open
        };
        assert_eq!(snapshot.state, expected.into());
        assert_eq!(snapshot.open_until.is_some(), !automatic);
        assert_eq!(notes.take().len(), 1 + usize::from(automatic));
        assert!(breaker.try_acquire().unwrap().is_probe());
    }
}

/// Sends every state.
struct States(Sender<EffectiveState>);

impl Listener for States {
    fn transition(&self, transition: &Transition) {
        self.0.send(transition.to).ok();
    }
}

/// Scenario: no runtime, no further calls, no readers. Guarantees: listeners are notified of half-open and of its end.
#[test]
fn without_a_call_listeners_hear_of_half_open() {
    let (registry, (states, seen)) = (Registry::new(), channel());
    registry.subscribe(Arc::new(States(states)));
    let settings = Settings {
        automatic_half_open: true,
        open_duration: ms(20),
        half_open_max_duration: Some(ms(20)),
        ..hystrix()
    };
    let builder = CircuitBreaker::builder("stock").registry(&registry);
    let breaker = builder.settings(settings).build();
    calls(&breaker, Outcome::Failure, 1);
    use EffectiveState::{HalfOpen, Open};
    for expected in [Open, HalfOpen, Open, HalfOpen] {
        let state = seen.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(state, expected);
    }
}

/// Scenario: the rate limiter of a command has one permit a minute, and a call comes every second; probes wait for a permit
/// for longer than their lease.
/// Guarantees: the waits are not the target's time: its first answer closes the breaker.
#[tokio::test(start_paused = true)]
async fn a_probe_that_waits_for_a_permit_beyond_its_lease_closes() {
    let breaker = breaker(Settings {
        probe_lease: ms(2_000),
        ..Settings::default()
    });
    let settings = RateLimiterSettings {
        limit: 1,
        period: Duration::from_secs(60),
        max_wait: Duration::from_secs(600),
        ..RateLimiterSettings::default()
    };
    let limiter = RateLimiter::builder("stock").registry(&resilience::Registry::new());
    let limiter = limiter.settings(settings).build();
    limiter.try_acquire().unwrap();
    calls(&breaker, Outcome::Failure, 40);
    let mut closed_after = None;
    for second in 0..300 {
        advance(Duration::from_secs(1)).await;
        let command = breaker.command().rate_limiter(&limiter);
        tokio::spawn(
            command
                .run(|| async { Ok::<_, std::io::Error>(()) })
                .execute(),
        );
        tokio::task::yield_now().await;
        if breaker.state() == EffectiveState::Closed {
            closed_after.get_or_insert(second);
        }
    }
    assert!(
        closed_after.is_some_and(|second| second < 130),
        "{closed_after:?}"
    );
    assert_eq!(breaker.state(), EffectiveState::Closed);
}
