//! The settings of a breaker as its instance reported them.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::SettingOrigin;
use serde::{Deserialize, Serialize};

/// The current settings as the instance reported them. `None` if its library has no such setting, if it is
/// off or unlimited, or if a build stored it that did not know it; JSON and disk have 0 instead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitSettings {
    /// The group under which the breaker is listed.
    pub group: String,
    /// Length of the window, milliseconds (time windows).
    #[serde(with = "zero_is_none")]
    pub window_ms: Option<u64>,
    /// Buckets of the window (time windows).
    #[serde(with = "zero_is_none")]
    pub window_buckets: Option<u64>,
    /// Length of the window, calls (count windows).
    #[serde(with = "zero_is_none")]
    pub window_calls: Option<u64>,
    /// Minimum of calls before it judges.
    #[serde(with = "zero_is_none")]
    pub minimum_calls: Option<u64>,
    /// Failure rate at which it opens, percent.
    #[serde(with = "zero_is_none")]
    pub failure_rate_percent: Option<f64>,
    /// Slow-call rate at which it opens, percent.
    #[serde(with = "zero_is_none")]
    pub slow_call_rate_percent: Option<f64>,
    /// Duration from which a call is slow, milliseconds.
    #[serde(with = "zero_is_none")]
    pub slow_call_duration_ms: Option<u64>,
    /// Whether slow calls count before they return; `null` in JSON if unknown.
    pub count_unfinished_slow_calls: Option<bool>,
    /// How long it stays open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub open_duration_ms: Option<u64>,
    /// Factor by which each further open period is longer.
    #[serde(with = "zero_is_none")]
    pub open_duration_factor: Option<f64>,
    /// Longest open period, milliseconds.
    #[serde(with = "zero_is_none")]
    pub open_duration_max_ms: Option<u64>,
    /// Random variation of an open period, percent.
    #[serde(with = "zero_is_none")]
    pub open_duration_jitter_percent: Option<f64>,
    /// Whether it becomes half-open without a call; `null` in JSON if unknown.
    pub automatic_half_open: Option<bool>,
    /// Longest time in half-open, milliseconds.
    #[serde(with = "zero_is_none")]
    pub half_open_max_duration_ms: Option<u64>,
    /// Probes allowed when half-open.
    #[serde(with = "zero_is_none")]
    pub half_open_probes: Option<u64>,
    /// How long a probe without an answer keeps its slot, milliseconds.
    #[serde(with = "zero_is_none")]
    pub probe_lease_ms: Option<u64>,
    /// Time limit of a call, milliseconds.
    #[serde(with = "zero_is_none")]
    pub timeout_ms: Option<u64>,
    /// Concurrent calls allowed.
    #[serde(with = "zero_is_none")]
    pub max_concurrent: Option<u64>,
    /// Concurrent fallbacks allowed.
    #[serde(with = "zero_is_none")]
    pub fallback_max_concurrent: Option<u64>,
    /// Whether a call without a slot counts as a failure; `null` in JSON if unknown.
    pub bulkhead_full_is_failure: Option<bool>,
    /// Where the service's own values come from, by the names of settings files; those that are not listed are the library's.
    /// `None` if it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<BTreeMap<String, SettingOrigin>>,
}

/// Serialises an optional number, with zero for `None`.
pub(crate) mod zero_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn some<N: Default + PartialOrd>(number: N) -> Option<N> {
        Some(number).filter(|number| *number > N::default())
    }

    pub(crate) fn serialize<N: Copy + Default + Serialize, S: Serializer>(
        number: &Option<N>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        number.unwrap_or_default().serialize(serializer)
    }

    pub(crate) fn deserialize<
        'de,
        N: Default + PartialOrd + Deserialize<'de>,
        D: Deserializer<'de>,
    >(
        deserializer: D,
    ) -> Result<Option<N>, D::Error> {
        N::deserialize(deserializer).map(some)
    }
}
