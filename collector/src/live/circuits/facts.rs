//! What is known of one instance of a breaker at one moment, whether from memory or from the journal: the
//! common ground of the live wall and the wall of any moment.

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};

use crate::codec::circuits::Source;
use crate::model::{CircuitCalls, CircuitTransition, Provenance, SECOND_NANOS, TimeRange};
use crate::store::series::{SettingsRecord, Standing};

/// Hystrix's window, for instances that told no settings.
const DEFAULT_WINDOW_MS: u64 = 10_000;
/// The longest window shown: as much as is kept in memory.
const MAX_WINDOW_MS: u64 = 120_000;
/// fusebox reports each second; ten missed reports are an instance that is gone.
const FUSEBOX_STALE_NANOS: u64 = 10 * SECOND_NANOS;
/// Other libraries may miss that many of their own intervals.
const MISSED_INTERVALS: u64 = 3;
/// Micrometer's and OpenTelemetry's usual interval, until the instance's own is learnt.
const DEFAULT_INTERVAL_MS: u64 = 60_000;
/// Seconds of calls that were told later than that are followed by silence: ten seconds are written five seconds after
/// their end, and looked for every two.
const TOLD_NANOS: u64 = 25 * SECOND_NANOS;
/// An interval from which on every report is kept, so that "no calls" and "no report" differ.
const SLOW_INTERVAL_MS: u64 = 1_500;

/// The calls that an instance reported in one second of the collector's clock.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Second {
    pub(super) second: u64,
    pub(super) calls: CircuitCalls,
    pub(super) latency: LatencyHistogram,
}

/// Adds a second's calls to those of other seconds, oldest first.
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

/// One instance at one moment.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) standing: Standing,
    pub(super) report: Option<SettingsRecord>,
    pub(super) stale: bool,
    /// Seconds with reports, oldest first.
    pub(super) seconds: Vec<Second>,
    /// Changes of state of the last two minutes, oldest first: when, and to what.
    pub(super) changes: Vec<(u64, EffectiveState)>,
    /// The state before the first of them.
    pub(super) state_before: EffectiveState,
    /// How late this is known; `None` from memory and of the past.
    pub(super) told: Option<Told>,
}

/// How late another collector tells what an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// By how much later it may be known that the instance was heard of.
    pub(super) late_nanos: u64,
    /// The last second of calls that was told.
    pub(super) until_second: Option<u64>,
}

/// What a transition did to what was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Applied {
    /// It is the latest: the state is its own.
    Changed,
    /// It replaces a derived transition to the same state.
    Explained,
    /// It is late or a repetition.
    Nothing,
}

/// Applies a transition by its time: the latest wins, whatever the order of arrival.
pub(super) fn apply(standing: &mut Standing, transition: &CircuitTransition) -> Applied {
    let same_state = transition.to == standing.state;
    let newer = transition.time_unix_nanos > standing.since_unix_nanos
        || (transition.time_unix_nanos == standing.since_unix_nanos && !same_state);
    let derived = standing.provenance == Provenance::Derived;
    let applied = match (newer, same_state && derived) {
        (_, true) => Applied::Explained,
        (true, false) => Applied::Changed,
        (false, false) => return Applied::Nothing,
    };
    standing.state = transition.to;
    standing.since_unix_nanos = transition.time_unix_nanos;
    standing.retry_at_unix_nanos = transition.open_until_unix_nanos;
    standing.reason.clone_from(&transition.reason);
    standing.provenance = transition.provenance;
    if transition.to == EffectiveState::Open {
        standing.opened_by = transition.trace_id;
        standing.opened_at_unix_nanos = transition.time_unix_nanos;
    }
    applied
}

/// Returns for how long an instance may be silent before its state is no longer believed.
pub(super) fn stale_after_nanos(standing: &Standing) -> u64 {
    let is_ours = standing.source == Source::Fusebox.as_str();
    let interval_ms = match standing.interval_ms {
        0 if is_ours => 1_000,
        0 => DEFAULT_INTERVAL_MS,
        interval_ms => interval_ms.max(1_000),
    };
    let missed = interval_ms * MISSED_INTERVALS * 1_000_000;
    if is_ours {
        missed.max(FUSEBOX_STALE_NANOS)
    } else {
        missed
    }
}

/// Returns whether every report of that instance is kept, even of seconds without calls.
pub(super) fn is_slow(standing: &Standing) -> bool {
    standing.source != Source::Fusebox.as_str() || standing.interval_ms >= SLOW_INTERVAL_MS
}

/// The calls of an instance within its window.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub(super) window_ms: u64,
    pub(super) calls: CircuitCalls,
    pub(super) latency: LatencyHistogram,
    pub(super) calls_per_second: f64,
    pub(super) rejected_per_second: f64,
}

impl Facts {
    /// Returns the window's length: the breaker's own, and at least as long as a report covers.
    fn window_ms(&self) -> u64 {
        let own = self.report.as_ref().map_or(0, |r| r.settings.window_ms);
        let own = if own == 0 { DEFAULT_WINDOW_MS } else { own };
        own.clamp(1_000, MAX_WINDOW_MS)
            .max(self.standing.interval_ms)
    }

    /// Returns the second at which the window ends. A report arrives at any moment of its second or interval,
    /// so the window ends with the last one, unless that is overdue.
    fn window_end(&self, now: u64) -> u64 {
        let told = self.told.and_then(|told| told.until_second);
        // Behind the last second told, only a part of the calls is known.
        if let Some(second) = told.filter(|s| now.saturating_sub(s * SECOND_NANOS) < TOLD_NANOS) {
            return second;
        }
        let interval = self.standing.interval_ms.max(1_000) * 1_000_000;
        let last = if is_slow(&self.standing) {
            self.seconds.last().map_or(0, |second| second.second)
        } else {
            self.standing.last_seen_unix_nanos / SECOND_NANOS
        };
        let overdue = now.saturating_sub(last * SECOND_NANOS) > 2 * interval + SECOND_NANOS;
        if overdue || last * SECOND_NANOS > now {
            now / SECOND_NANOS
        } else {
            last
        }
    }

    /// Returns the calls in the window that ends now, and their rates over the time really covered.
    pub(super) fn window(&self, now: u64) -> Window {
        let window_ms = self.window_ms();
        let end = self.window_end(now);
        // Half an interval of grace: a report that came a little early belongs to the window before.
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
        let known_ms = now.saturating_sub(self.standing.first_seen_unix_nanos) / 1_000_000;
        let covered = known_ms
            .max(self.standing.interval_ms)
            .clamp(1_000, window_ms) as f64
            / 1e3;
        window.calls_per_second = window.calls.total() as f64 / covered;
        window.rejected_per_second = window.calls.rejected as f64 / covered;
        window
    }

    /// Returns the worst state within a range; `None` when the instance was not heard of then.
    pub(super) fn worst_state(&self, range: TimeRange) -> Option<EffectiveState> {
        let late = self.told.map_or(0, |told| told.late_nanos);
        let gone = self.standing.last_seen_unix_nanos + stale_after_nanos(&self.standing) + late;
        if self.standing.first_seen_unix_nanos >= range.end_unix_nanos
            || gone < range.start_unix_nanos
        {
            return None;
        }
        let before = self
            .changes
            .iter()
            .rev()
            .find(|change| change.0 < range.start_unix_nanos);
        let within = self
            .changes
            .iter()
            .filter(|change| range.contains(change.0));
        let start = before.map_or(self.state_before, |change| change.1);
        Some(within.fold(start, |worst, change| worst.max(change.1)))
    }
}
