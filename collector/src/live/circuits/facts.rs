//! The known facts of a breaker instance at one time, from memory or from the journal. The current wall and
//! past walls are both computed from them.

use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};

use tokio::time::Instant;

use super::timing::{
    CALLS_KNOWN_AFTER, DEFAULT_INTERVAL_MS, DEFAULT_WINDOW_MS, FUSEBOX_STALE_AFTER,
    MISSED_INTERVALS, SLOW_INTERVAL_MS, SPANS_STALE_AFTER, WINDOW_MAX_MS,
};
use crate::model::{
    CircuitCalls, CircuitTransition, Outage, Provenance, SECOND, Source, TimeRange, UnixNanos,
    nanos,
};
use crate::store::series::{SettingsRecord, Standing};

/// An instance's calls in one second, by the collector's clock.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Second {
    pub(super) second: u64,
    pub(super) calls: CircuitCalls,
    pub(super) latency: LatencyHistogram,
}

pub(super) fn start_of(second: u64) -> UnixNanos {
    UnixNanos::of_window(second, SECOND)
}

/// Merges a second's calls into a list, oldest first.
pub(super) fn add_second(seconds: &mut Vec<Second>, second: Second) {
    let at = seconds.partition_point(|known| known.second < second.second);
    match seconds.get_mut(at) {
        Some(known) if known.second == second.second => {
            known.calls.add(&second.calls);
            known.latency.merge(&second.latency);
        }
        _ => seconds.insert(at, second),
    }
}

#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    pub(super) report: Option<SettingsRecord>,
    pub(super) stale: bool,
    /// Seconds with reports, oldest first.
    pub(super) seconds: Vec<Second>,
    /// State changes of the last two minutes, oldest first.
    pub(super) changes: Vec<(UnixNanos, EffectiveState)>,
    /// The state before the first of them.
    pub(super) state_before: EffectiveState,
    /// How much later than at its collector this is known; `None` if it is from memory or about the past.
    pub(super) delay: Option<Delay>,
    /// Its last report by the monotonic clock; `None` if that was before the start, at another collector, or the past is shown.
    pub(super) heard: Option<Instant>,
}

/// The delay of an instance's reports to another collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    /// Upper bound of the delay of a report.
    pub(super) late: Duration,
    /// The last second whose calls are known.
    pub(super) until_second: Option<u64>,
}

/// The effect of a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is the latest and sets the state.
    Changed,
    /// It replaces a derived transition to the same state.
    Explained,
    /// It is late or a repetition.
    Nothing,
}

/// Applies a transition by its time: the latest wins, in any order of arrival.
pub(super) fn apply(standing: &mut Standing, transition: &CircuitTransition) -> Applied {
    let same_state = transition.to == standing.state;
    let newer =
        transition.time > standing.since || (transition.time == standing.since && !same_state);
    let derived = standing.provenance == Provenance::Derived;
    let applied = match (newer, same_state && derived) {
        (_, true) => Applied::Explained,
        (true, false) => Applied::Changed,
        (false, false) => return Applied::Nothing,
    };
    standing.state = transition.to;
    standing.since = transition.time;
    standing.retry_at = transition.open_until;
    standing.reason.clone_from(&transition.reason);
    standing.provenance = transition.provenance;
    if transition.to == EffectiveState::Open {
        standing.opened_by = transition.trace_id;
        standing.opened_at = Some(transition.time);
        standing.outage = Some(outage(standing.outage.take(), transition, applied));
    }
    applied
}

/// Returns the outage after a transition to open: a failed probe continues it, anything else begins a new
/// one.
fn outage(last: Option<Outage>, transition: &CircuitTransition, applied: Applied) -> Outage {
    match last {
        Some(mut outage) if transition.from == EffectiveState::HalfOpen => {
            // A transition that explains a derived one was counted with that.
            outage.failed_probes += u64::from(applied == Applied::Changed);
            outage
        }
        _ => Outage::begun_by(transition),
    }
}

/// Returns the window: the breaker's own, but at least the interval of its reports.
pub(super) fn window_ms(own: Option<u64>, interval_ms: u64) -> u64 {
    let own = own.unwrap_or(DEFAULT_WINDOW_MS);
    own.clamp(1_000, WINDOW_MAX_MS).max(interval_ms)
}

