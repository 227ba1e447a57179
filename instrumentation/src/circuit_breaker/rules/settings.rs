//! The settings of a breaker. The defaults are Hystrix's, except that a full bulkhead does not count as a failure;
//! `presets` has the complete defaults of Hystrix and of resilience4j.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{duration_text, nanos};

/// The settings of a breaker. They can be changed at runtime without losing the breaker's state.
///
/// In a settings file durations may be text, missing keys have their defaults, and unknown keys are refused:
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::circuit_breaker::Settings;
///
/// let file = r#"{ "minimum_calls": 10, "open_duration": "30s", "timeout": "250ms",
///     "window": { "time": { "duration": "1m", "buckets": 12 } } }"#;
/// let settings: Settings = serde_json::from_str(file)?;
/// assert_eq!(settings.open_duration, Duration::from_secs(30));
/// settings.validate().expect("they contradict neither themselves nor each other");
/// assert!(serde_json::from_str::<Settings>(r#"{ "minimum_cals": 10 }"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The calls from which the state is computed. Default: the calls of the last 10 s, in 10 buckets.
    pub window: WindowSettings,
    /// Number of calls in the window from which on the breaker may open; 0 means 1. Default 20.
    pub minimum_calls: u32,
    /// Share of failed calls, percent, at which the breaker opens. Default 50.
    pub failure_rate_percent: f64,
    /// Calls that take longer are slow; see `slow_call_rate_percent`. At most `timeout`. Default: off.
    #[serde(deserialize_with = "duration_text::optional")]
    /// For an HTTP call through the layer or the client, the time to the head of the response is compared.
    pub slow_call_duration: Option<Duration>,
    /// Share of slow calls, percent, at which the breaker opens. Default 100.
    pub slow_call_rate_percent: f64,
    /// Whether a slow call counts before it returns: while it is running, as soon as another call, result or reader
    /// evaluates the window, and when its caller drops it, as an outer timeout does. Default: yes.
    pub count_unfinished_slow_calls: bool,
    /// How long the breaker stays open before it admits a probe, when it opens for the first time. Default 5 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub open_duration: Duration,
    /// The factor by which the open time grows with each further opening, until the breaker closes: 1 for a constant
    /// time, 2 to double it. A factor above 1 requires `open_duration_max`. Default 1.
    pub open_duration_factor: f64,
    /// Longest open time, including jitter. Default: none.
    #[serde(deserialize_with = "duration_text::optional")]
    pub open_duration_max: Option<Duration>,
    /// The random deviation of each open time, percent, so that the breakers of many instances do not all probe at the
    /// same time. Default 0.
    pub open_duration_jitter_percent: f64,
    /// Whether the breaker becomes half-open by itself after its open time, visible to listeners, `state()` and
    /// exporters; otherwise it stays open until the next call. Default: no.
    pub automatic_half_open: bool,
    /// Longest half-open time: after it the breaker opens again. Probes that are still running may then still close it.
    /// Default: none; a breaker with too few results stays half-open.
    #[serde(deserialize_with = "duration_text::optional")]
    pub half_open_max_duration: Option<Duration>,
    /// Number of probes that decide, by the limits above, whether the breaker closes. Default 1.
    pub half_open_probes: u32,
    /// How long a probe keeps its slot; after that another probe may take the slot. Its result counts even if it comes
    /// later. Default 30 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub probe_lease: Duration,
    /// Timeout of a call in `Command`; `None` for no timeout. Default 1 s.
    #[serde(deserialize_with = "duration_text::optional")]
    pub timeout: Option<Duration>,
    /// Most concurrent calls of `Command`. Default 10.
    pub max_concurrent: u32,
    /// Most concurrent fallbacks of `Command`. Default 10.
    pub fallback_max_concurrent: u32,
    /// Whether a call that finds no free slot of `max_concurrent` counts as a failure, although the target was not
    /// called. Default: no. In Hystrix it does: more load than slots opens the breaker of a healthy target.
    pub bulkhead_full_is_failure: bool,
}

/// The calls from which the state of a breaker is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WindowSettings {
    /// The calls that ended within `duration`; they leave the window one bucket at a time.
    Time {
        /// Length of the window.
        #[serde(deserialize_with = "duration_text::required")]
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
            count_unfinished_slow_calls: true,
            open_duration: Duration::from_secs(5),
            open_duration_factor: 1.0,
            open_duration_max: None,
            open_duration_jitter_percent: 0.0,
            automatic_half_open: false,
            half_open_max_duration: None,
            half_open_probes: 1,
            probe_lease: Duration::from_secs(30),
            timeout: Some(Duration::from_secs(1)),
            max_concurrent: 10,
            fallback_max_concurrent: 10,
            bulkhead_full_is_failure: false,
        }
    }
}

impl Settings {
    /// The longest duration of a call that is not slow, nanoseconds.
    pub(crate) fn slow_above(&self) -> u64 {
        self.slow_call_duration.map_or(u64::MAX, nanos)
    }

    /// The nanoseconds after which a running call counts as slow, if running calls count.
    pub(crate) fn slow_before_return(&self) -> Option<u64> {
        let limit = self.slow_call_duration.map(nanos);
        limit.filter(|_| self.count_unfinished_slow_calls)
    }
}
