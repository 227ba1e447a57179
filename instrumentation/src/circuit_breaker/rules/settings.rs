//! The settings of a breaker; the defaults are Hystrix's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of a breaker; they may change while it runs, without losing its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Which calls it judges by. Default: 10 s in 10 buckets.
    pub window: WindowSettings,
    /// Judged calls in the window before it may open. Default 20.
    pub minimum_calls: u32,
    /// Opens when at least this share of the judged calls was bad, percent. Default 50.
    pub failure_rate_percent: f64,
    /// Opens when at least `slow_call_rate_percent` took longer than this. Default: off.
    pub slow_call_duration: Option<Duration>,
    /// See `slow_call_duration`. Default 100.
    pub slow_call_rate_percent: f64,
    /// How long it stays open before a probe may pass. Default 5 s.
    pub open_duration: Duration,
    /// Probes that decide, by the limits above, whether it closes. Default 1.
    pub half_open_probes: u32,
    /// After that long a probe that has not answered loses its slot to another. Default 30 s.
    pub probe_lease: Duration,
    /// Time limit of a call in `Command`; `None`: no limit. Default 1 s.
    pub timeout: Option<Duration>,
    /// Concurrent calls that `Command` admits. Default 10.
    pub max_concurrent: u32,
    /// Concurrent fallbacks that `Command` admits. Default 10.
    pub fallback_max_concurrent: u32,
}

/// Which calls a breaker judges by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowSettings {
    /// The calls that ended in the last `duration`, forgotten a bucket at a time.
    Time {
        /// Its length.
        duration: Duration,
        /// Its buckets, 1 to 60.
        buckets: u32,
    },
    /// The last `calls` calls.
    Count {
        /// Its length, 1 to 4,096.
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
        }
    }
}
