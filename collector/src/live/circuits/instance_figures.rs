//! Figures of every instance of a breaker for `/metrics`, within a bound.

use fusebox::circuit_breaker::EffectiveState;

use super::Circuits;
use super::view::{error_percent, latency_view};
use crate::model::{CircuitCalls, CircuitKey, LatencyView, UnixNanos};

/// One instance of a breaker that reports here.
#[derive(Debug)]
pub(crate) struct InstanceFigures {
    pub(crate) key: CircuitKey,
    pub(crate) instance: String,
    pub(crate) group: String,
    pub(crate) state: EffectiveState,
    /// Calls since the start of the collector.
    pub(crate) counted: CircuitCalls,
    /// Calls in its window.
    pub(crate) window: CircuitCalls,
    /// Their durations.
    pub(crate) latency: LatencyView,
    /// By its library's own account where it gives one.
    pub(crate) failure_percent: Option<f64>,
    pub(crate) slow_percent: Option<f64>,
}

impl Circuits {
    /// Returns at most `max` instances that report here, the worst states first, by service and name.
    pub(crate) fn instance_figures(&self, max: usize) -> Vec<InstanceFigures> {
        let now = UnixNanos::now();
        let reporting = self.state().board.worst_instances(max, now);
        let mut figures: Vec<_> = reporting
            .into_iter()
            .map(|(facts, counted)| {
                let settings = facts.report.as_ref().map(|report| report.settings.clone());
                let settings = settings.unwrap_or_default();
                let window = facts.window(now);
                let own = facts.standing.own_window.unwrap_or_default();
                InstanceFigures {
                    state: facts.standing.state,
                    counted,
                    window: window.calls,
                    latency: latency_view(&window.latency),
                    failure_percent: own
                        .failure_percent
                        .or_else(|| error_percent(&window.calls, &settings)),
                    slow_percent: own.slow_percent,
                    group: settings.group,
                    key: facts.standing.key,
                    instance: facts.standing.instance,
                }
            })
            .collect();
        figures.sort_by(|a, b| (&a.key, &a.instance).cmp(&(&b.key, &b.instance)));
        figures
    }
}
