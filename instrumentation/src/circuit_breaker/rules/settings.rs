//! The settings of a breaker. The defaults are Hystrix's, except that a full bulkhead is no failure; `presets` has the
//! whole set of Hystrix and that of resilience4j.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{duration_text, nanos};

/// The settings of a breaker; they may change while it runs, without losing its state.
///
/// In a settings file a duration may be text, keys that are left out keep their defaults, and keys that do not exist are
/// refused:
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
    /// The calls that decide. Default: those of 10 s, in 10 buckets.
    pub window: WindowSettings,
    /// Calls in the window before the breaker may open; 0 is as 1. Default 20.
    pub minimum_calls: u32,
    /// Share of failed calls, percent, at which the breaker opens. Default 50.
    pub failure_rate_percent: f64,
    /// Calls that take longer are slow; see `slow_call_rate_percent`. At most `timeout`. Default: off.
    #[serde(deserialize_with = "duration_text::optional")]
    /// Of an HTTP call through the layer or the client, the time to the head of the response is compared.
    pub slow_call_duration: Option<Duration>,
    /// Share of slow calls, percent, at which the breaker opens. Default 100.
    pub slow_call_rate_percent: f64,
    /// Whether a call that is slow counts as such before it returns: while it runs, seen by the next call, result or reader,
    /// and when its caller gives it up, as a timeout further out does by dropping the future. Default: yes.
    pub count_unfinished_slow_calls: bool,
    /// How long the breaker stays open before it admits a probe, the first time. Default 5 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub open_duration: Duration,
    /// By how much each further time in open is longer than the one before, until the breaker closes: 1 for always the same,
    /// 2 for twice as long. Above 1 it needs `open_duration_max`. Default 1.
    pub open_duration_factor: f64,
    /// Longest time in open, jitter included. Default: none.
    #[serde(deserialize_with = "duration_text::optional")]
    pub open_duration_max: Option<Duration>,
    /// By how much a time in open is longer or shorter at random, percent, so that the breakers of many instances do not
    /// all probe at once. Default 0.
    pub open_duration_jitter_percent: f64,
    /// Whether the breaker becomes half-open by itself after its time in open, so that listeners, `state()` and exporters
    /// say so; without it, it stays open until the next call. Default: no.
    pub automatic_half_open: bool,
    /// Longest time in half-open: after it the breaker opens again. Probes that are under way then may still close it.
    /// Default: none; a breaker that gets too few results stays half-open.
    #[serde(deserialize_with = "duration_text::optional")]
    pub half_open_max_duration: Option<Duration>,
    /// Probes that decide, by the limits above, whether the breaker closes. Default 1.
    pub half_open_probes: u32,
    /// How long a probe keeps its slot; after that another probe may take it. Its result counts however late it comes.
    /// Default 30 s.
    #[serde(deserialize_with = "duration_text::required")]
    pub probe_lease: Duration,
    /// Timeout of a call in `Command`; `None` for no timeout. Default 1 s.
    #[serde(deserialize_with = "duration_text::optional")]
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

/// Compares settings field by field; one that is not named does not compile.
macro_rules! compare {
    ($left:ident, $right:ident: $($field:ident,)*) => {{
        let Settings { $($field,)* } = $left;
        [$((stringify!($field), *$field == $right.$field),)*]
    }};
}

impl Settings {
    /// The longest duration of a call that is not slow, nanoseconds.
    pub(crate) fn slow_above(&self) -> u64 {
        self.slow_call_duration.map_or(u64::MAX, nanos)
    }

    /// After how many nanoseconds a call counts as slow although it has not returned.
    pub(crate) fn slow_before_return(&self) -> Option<u64> {
        let limit = self.slow_call_duration.map(nanos);
        limit.filter(|_| self.count_unfinished_slow_calls)
    }

    /// The names of the settings in which the two differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let compared = compare! { self, other:
            window,
            minimum_calls,
            failure_rate_percent,
            slow_call_duration,
            slow_call_rate_percent,
            count_unfinished_slow_calls,
            open_duration,
            open_duration_factor,
            open_duration_max,
            open_duration_jitter_percent,
            automatic_half_open,
            half_open_max_duration,
            half_open_probes,
            probe_lease,
            timeout,
            max_concurrent,
            fallback_max_concurrent,
            bulkhead_full_is_failure,
        };
        let different = compared.into_iter().filter(|(_, equal)| !equal);
        different.map(|(name, _)| name).collect()
    }
}
