//! Forced states and changed settings.

use std::time::SystemTime;

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

#[tokio::test(start_paused = true)]
async fn forced_open_refuses_until_released() {
    let (breaker, notes) = observed(hystrix());
    breaker.force(order(OverrideKind::ForcedOpen));
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.state, EffectiveState::ForcedOpen);
    assert_eq!(rejected.retry_after, ms(200));
    assert_eq!(breaker.computed_state(), State::Closed);
    assert_eq!(breaker.snapshot().calls.rejected, 1, "refusals are counted");
    breaker.release();
    assert!(breaker.current_override().is_none());
    calls(&breaker, Outcome::Success, 1);
    let notes = notes.take();
    assert_eq!(notes[0].to, EffectiveState::ForcedOpen);
    assert_eq!(notes[0].reason, "Ada: maintenance");
    assert_eq!(notes[1].to, EffectiveState::Closed);
    assert_eq!(notes[1].reason, "override released (Ada: maintenance)");
}

/// Scenario: the override expires. Guarantees: the next reader or call sees it.
#[tokio::test(start_paused = true)]
async fn an_override_ends_by_itself() {
    for look in [true, false] {
        for kind in [OverrideKind::ForcedOpen, OverrideKind::Disabled] {
            let (breaker, notes) = observed(hystrix());
            let expires = Some(SystemTime::now() + Duration::from_secs(60));
            breaker.force(Override {
                expires,
                ..order(kind)
            });
            calls(&breaker, Outcome::Success, 1);
            assert_eq!(breaker.state(), kind.into());
            advance(Duration::from_secs(61)).await;
            if look {
                assert_eq!(breaker.snapshot().state, EffectiveState::Closed);
            } else {
                assert!(breaker.try_acquire().is_ok());
            }
            let last = notes.take().pop().unwrap();
            assert_eq!(last.from, kind.into());
            assert_eq!(last.to, EffectiveState::Closed);
            assert_eq!(last.reason, "override expired (Ada: maintenance)");
        }
    }
}

/// Guarantees: calls pass and are counted, the computed state keeps changing, and listeners are not called.
#[tokio::test(start_paused = true)]
async fn forced_closed_passes_every_call_and_keeps_counting() {
    let (breaker, notes) = observed(hystrix());
    breaker.force(order(OverrideKind::ForcedClosed));
    notes.take();
    calls(&breaker, Outcome::Failure, 100);
    assert_eq!(breaker.state(), EffectiveState::ForcedClosed);
    assert_eq!(breaker.computed_state(), State::Open);
    assert_eq!(breaker.snapshot().calls.failure, 100);
    assert_eq!(notes.take(), []);
    breaker.release();
    assert!(breaker.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn disabled_passes_every_call_and_counts_nothing() {
    let breaker = breaker(hystrix());
    breaker.force(order(OverrideKind::Disabled));
    calls(&breaker, Outcome::Failure, 100);
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.calls.failure, 0);
    assert_eq!(snapshot.in_flight, 0);
    assert_eq!(snapshot.computed, State::Closed);
}

/// Scenario: a breaker with automatic half-open opens, and a person forces it for an unknown time. Guarantees: the
/// computed state changes when its open time is over, so that nothing remains due; listeners are notified at the
/// release.
#[tokio::test(start_paused = true)]
async fn the_computed_state_goes_on_under_an_override() {
    for kind in [
        OverrideKind::ForcedOpen,
        OverrideKind::Disabled,
        OverrideKind::ForcedClosed,
    ] {
        let (breaker, notes) = observed(Settings {
            automatic_half_open: true,
            ..hystrix()
        });
        calls(&breaker, Outcome::Failure, 1);
        breaker.force(order(kind));
        notes.take();
        assert_eq!(breaker.computed_state(), State::Open);
        advance(ms(200)).await;
        assert_eq!(breaker.computed_state(), State::HalfOpen, "{kind:?}");
        assert_eq!(breaker.state(), kind.into());
        assert_eq!(notes.take(), []);
        breaker.release();
        assert_eq!(notes.take()[0].to, EffectiveState::HalfOpen);
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_only_announces_what_it_would_have_done() {
    let (breaker, notes) = observed(hystrix());
    breaker.force(order(OverrideKind::MetricsOnly));
    notes.take();
    calls(&breaker, Outcome::Failure, 2);
    advance(ms(200)).await;
    calls(&breaker, Outcome::Success, 1);
    let notes = notes.take();
    assert!(notes.iter().all(|note| note.from == note.to));
    let reasons: Vec<_> = notes.iter().map(|note| note.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "would have gone from closed to open: 100 % of 1 calls failed in 5 s (limit 40 %)",
            "would have gone from open to half_open: open time of 200 ms has passed",
            "would have gone from half_open to closed: probe succeeded in 10 ms",
        ]
    );
    assert_eq!(breaker.computed_state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn settings_change_without_losing_the_state() {
    let breaker = breaker(hystrix());
    let wrong = Settings {
        failure_rate_percent: 0.0,
        ..hystrix()
    };
    let error = breaker.update_settings(wrong).unwrap_err();
    assert_eq!(error.field, "failure_rate_percent");
    calls(&breaker, Outcome::Success, 10);
    calls(&breaker, Outcome::Failure, 2);
    let stricter = Settings {
        failure_rate_percent: 20.0,
        ..hystrix()
    };
    breaker.update_settings(stricter.clone()).unwrap();
    assert_eq!(*breaker.settings(), stricter);
    assert_eq!(breaker.snapshot().window.calls, 12, "the window stays");
    calls(&breaker, Outcome::Failure, 1);
    assert_eq!(breaker.state(), EffectiveState::Open, "3 of 13 are 23 %");
    let wider = Settings {
        open_duration: Duration::from_secs(9),
        window: WindowSettings::Count { calls: 4 },
        ..stricter
    };
    breaker.update_settings(wider).unwrap();
    assert_eq!(breaker.state(), EffectiveState::Open, "the state stays");
    advance(ms(200)).await;
    calls(&breaker, Outcome::Failure, 1);
    assert_eq!(
        breaker.try_acquire().unwrap_err().retry_after,
        Duration::from_secs(9)
    );
}

/// Scenario: an inner breaker refused. Guarantees: the call ends, and does not count for this breaker's target.
#[tokio::test(start_paused = true)]
async fn a_refusal_further_in_is_no_verdict() {
    let breaker = breaker(hystrix());
    calls(&breaker, Outcome::Rejected, 3);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.calls.cancelled, snapshot.calls.rejected), (3, 0));
    assert_eq!((snapshot.in_flight, snapshot.window.calls), (0, 0));
}
