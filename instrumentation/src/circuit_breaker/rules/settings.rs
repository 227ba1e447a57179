//! The settings of a breaker. The defaults are Hystrix's, except that a full bulkhead is no failure; `presets` has the
//! whole set of Hystrix and that of resilience4j.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of a breaker; they may change while it runs, without losing its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The calls that decide. Default: those of 10 s, in 10 buckets.
    pub window: WindowSettings,
    /// Calls in the window before the breaker may open. Default 20.
    pub minimum_calls: u32,
    /// Share of failed calls, percent, at which the breaker opens. Default 50.
    pub failure_rate_percent: f64,
    /// Calls that take longer are slow; see `slow_call_rate_percent`. Default: off.
    pub slow_call_duration: Option<Duration>,
    /// Share of slow calls, percent, at which the breaker opens. Default 100.
    pub slow_call_rate_percent: f64,
    /// How long the breaker stays open before it admits a probe. Default 5 s.
    pub open_duration: Duration,
    /// Probes that decide, by the limits above, whether the breaker closes. Default 1.
    pub half_open_probes: u32,
    /// How long a probe keeps its slot; after that another probe may take it. Default 30 s.
    pub probe_lease: Duration,
    /// Timeout of a call in `Command`; `None` for no timeout. Default 1 s.
    pub timeout: Option<Duration>,
    /// Most concurrent calls of `Command`. Default 10.
    pub max_concurrent: u32,
    /// Most concurrent fallbacks of `Command`. Default 10.
    pub fallback_max_concurrent: u32,
    /// Whether a call that finds no free slot of `max_concurrent` counts as a failure of the target, which was not called.
    /// Default: no. Hystrix says yes: there, more load than slots opens the breaker of a healthy target.
    pub bulkhead_full_is_failure: bool,
}

/// The calls that decide about the state of a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowSettings {
    /// The calls that ended within `duration`; they leave the window one bucket at a time.
    Time {
        /// Length of the window.
        duration: Duration,
        /// Number of buckets, 1 to 60.
        buckets: u32,
    },
    /// The last `calls` calls.
    Count {
        /// Number of calls, 1 to 4,096.
        calls: u32,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: WindowSettings::Time {
                duration: Duration::from_secs(10),
                buckets: 10,
            },
            minimum_calls: 20,
            failure_rate_percent: 50.0,
            slow_call_duration: None,
            slow_call_rate_percent: 100.0,
            open_duration: Duration::from_secs(5),
            half_open_probes: 1,
            probe_lease: Duration::from_secs(30),
            timeout: Some(Duration::from_secs(1)),
            max_concurrent: 10,
            fallback_max_concurrent: 10,
            bulkhead_full_is_failure: false,
        }
    }
}
