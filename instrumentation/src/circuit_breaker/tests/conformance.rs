//! Hystrix's scenarios for the breaker itself (reference section 5, numbers 1-9, 30 and 32), and scenarios that fail in
//! Hystrix: a late success, short-circuits, bad requests, dropped and hanging probes.

use tokio::time::advance;

use super::*;
use crate::circuit_breaker::State;

/// Scenario 1, testTripCircuit.
#[tokio::test(start_paused = true)]
async fn failures_open_it_and_calls_are_refused() {
    let breaker = breaker(hystrix());
    calls(&breaker, Outcome::Success, 4);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    calls(&breaker, Outcome::Failure, 4);
    assert_eq!(breaker.state(), EffectiveState::Open);
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.name, "inventory");
    assert_eq!(rejected.state, EffectiveState::Open);
    assert_eq!(rejected.retry_after, ms(200));
}

/// Scenario 2, testTripCircuitOnFailuresAboveThreshold.
#[tokio::test(start_paused = true)]
async fn half_of_the_calls_failing_opens_it_at_forty_percent() {
    let breaker = breaker(Settings {
        minimum_calls: 8,
        ..hystrix()
    });
    calls(&breaker, Outcome::Success, 4);
    calls(&breaker, Outcome::Failure, 4);
    assert_eq!(breaker.state(), EffectiveState::Open);
}

