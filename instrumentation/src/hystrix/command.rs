//! `HystrixCommand`, the object of a breaker: its state, the counts of the window, durations and settings.

use std::time::Duration;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::latency::LatencyMs;
use crate::circuit_breaker::{CallTotals, FallbackTotals, OverrideKind, Settings};

/// The figures of one breaker, or of the breakers of one name on several hosts.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandEvent<'a> {
    /// The name of the breaker.
    pub name: &'a str,
    /// Its group.
    pub group: &'a str,
    /// The pool that runs its calls; without a pool they are isolated by a semaphore.
    pub pool: Option<&'a str>,
    /// The current time, milliseconds since 1970.
    pub time_ms: u64,
    /// Number of reporting hosts, at least 1. Counts are sums over them.
    pub hosts: u64,
    /// Number of hosts whose breaker refuses calls: open, half-open or forced open.
    pub open_hosts: u64,
    /// The override in force.
    pub forced: Option<OverrideKind>,
    /// The counts of the window.
    pub counts: CommandCounts,
    /// Calls that are running.
    pub in_flight: u64,
    /// The most calls that ran at the same time in the window.
    pub max_in_flight: u64,
    /// Durations of calls that ran.
    pub latency: LatencyMs,
    /// Length of the window.
    pub window: Duration,
    /// Settings of the breaker.
    pub settings: CommandSettings,
}

/// Counts of a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandCounts {
    /// Calls by outcome.
    pub calls: CallTotals,
    /// The calls in `calls.bulkhead_full` that a pool refused.
    pub pool_rejected: u64,
    /// Fallbacks by outcome.
    pub fallbacks: FallbackTotals,
    /// Calls that were answered from a request cache.
    pub from_cache: u64,
    /// Calls that a collapser made for several callers.
    pub collapsed: u64,
}

/// The settings that the stream contains. A missing limit is sent as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CommandSettings {
    /// Number of calls before the breaker may open.
    pub minimum_calls: u64,
    /// Time in open.
    pub open_duration: Duration,
    /// Failure rate at which the breaker opens, percent.
    pub failure_rate_percent: f64,
    /// Time limit of a call.
    pub timeout: Option<Duration>,
    /// Most concurrent calls.
    pub max_concurrent: u64,
    /// Most concurrent fallbacks.
    pub fallback_max_concurrent: u64,
    /// Whether a call without a slot counts as a failure.
    pub bulkhead_full_is_failure: bool,
}

impl From<&Settings> for CommandSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            minimum_calls: settings.minimum_calls.into(),
            open_duration: settings.open_duration,
            failure_rate_percent: settings.failure_rate_percent,
            timeout: settings.timeout,
            max_concurrent: settings.max_concurrent.into(),
            fallback_max_concurrent: settings.fallback_max_concurrent.into(),
            bulkhead_full_is_failure: settings.bulkhead_full_is_failure,
        }
    }
}

/// The number of hosts by state of the breaker, which Turbine writes if the hosts differ.
#[derive(Debug, Serialize)]
struct ByOpen {
    #[serde(rename = "true")]
    open: u64,
    #[serde(rename = "false")]
    closed: u64,
}