/// Returns how long after its last report an instance is stale.
pub(super) fn stale_after(standing: &Standing) -> Duration {
    let is_ours = standing.source == Source::Fusebox;
    let interval_ms = match standing.interval_ms {
        0 if is_ours => 1_000,
        0 => DEFAULT_INTERVAL_MS,
        interval_ms => interval_ms.max(1_000),
    };
    if standing.source == Source::Spans {
        return SPANS_STALE_AFTER;
    }
    let missed = Duration::from_millis(interval_ms * MISSED_INTERVALS);
    if is_ours {
        missed.max(FUSEBOX_STALE_AFTER)
    } else {
        missed
    }
}

/// Returns whether every report of the instance is stored, even of seconds without calls.
pub(super) fn is_slow(standing: &Standing) -> bool {
    !standing.source.reports_each_second() || standing.interval_ms >= SLOW_INTERVAL_MS
}

/// An instance's calls within its window.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) window_ms: u64,
    pub(super) calls: CircuitCalls,
    pub(super) latency: LatencyHistogram,
    pub(super) calls_per_second: f64,
    pub(super) rejected_per_second: f64,
}

impl Facts {
    fn window_ms(&self) -> u64 {
        let own = self.report.as_ref().and_then(|r| r.settings.window_ms);
        window_ms(own, self.standing.interval_ms)
    }

    /// Returns the last second of the window. Reports arrive at any moment of their second or interval, so
    /// the window ends with the last report unless the next one is overdue.
    fn window_end(&self, now: UnixNanos) -> u64 {
        let known = self.delay.and_then(|delay| delay.until_second);
        // After the last complete second only a part of the calls is known.
        if let Some(second) = known.filter(|s| now - start_of(*s) < CALLS_KNOWN_AFTER) {
            return second;
        }
        let interval = Duration::from_millis(self.standing.interval_ms.max(1_000));
        let last = if is_slow(&self.standing) {
            self.seconds.last().map_or(0, |second| second.second)
        } else {
            self.standing.last_seen.window(SECOND)
        };
        let overdue = now - start_of(last) > 2 * interval + SECOND;
        if overdue || start_of(last) > now {
            now.window(SECOND)
        } else {
            last
        }
    }

    /// Returns the calls in the window that ends now, and their rates over the time really covered.
    pub(super) fn window(&self, now: UnixNanos) -> Window {
        let window_ms = self.window_ms();
        let end = self.window_end(now);
        // Half an interval of tolerance: a report that came slightly early belongs to the window before.
        let interval_s = self.standing.interval_ms / 1_000;
        let start = (end + interval_s / 2).saturating_sub(window_ms / 1_000);
        let mut window = Window {
            window_ms,
            ..Window::default()
        };
        for second in &self.seconds {
            if second.second > start && second.second <= end {
                window.calls.add(&second.calls);
                window.latency.merge(&second.latency);
            }
        }
        let known_ms = nanos(now - self.standing.first_seen) / 1_000_000;
        let covered = known_ms
            .max(self.standing.interval_ms)
            .clamp(1_000, window_ms) as f64
            / 1e3;
        window.calls_per_second = window.calls.total() as f64 / covered;
        window.rejected_per_second = window.calls.rejected as f64 / covered;
        window
    }

    /// Returns the worst state within a range; `None` if the instance did not report in it.
    pub(super) fn worst_state(&self, range: TimeRange) -> Option<EffectiveState> {
        let late = self.delay.map_or(Duration::ZERO, |delay| delay.late);
        let gone = self.standing.last_seen + stale_after(&self.standing) + late;
        if self.standing.first_seen >= range.end || gone < range.start {
            return None;
        }
        let before = self
            .changes
            .iter()
            .rev()
            .find(|change| change.0 < range.start);
        let within = self
            .changes
            .iter()
            .filter(|change| range.contains(change.0));
        let start = before.map_or(self.state_before, |change| change.1);
        Some(within.fold(start, |worst, change| worst.max(change.1)))
    }
}