/// Scenario 3, testCircuitDoesNotTripOnFailuresBelowThreshold: 3 of 8 are 37 %.
#[tokio::test(start_paused = true)]
async fn fewer_failures_than_the_limit_leave_it_closed() {
    let breaker = breaker(hystrix());
    calls(&breaker, Outcome::Success, 5);
    calls(&breaker, Outcome::Failure, 3);
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Scenarios 4 and 5, testTripCircuitOnTimeouts and ...AboveThreshold.
#[tokio::test(start_paused = true)]
async fn timeouts_open_it_too() {
    let only = breaker(hystrix());
    calls(&only, Outcome::Timeout, 4);
    assert_eq!(only.state(), EffectiveState::Open);
    let mixed = breaker(hystrix());
    calls(&mixed, Outcome::Success, 4);
    calls(&mixed, Outcome::Timeout, 5);
    assert_eq!(mixed.state(), EffectiveState::Open);
}

/// Scenario 6, testSingleTestOnOpenCircuitAfterTimeWindow.
#[tokio::test(start_paused = true)]
async fn one_probe_passes_after_the_open_time_and_no_other_call() {
    let breaker = breaker(hystrix());
    calls(&breaker, Outcome::Failure, 4);
    advance(ms(250)).await;
    assert_eq!(breaker.state(), EffectiveState::Open, "until the next call");
    let probe = breaker.try_acquire().unwrap();
    assert!(probe.is_probe());
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    let rejected = breaker.try_acquire().unwrap_err();
    assert_eq!(rejected.state, EffectiveState::HalfOpen);
    assert_eq!(
        rejected.retry_after,
        ms(200),
        "as long as it would open again"
    );
    drop(probe);
}

/// Scenario 7, testCircuitClosedAfterSuccess.
#[tokio::test(start_paused = true)]
async fn a_good_probe_closes_it_and_old_failures_are_forgotten() {
    let (breaker, notes) = observed(hystrix());
    ready_for_probe(&breaker).await;
    let probe = breaker.try_acquire().unwrap();
    assert!(breaker.try_acquire().is_err());
    probe.record(Outcome::Success, ms(33));
    assert_eq!(breaker.state(), EffectiveState::Closed);
    advance(ms(100)).await;
    calls(&breaker, Outcome::Success, 1);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    assert_eq!(breaker.snapshot().window.errors, 0);
    let reasons = notes.reasons();
    assert_eq!(
        reasons,
        [
            "100 % of 1 calls failed in 5 s (limit 40 %)",
            "open time of 200 ms has passed",
            "probe succeeded in 33 ms",
        ]
    );
}

/// Scenario 9, testLowVolumeDoesNotTripCircuit.
#[tokio::test(start_paused = true)]
async fn few_calls_never_open_it() {
    let breaker = breaker(Settings {
        minimum_calls: 5,
        ..hystrix()
    });
    calls(&breaker, Outcome::Failure, 4);
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Scenario: most calls failed, but there are too few; a success completes the minimum number. Guarantees: the breaker
/// opens, whichever call completes the minimum.
#[tokio::test(start_paused = true)]
async fn a_success_that_completes_the_volume_may_open_it() {
    let breaker = breaker(Settings {
        minimum_calls: 5,
        ..hystrix()
    });
    calls(&breaker, Outcome::Failure, 4);
    calls(&breaker, Outcome::Success, 1);
    assert_eq!(breaker.state(), EffectiveState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_opens_it_for_the_whole_time_again() {
    let (breaker, notes) = observed(hystrix());
    ready_for_probe(&breaker).await;
    let probe = breaker.try_acquire().unwrap();
    advance(ms(1_000)).await;
    probe.record(Outcome::Timeout, ms(1_000));
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after, ms(200));
    assert_eq!(
        notes.reasons().last().unwrap(),
        "probe timed out after 1.00 s"
    );
    advance(ms(200)).await;
    calls(&breaker, Outcome::Failure, 1);
    assert_eq!(notes.reasons().last().unwrap(), "probe failed");
}

/// Scenario 30, HealthCountsStreamTest: errors of judged calls.
#[tokio::test(start_paused = true)]
async fn health_counts_what_hystrix_counts() {
    let window = |outcomes: &[(Outcome, usize)]| {
        let breaker = breaker(Settings {
            minimum_calls: 1_000,
            ..hystrix()
        });
        for (outcome, count) in outcomes {
            calls(&breaker, *outcome, *count);
        }
        let window = breaker.snapshot().window;
        (window.errors, window.calls)
    };
    assert_eq!(window(&[(Outcome::Success, 1)]), (0, 1));
    assert_eq!(window(&[(Outcome::Failure, 1)]), (1, 1));
    assert_eq!(window(&[(Outcome::Timeout, 1)]), (1, 1));
    assert_eq!(window(&[(Outcome::Ignored, 1)]), (0, 0));
    assert_eq!(window(&[(Outcome::Cancelled, 1)]), (0, 0));
    let rejected = [(Outcome::Success, 10), (Outcome::BulkheadFull, 2)];
    assert_eq!(window(&rejected), (2, 12));
}

/// Scenario 30: three failures and two short-circuits are three calls; all calls leave the window.
#[tokio::test(start_paused = true)]
async fn refused_calls_are_no_part_of_health_and_all_ages_out() {
    let breaker = breaker(Settings {
        minimum_calls: 3,
        open_duration: Duration::from_secs(60),
        ..hystrix()
    });
    calls(&breaker, Outcome::Failure, 5);
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.window.errors, snapshot.window.calls), (3, 3));
    assert_eq!((snapshot.calls.failure, snapshot.calls.rejected), (3, 2));
    advance(Duration::from_secs(5)).await;
    assert_eq!(breaker.snapshot().window.calls, 0);
    assert_eq!(breaker.snapshot().calls.failure, 3, "totals stay");
}

/// Scenario 32, RollingCommandLatencyDistributionStreamTest: timeouts and the caller's mistakes have durations; refusals
/// and calls without a slot have none.
#[tokio::test(start_paused = true)]
async fn durations_are_those_of_calls_that_ran() {
    for (outcome, count) in [
        (Outcome::Success, 1),
        (Outcome::Failure, 1),
        (Outcome::Timeout, 1),
        (Outcome::Ignored, 1),
        (Outcome::BulkheadFull, 0),
        (Outcome::Cancelled, 0),
    ] {
        let breaker = breaker(Settings {
            minimum_calls: 1_000,
            ..hystrix()
        });
        calls(&breaker, outcome, 1);
        let latency = breaker.snapshot().latency;
        assert_eq!(latency.merged().count(), count, "{outcome:?}");
    }
    let open = breaker(hystrix());
    calls(&open, Outcome::Failure, 3);
    assert_eq!(open.snapshot().calls.rejected, 2);
    assert_eq!(open.snapshot().latency.merged().count(), 1);
}

/// Ours (a). Scenario: a call from before the opening succeeds while a probe is running.
#[tokio::test(start_paused = true)]
async fn a_late_success_closes_nothing() {
    let breaker = breaker(hystrix());
    let old = breaker.try_acquire().unwrap();
    let older = breaker.try_acquire().unwrap();
    ready_for_probe(&breaker).await;
    let probe = breaker.try_acquire().unwrap();
    old.record(Outcome::Success, ms(200));
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    older.record(Outcome::Failure, ms(200));
    assert_eq!(breaker.state(), EffectiveState::HalfOpen, "nor opens it");
    probe.record(Outcome::Success, ms(1));
    assert_eq!(breaker.state(), EffectiveState::Closed);
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.window.calls, 0, "late results are in no window");
    assert_eq!((snapshot.calls.success, snapshot.calls.failure), (2, 2));
}

