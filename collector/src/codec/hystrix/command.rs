//! A command: its circuit, its rolling counts, its latencies and its settings.

use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, OverrideKind};

use super::value::Fields;
use crate::model::{CircuitCalls, CircuitSettings, OwnWindow, UnixNanos};

/// The percentiles in a stream, with their fractions.
pub(crate) const PERCENTILES: [(&str, f64); 8] = [
    ("25", 0.25),
    ("50", 0.5),
    ("75", 0.75),
    ("90", 0.9),
    ("95", 0.95),
    ("99", 0.99),
    ("99.5", 0.995),
    ("100", 1.0),
];

/// Hystrix's default rolling window.
const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
/// Longest accepted window.
const WINDOW_MAX: Duration = Duration::from_secs(3_600);

/// A command of one host, or summed over all hosts of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Command {
    pub(crate) name: String,
    /// Its thread pool, if its calls run on one.
    pub(crate) pool: Option<String>,
    pub(crate) pool_rejected: u64,
    pub(crate) hosts: u64,
    /// When it was read, by the sender's clock; 0 if unknown.
    pub(crate) time: UnixNanos,
    pub(crate) state: EffectiveState,
    pub(crate) window: Duration,
    pub(crate) calls: CircuitCalls,
    /// Error percentage and number of requests, as Hystrix computes them over its window.
    pub(crate) own_window: OwnWindow,
    pub(crate) in_flight: u32,
    /// Latencies at [`PERCENTILES`], milliseconds.
    pub(crate) percentiles_ms: [f64; 8],
    pub(crate) settings: CircuitSettings,
}

impl Command {
    /// `None` without a name.
    pub(super) fn read(fields: &Fields<'_>) -> Option<Self> {
        let window = fields.setting("metricsRollingStatisticalWindowInMilliseconds");
        let window = window.map_or(DEFAULT_WINDOW, |ms| {
            Duration::from_secs_f64(ms.min(1e9) / 1e3)
        });
        let is_pooled = fields.text("propertyValue_executionIsolationStrategy") == Some("THREAD");
        let percentile = |name: &str| fields.mean(name, Some("latencyExecute"));
        Some(Self {
            name: fields.name("name")?,
            pool: fields.name("threadPool").filter(|_| is_pooled),
            pool_rejected: fields.count("rollingCountThreadPoolRejected"),
            hosts: fields.hosts,
            time: UnixNanos::new(fields.count("currentTime").saturating_mul(1_000_000)),
            state: state(fields),
            window: window.clamp(Duration::from_secs(1), WINDOW_MAX),
            calls: calls(fields),
            own_window: OwnWindow {
                failure_percent: fields.mean("errorPercentage", None),
                slow_percent: None,
                calls: Some(fields.count("requestCount")),
            },
            in_flight: u32::try_from(fields.count("currentConcurrentExecutionCount"))
                .unwrap_or(u32::MAX),
            percentiles_ms: PERCENTILES.map(|(name, _)| percentile(name).unwrap_or(0.0)),
            settings: settings(fields),
        })
    }

    pub(crate) fn forced(&self) -> Option<OverrideKind> {
        match self.state {
            EffectiveState::ForcedOpen => Some(OverrideKind::ForcedOpen),
            EffectiveState::ForcedClosed => Some(OverrideKind::ForcedClosed),
            EffectiveState::Disabled => Some(OverrideKind::Disabled),
            _ => None,
        }
    }
}

/// Hystrix reports a half-open circuit as open.
fn state(fields: &Fields<'_>) -> EffectiveState {
    let everywhere = |name| fields.truth_everywhere(name) == Some(true);
    if everywhere("propertyValue_circuitBreakerForceOpen") {
        EffectiveState::ForcedOpen
    } else if everywhere("propertyValue_circuitBreakerForceClosed") {
        EffectiveState::ForcedClosed
    } else if fields.truth("propertyValue_circuitBreakerEnabled") == Some(false) {
        EffectiveState::Disabled
    } else if fields.truth("isCircuitBreakerOpen") == Some(true) {
        EffectiveState::Open
    } else {
        EffectiveState::Closed
    }
}

fn calls(fields: &Fields<'_>) -> CircuitCalls {
    let count = |name: &str| fields.count(&format!("rollingCount{name}"));
    CircuitCalls {
        success: count("Success"),
        failure: count("Failure"),
        timeout: count("Timeout"),
        rejected: count("ShortCircuited"),
        bulkhead_full: count("SemaphoreRejected") + count("ThreadPoolRejected"),
        ignored: count("BadRequests"),
        cancelled: 0,
        fallback_success: count("FallbackSuccess"),
        fallback_failure: count("FallbackFailure")
            + count("FallbackRejection")
            + count("FallbackMissing"),
    }
}

fn settings(fields: &Fields<'_>) -> CircuitSettings {
    let whole = |name: &str| fields.setting(name).map(|value| value.min(1e12) as u64);
    CircuitSettings {
        group: fields.name("group").unwrap_or_default(),
        window_ms: whole("metricsRollingStatisticalWindowInMilliseconds"),
        minimum_calls: whole("circuitBreakerRequestVolumeThreshold"),
        failure_rate_percent: fields.setting("circuitBreakerErrorThresholdPercentage"),
        open_duration_ms: whole("circuitBreakerSleepWindowInMilliseconds"),
        timeout_ms: whole("executionTimeoutInMilliseconds")
            .or_else(|| whole("executionIsolationThreadTimeoutInMilliseconds")),
        max_concurrent: whole("executionIsolationSemaphoreMaxConcurrentRequests"),
        fallback_max_concurrent: whole("fallbackIsolationSemaphoreMaxConcurrentRequests"),
        half_open_probes: Some(1),
        bulkhead_full_is_failure: Some(true),
        ..CircuitSettings::default()
    }
}
