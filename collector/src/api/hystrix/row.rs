//! One breaker of a frame: converts its view to Hystrix's object.

use std::time::Duration;

use fusebox::circuit_breaker::{CallTotals, FallbackTotals, OverrideKind};
use fusebox::hystrix::{CommandCounts, CommandEvent, CommandSettings, LatencyMs};

use super::around::OfBreaker;
use crate::live::circuits::CircuitFigures;
use crate::model::{CircuitCalls, CircuitKey, CircuitSettings, CircuitView};

/// The part of a breaker that a frame keeps: half a kilobyte, where its view takes three.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: CircuitKey,
    group: String,
    hosts: u64,
    open_hosts: u64,
    forced: Option<OverrideKind>,
    counts: CommandCounts,
    in_flight: u64,
    max_in_flight: u64,
    latency: LatencyMs,
    window: Duration,
    settings: CommandSettings,
    pool: Option<String>,
}

impl Row {
    pub(super) fn pool(&self) -> Option<&str> {
        self.pool.as_deref()
    }

    /// Returns the row of a breaker; `None` if none of its instances reports any more.
    pub(super) fn new(
        figures: &CircuitFigures,
        max_in_flight: u64,
        around: OfBreaker,
    ) -> Option<Self> {
        let CircuitFigures { view, latency } = figures;
        let live = || view.instances.iter().filter(|instance| !instance.stale);
        let hosts = live().count() as u64;
        let open = live().filter(|instance| instance.state.refuses());
        (hosts > 0).then(|| Self {
            key: view.key.clone(),
            group: group(view).to_owned(),
            hosts,
            open_hosts: open.count() as u64,
            forced: view.forced.as_ref().map(|forced| forced.kind),
            counts: counts(&view.calls, &around),
            in_flight: view.in_flight,
            max_in_flight,
            latency: LatencyMs::of(latency),
            window: Duration::from_millis(view.window_ms),
            settings: settings(&view.settings),
            pool: around.pool,
        })
    }

    /// Returns its object; `pool` is the name of the object of its thread pool.
    pub(super) fn event<'a>(
        &'a self,
        name: &'a str,
        pool: Option<&'a str>,
        time_ms: u64,
    ) -> CommandEvent<'a> {
        CommandEvent {
            name,
            group: &self.group,
            pool,
            time_ms,
            hosts: self.hosts,
            open_hosts: self.open_hosts,
            forced: self.forced,
            counts: self.counts,
            in_flight: self.in_flight,
            max_in_flight: self.max_in_flight,
            latency: self.latency,
            window: self.window,
            settings: self.settings,
        }
    }
}

/// Returns the breaker's group; the service if its library has no groups.
fn group(view: &CircuitView) -> &str {
    match view.settings.group.as_str() {
        "" => &view.key.service,
        group => group,
    }
}

/// Rejected or missing fallbacks cannot be distinguished from failed ones.
fn counts(calls: &CircuitCalls, around: &OfBreaker) -> CommandCounts {
    CommandCounts {
        calls: CallTotals {
            success: calls.success,
            failure: calls.failure,
            timeout: calls.timeout,
            rejected: calls.rejected,
            bulkhead_full: calls.bulkhead_full,
            ignored: calls.ignored,
            cancelled: calls.cancelled,
        },
        fallbacks: FallbackTotals {
            success: calls.fallback_success,
            failure: calls.fallback_failure,
            ..FallbackTotals::default()
        },
        pool_rejected: around.pool_rejected,
        from_cache: around.from_cache,
        collapsed: around.collapsed,
    }
}

/// Settings that the breaker's library lacks are 0.
fn settings(settings: &CircuitSettings) -> CommandSettings {
    CommandSettings {
        minimum_calls: settings.minimum_calls.unwrap_or(0),
        open_duration: Duration::from_millis(settings.open_duration_ms.unwrap_or(0)),
        failure_rate_percent: settings.failure_rate_percent.unwrap_or(0.0),
        timeout: settings.timeout_ms.map(Duration::from_millis),
        max_concurrent: settings.max_concurrent.unwrap_or(0),
        fallback_max_concurrent: settings.fallback_max_concurrent.unwrap_or(0),
        // As in `CircuitCalls::errors`.
        bulkhead_full_is_failure: settings.bulkhead_full_is_failure.unwrap_or(true),
    }
}
