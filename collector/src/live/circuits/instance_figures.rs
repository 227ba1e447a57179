//! A bounded number of breaker instances with their figures, for `/metrics`.

use fusebox::circuit_breaker::EffectiveState;

use super::Circuits;
use super::counted::CallsMade;
use super::facts::Facts;
use super::view::{error_percent, latency_view};
use crate::model::{CircuitCalls, CircuitKey, LatencyView, UnixNanos};

/// Instances copied per lock of the board, so that reports do not wait long.
const INSTANCES_AT_ONCE: usize = 16;

/// A breaker instance that reports to this collector.
#[derive(Debug)]
pub(crate) struct InstanceFigures {
    pub(crate) key: CircuitKey,
    pub(crate) instance: String,
    pub(crate) group: String,
    pub(crate) state: EffectiveState,
    /// Calls since the start of the collector.
    pub(crate) counted: CircuitCalls,
    pub(crate) made: CallsMade,
    pub(crate) window: CircuitCalls,
    pub(crate) latency: LatencyView,
    /// As computed by its library, if it does so.
    pub(crate) failure_percent: Option<f64>,
    pub(crate) slow_percent: Option<f64>,
    /// Calls that run now, and how many may, if that is limited.
    pub(crate) in_flight: u32,
    pub(crate) max_concurrent: Option<u64>,
    /// How many calls the window has, if it is counted in calls.
    pub(crate) window_calls: Option<u64>,
}

impl Circuits {
    /// Returns at most `max` local instances, chosen by the worst states and sorted by service and name.
    pub(crate) fn instance_figures(&self, max: usize) -> Vec<InstanceFigures> {
        let now = UnixNanos::now();
        let mut worst = self.state().board.worst_instances(max, now);
        worst.sort_unstable();
        let mut figures = Vec::with_capacity(worst.len());
        for some in worst.chunks(INSTANCES_AT_ONCE) {
            let copied: Vec<_> = {
                let state = self.state();
                let instances = some.iter().filter_map(|id| state.board.counted(id, now));
                instances.collect()
            };
            let made = copied.into_iter();
            figures.extend(made.map(|counted| InstanceFigures::new(counted, now)));
        }
        figures
    }
}

impl InstanceFigures {
    fn new((facts, counted, made): (Facts, CircuitCalls, CallsMade), now: UnixNanos) -> Self {
        let window = facts.window(now);
        let settings = facts.report.map(|report| report.settings);
        let settings = settings.unwrap_or_default();
        let own = facts.standing.own_window.unwrap_or_default();
        Self {
            state: facts.standing.state,
            counted,
            made,
            in_flight: facts.standing.in_flight,
            max_concurrent: settings.max_concurrent,
            window_calls: settings.window_calls,
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
    }
}