impl CommandEvent<'_> {
    /// Returns the calls that count towards health, and the failed ones among them (Hystrix's health counts).
    fn health(&self) -> (u64, u64) {
        let calls = &self.counts.calls;
        let full = match self.settings.bulkhead_full_is_failure {
            true => calls.bulkhead_full,
            false => 0,
        };
        // Figures of other hosts come from outside and may overflow.
        let errors = calls.failure.saturating_add(calls.timeout);
        let errors = errors.saturating_add(full);
        (calls.success.saturating_add(errors), errors)
    }

    fn put_identity<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("type", "HystrixCommand")?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("group", self.group)?;
        map.serialize_entry("currentTime", &self.time_ms)?;
        let open = ByOpen {
            open: self.open_hosts,
            closed: self.hosts.saturating_sub(self.open_hosts),
        };
        match (self.hosts, open.open) {
            (0 | 1, open) => map.serialize_entry("isCircuitBreakerOpen", &(open > 0)),
            (_, 0) => map.serialize_entry("isCircuitBreakerOpen", &false),
            // The dashboard does not understand `true` for several hosts.
            _ => map.serialize_entry("isCircuitBreakerOpen", &open),
        }
    }

    fn put_health<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let (requests, errors) = self.health();
        let percent = (u128::from(errors) * 100).checked_div(requests.into());
        let percent = percent.map_or(0, |percent| percent as u64); // 100 at most.
        let sum = percent.saturating_mul(self.hosts.max(1));
        map.serialize_entry("errorPercentage", &sum)?;
        map.serialize_entry("errorCount", &errors)?;
        map.serialize_entry("requestCount", &requests)
    }

    fn put_counts<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let counts = &self.counts;
        let (calls, fallbacks) = (&counts.calls, &counts.fallbacks);
        let exceptions = calls.ignored.saturating_add(fallbacks.failure);
        let exceptions = exceptions.saturating_add(fallbacks.missing);
        let exceptions = exceptions.saturating_add(fallbacks.rejected);
        let by_semaphore = calls.bulkhead_full.saturating_sub(counts.pool_rejected);
        let fields = [
            ("rollingCountBadRequests", calls.ignored),
            ("rollingCountCollapsedRequests", counts.collapsed),
            ("rollingCountEmit", 0),
            ("rollingCountExceptionsThrown", exceptions),
            ("rollingCountFailure", calls.failure),
            ("rollingCountFallbackEmit", 0),
            ("rollingCountFallbackFailure", fallbacks.failure),
            ("rollingCountFallbackMissing", fallbacks.missing),
            ("rollingCountFallbackRejection", fallbacks.rejected),
            ("rollingCountFallbackSuccess", fallbacks.success),
            ("rollingCountResponsesFromCache", counts.from_cache),
            ("rollingCountSemaphoreRejected", by_semaphore),
            ("rollingCountShortCircuited", calls.rejected),
            ("rollingCountSuccess", calls.success),
            ("rollingCountThreadPoolRejected", counts.pool_rejected),
            ("rollingCountTimeout", calls.timeout),
            ("currentConcurrentExecutionCount", self.in_flight),
            ("rollingMaxConcurrentExecutionCount", self.max_in_flight),
        ];
        put_all(map, &fields)
    }

    fn put_latency<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let latency = self.latency.times(self.hosts.max(1));
        map.serialize_entry("latencyExecute_mean", &latency.mean())?;
        map.serialize_entry("latencyExecute", &latency)?;
        map.serialize_entry("latencyTotal_mean", &latency.mean())?;
        map.serialize_entry("latencyTotal", &latency)
    }

    fn put_settings<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let settings = &self.settings;
        let timeout = settings.timeout.map_or(0, whole_ms);
        let prefix = |name: &str| format!("propertyValue_{name}");
        for (name, value) in [
            (
                "circuitBreakerRequestVolumeThreshold",
                settings.minimum_calls,
            ),
            (
                "circuitBreakerSleepWindowInMilliseconds",
                whole_ms(settings.open_duration),
            ),
            (
                "circuitBreakerErrorThresholdPercentage",
                settings.failure_rate_percent.round() as u64,
            ),
            ("executionIsolationThreadTimeoutInMilliseconds", timeout),
            ("executionTimeoutInMilliseconds", timeout),
            (
                "executionIsolationSemaphoreMaxConcurrentRequests",
                settings.max_concurrent,
            ),
            (
                "fallbackIsolationSemaphoreMaxConcurrentRequests",
                settings.fallback_max_concurrent,
            ),
            (
                "metricsRollingStatisticalWindowInMilliseconds",
                whole_ms(self.window),
            ),
        ] {
            map.serialize_entry(&prefix(name), &value)?;
        }
        let is = |kind| self.forced == Some(kind);
        for (name, value) in [
            ("circuitBreakerForceOpen", is(OverrideKind::ForcedOpen)),
            ("circuitBreakerForceClosed", is(OverrideKind::ForcedClosed)),
            ("circuitBreakerEnabled", !is(OverrideKind::Disabled)),
            // A call that times out is dropped.
            ("executionIsolationThreadInterruptOnTimeout", true),
            ("requestCacheEnabled", true),
            ("requestLogEnabled", true),
        ] {
            map.serialize_entry(&prefix(name), &value)?;
        }
        let strategy = if self.pool.is_some() {
            "THREAD"
        } else {
            "SEMAPHORE"
        };
        map.serialize_entry(&prefix("executionIsolationStrategy"), strategy)?;
        map.serialize_entry(
            &prefix("executionIsolationThreadPoolKeyOverride"),
            &self.pool,
        )
    }
}

impl Serialize for CommandEvent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.put_identity(&mut map)?;
        self.put_health(&mut map)?;
        self.put_counts(&mut map)?;
        self.put_latency(&mut map)?;
        self.put_settings(&mut map)?;
        map.serialize_entry("reportingHosts", &self.hosts.max(1))?;
        map.serialize_entry("threadPool", self.pool.unwrap_or(self.group))?;
        map.end()
    }
}

pub(super) fn put_all<M: SerializeMap>(
    map: &mut M,
    fields: &[(&str, u64)],
) -> Result<(), M::Error> {
    fields
        .iter()
        .try_for_each(|(name, value)| map.serialize_entry(name, value))
}

pub(super) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
