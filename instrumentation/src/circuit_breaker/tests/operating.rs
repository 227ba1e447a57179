//! Tests of manual operations: reset, open, half-open, close, with the reason that listeners receive.

use tokio::time::advance;

use super::*;
use crate::circuit_breaker::{Override, OverrideKind, State};

fn order(kind: OverrideKind) -> Override {
    Override {
        kind,
        reason: "Ada: maintenance".to_owned(),
        expires: None,
    }
}

/// Scenario: an open time of seven days, set by mistake. Guarantees: a reset ends it, and clears the window.
#[tokio::test(start_paused = true)]
async fn a_reset_closes_whatever_the_state() {
    use OverrideKind::{Disabled, ForcedOpen};
    for forced in [None, Some(ForcedOpen), Some(Disabled)] {
        let (breaker, notes) = observed(Settings {
            open_duration: Duration::from_secs(7 * 24 * 3_600),
            ..hystrix()
        });
        calls(&breaker, Outcome::Failure, 4);
        if let Some(kind) = forced {
            breaker.force(order(kind));
        }
        let before = breaker.state();
        breaker.reset("Ada: wrong setting");
        assert_eq!(breaker.state(), EffectiveState::Closed);
        assert_eq!(breaker.computed_state(), State::Closed);
        assert!(breaker.current_override().is_none());
        let last = notes.take().pop().unwrap();
        assert_eq!((last.from, last.to), (before, EffectiveState::Closed));
        assert_eq!(last.reason, "Ada: wrong setting");
        let snapshot = breaker.snapshot();
        assert_eq!((snapshot.window.calls, snapshot.calls.failure), (0, 1));
        assert!(breaker.try_acquire().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_a_closed_breaker_empties_its_window_silently() {
    let (breaker, notes) = observed(Settings {
        minimum_calls: 5,
        ..hystrix()
    });
    let late = breaker.try_acquire().unwrap();
    calls(&breaker, Outcome::Failure, 4);
    breaker.reset("Ada: deployed a fix");
    late.record(Outcome::Failure, ms(1));
    assert_eq!(
        breaker.snapshot().window.calls,
        0,
        "also of calls from before"
    );
    calls(&breaker, Outcome::Failure, 4);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(notes.take(), []);
}

/// Guarantees: a state entered manually continues by the rules.
#[tokio::test(start_paused = true)]
async fn a_transition_by_hand_goes_on_by_the_rules() {
    let (breaker, notes) = observed(hystrix());
    breaker.transition_to(State::Open, "Ada: the target is down");
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after, ms(200));
    advance(ms(200)).await;
    calls(&breaker, Outcome::Success, 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    breaker.open_for(Duration::from_secs(60), "Ada: for a minute");
    assert_eq!(
        breaker.try_acquire().unwrap_err().retry_after,
        Duration::from_secs(60)
    );
    breaker.transition_to(State::HalfOpen, "Ada: try it");
    let probe = breaker.try_acquire().unwrap();
    assert!(probe.is_probe() && breaker.try_acquire().is_err());
    probe.record(Outcome::Failure, ms(1));
    assert_eq!(breaker.state(), EffectiveState::Open);
    breaker.transition_to(State::Closed, "Ada: it works");
    assert!(breaker.try_acquire().is_ok());
    let reasons = notes.reasons();
    assert_eq!(
        reasons,
        [
            "Ada: the target is down",
            "open time of 200 ms has passed",
            "probe succeeded in 10 ms",
            "Ada: for a minute",
            "Ada: try it",
            "probe failed",
            "Ada: it works",
        ]
    );
}

/// Scenario: a person changes the end of an open breaker's time twice.
/// Guarantees: listeners receive the new end and its reason, and the open time after a failed probe grows as if it had
/// not been changed.
#[tokio::test(start_paused = true)]
async fn an_open_breaker_opened_for_another_time_says_so() {
    let (breaker, notes) = observed(Settings {
        open_duration_factor: 2.0,
        open_duration_max: Some(Duration::from_secs(60)),
        ..hystrix()
    });
    calls(&breaker, Outcome::Failure, 1);
    notes.take();
    for seconds in [60, 10] {
        let before = std::time::SystemTime::now();
        breaker.open_for(Duration::from_secs(seconds), "Ada: the target moves");
        let [note] = <[_; 1]>::try_from(notes.take()).unwrap();
        assert_eq!(
            (note.from, note.to),
            (EffectiveState::Open, EffectiveState::Open)
        );
        assert_eq!(note.reason, "Ada: the target moves");
        let wait = note.open_until.unwrap().duration_since(before).unwrap();
        assert_eq!(wait.as_secs(), seconds);
    }
    advance(Duration::from_secs(10)).await;
    calls(&breaker, Outcome::Failure, 1);
    let second = breaker.try_acquire().unwrap_err().retry_after;
    assert_eq!(second, ms(400), "of the second opening");
}

/// Guarantees: a manual transition does not end an override.
#[tokio::test(start_paused = true)]
async fn a_transition_by_hand_stays_under_an_override() {
    let (breaker, notes) = observed(hystrix());
    breaker.force(order(OverrideKind::ForcedClosed));
    breaker.transition_to(State::Open, "Ada: try it");
    assert_eq!(breaker.state(), EffectiveState::ForcedClosed);
    assert_eq!(breaker.computed_state(), State::Open);
    assert_eq!(notes.take().len(), 1);
}