/// Ours (b): in Hystrix, short-circuits open it again, so it never closes under load.
#[tokio::test(start_paused = true)]
async fn refused_calls_do_not_disturb_the_probe() {
    let breaker = breaker(hystrix());
    ready_for_probe(&breaker).await;
    let probe = breaker.try_acquire().unwrap();
    for _ in 0..1_000 {
        assert!(breaker.try_acquire().is_err());
    }
    probe.record(Outcome::Success, ms(1));
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Ours (c) and (d): a probe that says nothing about the target decides nothing and frees its slot.
#[tokio::test(start_paused = true)]
async fn a_probe_without_a_verdict_frees_its_slot() {
    for outcome in [Outcome::Ignored, Outcome::BulkheadFull, Outcome::Cancelled] {
        let breaker = breaker(hystrix());
        ready_for_probe(&breaker).await;
        let probe = breaker.try_acquire().unwrap();
        match outcome {
            Outcome::Cancelled => drop(probe),
            outcome => probe.record(outcome, ms(1)),
        }
        assert_eq!(breaker.state(), EffectiveState::HalfOpen, "{outcome:?}");
        let next = breaker.try_acquire().unwrap();
        assert!(next.is_probe());
        next.record(Outcome::Success, ms(1));
        assert_eq!(breaker.state(), EffectiveState::Closed);
        assert_eq!(breaker.snapshot().in_flight, 0);
    }
}

/// Ours (e): a hanging probe loses its slot, and its late failure does not outweigh the success of the next probe.
#[tokio::test(start_paused = true)]
async fn a_hung_probe_is_replaced_after_its_lease() {
    let breaker = breaker(Settings {
        probe_lease: ms(3_000),
        ..hystrix()
    });
    ready_for_probe(&breaker).await;
    let hung = breaker.try_acquire().unwrap();
    advance(ms(2_999)).await;
    assert!(breaker.try_acquire().is_err());
    advance(ms(1)).await;
    let second = breaker.try_acquire().unwrap();
    hung.record(Outcome::Failure, ms(3_000));
    assert_eq!(breaker.state(), EffectiveState::HalfOpen);
    second.record(Outcome::Success, ms(1));
    assert_eq!(breaker.state(), EffectiveState::Closed);
}

/// Ours (f): after any number of successes, one window of failures opens it.
#[tokio::test(start_paused = true)]
async fn any_number_of_successes_delays_opening_by_a_window_at_most() {
    for successes in [0, 100, 100_000] {
        let breaker = breaker(Settings::default());
        calls(&breaker, Outcome::Success, successes);
        let mut waited = Duration::ZERO;
        while breaker.state() == EffectiveState::Closed {
            assert!(waited <= Duration::from_secs(10), "{successes}");
            calls(&breaker, Outcome::Failure, 10);
            advance(ms(500)).await;
            waited += ms(500);
        }
    }
}

/// Ours (g): the state set of every snapshot has exactly one member, and it is the state in force.
#[tokio::test(start_paused = true)]
async fn exactly_one_state_is_in_force() {
    let breaker = breaker(hystrix());
    let in_force = || {
        let state = breaker.snapshot().state;
        let matching = EffectiveState::ALL.iter().filter(|s| **s == state);
        assert_eq!(matching.count(), 1);
        state
    };
    assert_eq!(in_force(), EffectiveState::Closed);
    ready_for_probe(&breaker).await;
    assert_eq!(in_force(), EffectiveState::Open);
    let probe = breaker.try_acquire().unwrap();
    assert_eq!(in_force(), EffectiveState::HalfOpen);
    probe.record(Outcome::Success, ms(1));
    assert_eq!(in_force(), EffectiveState::Closed);
}

/// Scenario: three probes at a limit of 40 %. Guarantees: one may fail, two may not.
#[tokio::test(start_paused = true)]
async fn several_probes_decide_by_the_limit() {
    let settings = Settings {
        half_open_probes: 3,
        ..hystrix()
    };
    for (failures, state, reason) in [
        (1, State::Closed, "2 of 3 probes succeeded"),
        (2, State::Open, "2 of 3 probes failed"),
    ] {
        let (breaker, notes) = observed(settings.clone());
        ready_for_probe(&breaker).await;
        let probes: Vec<_> = (0..3).map(|_| breaker.try_acquire().unwrap()).collect();
        assert!(breaker.try_acquire().is_err(), "three slots, no more");
        for (n, probe) in probes.into_iter().enumerate() {
            let failed = n < failures;
            let outcome = if failed {
                Outcome::Failure
            } else {
                Outcome::Success
            };
            probe.record(outcome, ms(1));
        }
        assert_eq!(breaker.computed_state(), state);
        assert_eq!(notes.reasons().last().unwrap(), reason);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_calls_open_it_where_asked() {
    let (breaker, notes) = observed(Settings {
        slow_call_duration: Some(ms(1_000)),
        slow_call_rate_percent: 60.0,
        minimum_calls: 5,
        timeout: None,
        ..hystrix()
    });
    calls(&breaker, Outcome::Success, 2);
    for _ in 0..3 {
        breaker
            .try_acquire()
            .unwrap()
            .record(Outcome::Success, ms(1_001));
    }
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(
        notes.reasons(),
        ["60 % of 5 calls took longer than 1 s in 5 s (limit 60 %)"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_count_window_judges_the_last_calls() {
    let (breaker, notes) = observed(Settings {
        window: WindowSettings::Count { calls: 10 },
        minimum_calls: 10,
        ..hystrix()
    });
    calls(&breaker, Outcome::Success, 1_000);
    advance(Duration::from_secs(3_600)).await;
    calls(&breaker, Outcome::Failure, 3);
    assert_eq!(breaker.state(), EffectiveState::Closed);
    calls(&breaker, Outcome::Failure, 1);
    assert_eq!(breaker.state(), EffectiveState::Open);
    assert_eq!(
        notes.reasons(),
        ["40 % of the last 10 calls failed (limit 40 %)"]
    );
}
