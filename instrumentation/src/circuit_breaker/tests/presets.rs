//! Tests of the presets, and of their effect for a healthy target that receives more calls than slots allow.

use tokio::time::{interval, sleep};

use super::*;

/// Every default of Hystrix that a breaker or a command has.
#[test]
fn hystrix_is_hystrix_in_every_default() {
    let expected = Settings {
        window: WindowSettings::Time {
            duration: ms(10_000),
            buckets: 20, // Health snapshots of 500 ms, not the ten buckets of the rolling statistics.
        },
        minimum_calls: 20,
        failure_rate_percent: 50.0,
        slow_call_duration: None,
        slow_call_rate_percent: 100.0,
        count_unfinished_slow_calls: false,
        open_duration: ms(5_000),
        open_duration_factor: 1.0,
        open_duration_max: None,
        open_duration_jitter_percent: 0.0,
        automatic_half_open: false,
        half_open_max_duration: None,
        half_open_probes: 1,
        probe_lease: ms(5_000),
        timeout: Some(ms(1_000)),
        max_concurrent: 10,
        fallback_max_concurrent: 10,
        bulkhead_full_is_failure: true,
    };
    assert_eq!(Settings::hystrix(), expected);
    assert_eq!(expected.validate(), Ok(()));
}

/// Every default of resilience4j that a breaker has.
#[test]
fn resilience4j_is_resilience4j_in_every_default() {
    let expected = Settings {
        window: WindowSettings::Count { calls: 100 },
        minimum_calls: 100,
        failure_rate_percent: 50.0,
        slow_call_duration: Some(ms(60_000)),
        slow_call_rate_percent: 100.0,
        count_unfinished_slow_calls: false,
        open_duration: ms(60_000),
        open_duration_factor: 1.0,
        open_duration_max: None,
        open_duration_jitter_percent: 0.0,
        automatic_half_open: false,
        half_open_max_duration: None,
        half_open_probes: 10,
        probe_lease: ms(60_000),
        timeout: None,
        max_concurrent: 25,
        fallback_max_concurrent: 25,
        bulkhead_full_is_failure: false,
    };
    assert_eq!(Settings::resilience4j(), expected);
    assert_eq!(expected.validate(), Ok(()));
}

/// Makes 150 calls a second for a minute to a target that answers after 100 ms, so that 15 would run concurrently.
async fn a_minute_of_load(settings: Settings) -> CircuitBreaker {
    let breaker = breaker(settings);
    let mut tick = interval(Duration::from_micros(6_667));
    for _ in 0..9_000 {
        tick.tick().await;
        let command = breaker.command().run(|| async {
            sleep(ms(100)).await;
            Ok::<_, std::io::Error>(())
        });
        tokio::spawn(async move { command.execute().await.is_ok() });
    }
    sleep(ms(200)).await;
    breaker
}

/// Scenario: a healthy target receives more calls than there are slots. Guarantees: calls beyond the slots find none,
/// and the breaker stays closed for the others.
#[tokio::test(start_paused = true)]
async fn too_many_calls_do_not_shut_off_a_healthy_target() {
    let breaker = a_minute_of_load(Settings::default()).await;
    let snapshot = breaker.snapshot();
    assert_eq!(snapshot.state, EffectiveState::Closed);
    assert_eq!((snapshot.calls.rejected, snapshot.window.errors), (0, 0));
    assert_eq!(snapshot.calls.success + snapshot.calls.bulkhead_full, 9_000);
    assert!(snapshot.calls.success >= 5_000, "{:?}", snapshot.calls);
}

/// Guarantees: Hystrix's rule can be enabled.
#[tokio::test(start_paused = true)]
async fn with_the_rule_of_hystrix_they_open_it() {
    let strict = Settings {
        failure_rate_percent: 20.0,
        ..Settings::hystrix()
    };
    let breaker = a_minute_of_load(strict).await;
    assert!(breaker.snapshot().calls.rejected > 1_000);
}
