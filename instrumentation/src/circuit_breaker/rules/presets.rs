//! The defaults of Hystrix and of resilience4j as settings, for services that migrate from them.

use std::time::Duration;

use super::settings::{Settings, WindowSettings};

impl Settings {
    /// Returns Hystrix's defaults: opens at 50 % of at least 20 calls in 10 s, counted in 20 health buckets of 500 ms;
    /// 5 s open; one probe; a timeout of 1 s; at most 10 concurrent calls and 10 concurrent fallbacks. Timeouts and
    /// calls without a slot count as failures, cancelled calls are not counted.
    ///
    /// Hystrix has no limit of slow calls, so `slow_call_duration` is off. Its last release admits another probe one
    /// sleep window after the previous one, even if that has not returned, so `probe_lease` equals `open_duration`.
    pub fn hystrix() -> Self {
        Self {
            window: WindowSettings::Time {
                duration: Duration::from_secs(10),
                buckets: 20,
            },
            minimum_calls: 20,
            failure_rate_percent: 50.0,
            slow_call_duration: None,
            slow_call_rate_percent: 100.0,
            count_unfinished_slow_calls: false,
            open_duration: Duration::from_secs(5),
            open_duration_factor: 1.0,
            open_duration_max: None,
            open_duration_jitter_percent: 0.0,
            automatic_half_open: false,
            half_open_max_duration: None,
            half_open_probes: 1,
            probe_lease: Duration::from_secs(5),
            timeout: Some(Duration::from_secs(1)),
            max_concurrent: 10,
            fallback_max_concurrent: 10,
            bulkhead_full_is_failure: true,
        }
    }

    /// Returns resilience4j's defaults: opens if 50 % of the last 100 calls failed or all of them took longer than 60
    /// s; 60 s open; 10 probes.
    ///
    /// In resilience4j, bulkhead and time limiter are separate decorators. `Command` has both built in:
    /// `max_concurrent` and `fallback_max_concurrent` are the 25 calls of resilience4j's bulkhead, and `timeout` is off
    /// because the limit of a slow call is far above the time limiter's default of 1 s. Slow calls count when they
    /// return.
    pub fn resilience4j() -> Self {
        Self {
            window: WindowSettings::Count { calls: 100 },
            minimum_calls: 100,
            failure_rate_percent: 50.0,
            slow_call_duration: Some(Duration::from_secs(60)),
            slow_call_rate_percent: 100.0,
            count_unfinished_slow_calls: false,
            open_duration: Duration::from_secs(60),
            open_duration_factor: 1.0,
            open_duration_max: None,
            open_duration_jitter_percent: 0.0,
            automatic_half_open: false,
            half_open_max_duration: None,
            half_open_probes: 10,
            probe_lease: Duration::from_secs(60),
            timeout: None,
            max_concurrent: 25,
            fallback_max_concurrent: 25,
            bulkhead_full_is_failure: false,
        }
    }
}
