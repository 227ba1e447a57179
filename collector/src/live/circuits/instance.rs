//! One instance of a breaker: applies observations and events, and keeps two minutes of seconds.
//!
//! Clocks: samples are filed under the second of arrival by the collector's clock; one that comes up to a
//! second late stays in its sender's rhythm. A transition keeps the instance's time if that is between
//! fifteen minutes before and five seconds after its arrival (exporters may retry for minutes), else it gets
//! the time of arrival, and the times that it announces are shifted with it.

mod clock;
mod stored;

use std::collections::VecDeque;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};
use tokio::time::Instant;

use super::counted::{CallsMade, Counted, balance};
use super::facts::{Applied, Facts, apply, is_slow, stale_after, start_of, window_ms};
use super::seconds::Seconds;
use super::timing::{
    CLOCK_LEAD_MAX, EVENT_DELAY_MAX, EVENT_GRACE, FOLLOWED_AFTER, INTERVAL_MAX_MS, SHOWN,
};
use super::tracker::{Added, NewSeries, Tracker};
use crate::codec::circuits::{Count, Observation};
use crate::model::{
    CircuitCalls, CircuitKey, CircuitSample, CircuitTransition, Provenance, SECOND, Source,
    UnixNanos, nanos,
};
use crate::store::series::{SettingsRecord, Standing};

/// How late a report may be and still count in its window.
const REPORT_LATE_MAX: Duration = Duration::from_secs(5);
/// State changes kept for the sparkline; of a breaker that flaps faster the older ones are lost.
const MAX_CHANGES: usize = 512;
/// Latest intervals from which the usual one is computed, as their median.
const GAPS: usize = 3;

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) standing: Standing,
    pub(super) report: Option<SettingsRecord>,
    /// Calls since the start of the collector.
    pub(super) counted: CircuitCalls,
    pub(super) made: CallsMade,
    /// Known only from the journal of an earlier run.
    pub(super) restored: bool,
    state_known: bool,
    tracker: Tracker,
    /// Whether counts continue the totals of an earlier run.
    goes_on: bool,
    /// The second of the last sample, and the calls filed under it.
    filed_calls: (u64, CircuitCalls),
    seconds: Seconds,
    changes: VecDeque<(UnixNanos, EffectiveState)>,
    state_before: EffectiveState,
    last_report: Option<UnixNanos>,
    /// The second under which the last report was filed.
    filed: Option<u64>,
    gaps_ms: VecDeque<u64>,
    disagreement: Option<Disagreement>,
    /// Its last report by the monotonic clock; `None` if that was before the start.
    heard: Option<Instant>,
}

/// A reported state that contradicts the last event.
#[derive(Debug, Clone, Copy)]
struct Disagreement {
    state: EffectiveState,
    since_arrival: UnixNanos,
    time: UnixNanos,
}

#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) sample: Option<CircuitSample>,
    pub(super) derived: Option<CircuitTransition>,
    pub(super) too_many_series: u64,
}

impl Instance {
    /// Returns the time of its last report; of a restored instance at least the restart.
    pub(super) fn heard(&self, restored_at: UnixNanos) -> UnixNanos {
        let heard = self.standing.last_seen;
        if self.restored {
            heard.max(restored_at)
        } else {
            heard
        }
    }

    pub(super) fn new(key: &CircuitKey, id: &str, source: Source, now: UnixNanos) -> Self {
        Self::with_standing(Standing {
            key: key.clone(),
            instance: id.to_owned(),
            time: now,
            source,
            target: String::new(),
            state: EffectiveState::Closed,
            since: now,
            retry_at: None,
            reason: String::new(),
            provenance: Provenance::Derived,
            opened_by: None,
            opened_at: None,
            outage: None,
            in_flight: 0,
            first_seen: now,
            last_seen: now,
            interval_ms: 0,
            own_window: None,
            totals: None,
        })
    }

    fn with_standing(standing: Standing) -> Self {
        Self {
            state_known: standing.source.starts_closed(),
            state_before: standing.state,
            standing,
            report: None,
            counted: CircuitCalls::default(),
            made: CallsMade::default(),
            restored: false,
            tracker: Tracker::default(),
            goes_on: false,
            filed_calls: (0, CircuitCalls::default()),
            seconds: Seconds::default(),
            changes: VecDeque::new(),
            last_report: None,
            filed: None,
            gaps_ms: VecDeque::new(),
            disagreement: None,
            heard: None,
        }
    }

    /// Applies a metrics observation; counts that started after `counts_from` are new.
    pub(super) fn observe(
        &mut self,
        observation: &Observation,
        counts_from: UnixNanos,
        now: UnixNanos,
    ) -> Observed {
        let known_for = now - self.standing.first_seen;
        let is_followed = self.last_report.is_some() && known_for >= FOLLOWED_AFTER;
        let away = now - self.standing.last_seen;
        let was_away = self.restored && away > SHOWN;
        let new = match is_followed || std::mem::take(&mut self.goes_on) {
            true => NewSeries::Whole,
            false => NewSeries::BegunAfter(counts_from),
        };
        self.hear(now);
        let is_next = self.learn_interval(now);
        let second = self.filing_second(is_next, now);
        if let Some(running) = observation.in_flight {
            self.standing.in_flight = running;
        }
        let added = self.count(observation, new, now);
        if observation.own_window.is_some() {
            self.standing.own_window = observation.own_window;
        }
        self.counted.add(&added.calls);
        self.made.add(&added.made);
        let time = clamp_time(observation.time, now);
        let state = observation.state.or(added.entered);
        let derived = state.and_then(|state| self.reported_state(state, time, now));
        let sample = self.sample(added.calls, added.latency, second, now);
        if was_away {
            // Otherwise the window would show the calls of that whole time as those of one second.
            self.seconds.forget_last();
        }
        Observed {
            sample,
            derived,
            too_many_series: added.too_many_series,
        }
    }

    /// Applies a transition; returns it with a plausible time, unless it is a repetition.
    pub(super) fn transition(
        &mut self,
        mut transition: CircuitTransition,
        now: UnixNanos,
    ) -> Option<CircuitTransition> {
        self.hear(now);
        let reported = transition.time;
        transition.time = clamp_time(reported, now);
        transition.open_until = transition
            .open_until
            .map(|until| transition.time + (until - reported));
        let change = (transition.time, transition.to);
        if self.changes.contains(&change) && self.standing.provenance == Provenance::Reported {
            return None;
        }
        if !self.state_known {
            self.state_known = true;
            self.state_before = transition.from;
            self.standing.since = UnixNanos::default();
        }
        let before = self.standing.state;
        match apply(&mut self.standing, &transition) {
            Applied::Changed => self.changed(change, before),
            Applied::Explained => self.explained(change, transition.from),
            Applied::Nothing if self.is_repetition(&transition) => return None,
            Applied::Nothing => self.late(change),
        }
        self.disagreement = None;
        self.prune(now);
        Some(transition)
    }

    /// Replaces the settings; returns whether they changed.
    pub(super) fn settings(&mut self, report: SettingsRecord, now: UnixNanos) -> bool {
        self.hear(now);
        let same =
            |old: &SettingsRecord| old.settings == report.settings && old.forced == report.forced;
        let changed = !self.report.as_ref().is_some_and(same);
        self.report = Some(report);
        changed
    }

    pub(super) fn is_stale(&self, now: UnixNanos) -> bool {
        let silent = now - self.standing.last_seen;
        self.restored || silent > stale_after(&self.standing)
    }

    pub(super) fn facts(&self, now: UnixNanos) -> Facts {
        Facts {
            standing: self.standing.clone(),
            report: self.report.clone(),
            stale: self.is_stale(now),
            seconds: self.seconds.to_vec(),
            changes: self.changes.iter().copied().collect(),
            state_before: self.state_before,
            delay: None,
            heard: self.heard,
        }
    }

    fn hear(&mut self, now: UnixNanos) {
        self.restored = false;
        self.heard = Some(Instant::now());
        self.standing.last_seen = self.standing.last_seen.max(now);
    }

    /// Updates the interval of its reports: the median of the last gaps, so that a lost report does not
    /// matter. Returns whether this is a new report rather than a part of the last one.
    fn learn_interval(&mut self, now: UnixNanos) -> bool {
        let gap = self.last_report.map(|last| nanos(now - last) / 1_000_000);
        // Two requests shortly after each other are parts of one report.
        let Some(gap) = gap.filter(|gap| *gap >= 200) else {
            self.last_report.get_or_insert(now);
            return false;
        };
        self.last_report = Some(now);
        if self.gaps_ms.len() == GAPS {
            self.gaps_ms.pop_front();
        }
        self.gaps_ms.push_back(gap.min(INTERVAL_MAX_MS));
        let mut sorted: Vec<u64> = self.gaps_ms.iter().copied().collect();
        sorted.sort_unstable();
        // Rounded to whole seconds above one: intervals are configured so, and arrivals jitter.
        let median_ms = sorted[(sorted.len() - 1) / 2];
        self.standing.interval_ms = ((median_ms + 500) / 1_000).max(1) * 1_000;
        true
    }

    /// Returns the second under which a report is filed: that of the previous report plus the interval, if
    /// the report arrives in that second or the next. By arrival alone, a sender whose reports come at the
    /// edge of a second would leave one second empty and fill the next one twice, and steady traffic would
    /// look ragged.
    fn filing_second(&mut self, is_next: bool, now: UnixNanos) -> u64 {
        let arrival = now.window(SECOND);
        let interval = match is_next {
            true => (self.standing.interval_ms / 1_000).max(1),
            false => 0,
        };
        let expected = self.filed.map(|filed| filed.saturating_add(interval));
        let second = match expected {
            Some(second) if second >= arrival.saturating_sub(1) => second.min(arrival),
            // A sender whose interval is slightly too long is kept one second behind, so that it rarely skips
            // one.
            Some(second) if second >= arrival.saturating_sub(2) => arrival - 1,
            _ => arrival,
        };
        self.filed = Some(second);
        second
    }

    fn count(&mut self, observation: &Observation, new: NewSeries, now: UnixNanos) -> Counted {
        let mut counted = Counted::default();
        let mut opened = 0_i64;
        for point in &observation.counts {
            match self.tracker.add(point, new, now) {
                Added::Calls(count, latency) => {
                    if let Count::Entered(state) = point.what {
                        opened += balance(state, count);
                        counted.enter(state, count);
                    } else {
                        counted.add(point.what, count, &latency);
                    }
                }
                Added::Nothing => {}
                Added::TooManySeries => counted.too_many_series += 1,
            }
        }
        counted.settle(opened, self.standing.state);
        counted
    }

    /// Compares the reported state with the events; returns a missed transition.
    fn reported_state(
        &mut self,
        state: EffectiveState,
        time: UnixNanos,
        now: UnixNanos,
    ) -> Option<CircuitTransition> {
        if !self.state_known {
            return self.first_state(state, time);
        }
        if state == self.standing.state || time <= self.standing.since {
            self.disagreement = None;
            return None;
        }
        let known = self.disagreement.filter(|known| known.state == state);
        let disagreement = known.unwrap_or(Disagreement {
            state,
            since_arrival: now,
            time,
        });
        self.disagreement = Some(disagreement);
        let has_events = self.standing.source == Source::Fusebox;
        if has_events && now - disagreement.since_arrival < EVENT_GRACE {
            return None;
        }
        let reported = || format!("reported by {}", self.standing.source.as_str());
        let reason = self.own_reason(state).unwrap_or_else(reported);
        Some(self.derive(state, disagreement.time, reason))
    }

    /// Takes the first reported state. A breaker starts closed, so any other state is a missed transition.
    fn first_state(&mut self, state: EffectiveState, time: UnixNanos) -> Option<CircuitTransition> {
        self.state_known = true;
        if state == self.standing.state {
            return None;
        }
        self.standing.since = UnixNanos::default();
        let word = match state {
            EffectiveState::HalfOpen => "half-open".to_owned(),
            state => state.as_str().replace('_', " "),
        };
        let mut reason = format!("{word} when first reported");
        if let Some(own) = self.own_reason(state) {
            reason = format!("{reason}: {own}");
        }
        Some(self.derive(state, time, reason))
    }

    /// Returns why its library opened it, as far as the library's own figures tell.
    fn own_reason(&self, state: EffectiveState) -> Option<String> {
        let window = self.standing.own_window?;
        (state == EffectiveState::Open).then(|| window.words())?
    }

    /// Applies and returns a transition that no event reported.
    fn derive(&mut self, to: EffectiveState, time: UnixNanos, reason: String) -> CircuitTransition {
        let derived = CircuitTransition {
            key: self.standing.key.clone(),
            instance: self.standing.instance.clone(),
            time,
            from: self.standing.state,
            to,
            reason,
            provenance: Provenance::Derived,
            open_until: None,
            trace_id: None,
            span_id: None,
        };
        apply(&mut self.standing, &derived);
        self.changed((time, to), derived.from);
        self.disagreement = None;
        derived
    }

    /// Files calls under a second; returns the sample for the journal.
    fn sample(
        &mut self,
        calls: CircuitCalls,
        latency: LatencyHistogram,
        second: u64,
        now: UnixNanos,
    ) -> Option<CircuitSample> {
        self.prune(now);
        if calls == CircuitCalls::default() && !is_slow(&self.standing) {
            return None;
        }
        if self.filed_calls.0 != second {
            self.filed_calls = (second, CircuitCalls::default());
        }
        self.filed_calls.1.add(&calls);
        self.seconds.add(second, &calls, &latency);
        Some(CircuitSample {
            key: self.standing.key.clone(),
            instance: self.standing.instance.clone(),
            time: start_of(second),
            state: self.standing.state,
            calls,
            in_flight: self.standing.in_flight,
            latency_buckets: latency.into_buckets(),
        })
    }

    fn prune(&mut self, now: UnixNanos) {
        let interval_ms = self.standing.interval_ms;
        let kept = SHOWN.max(Duration::from_millis(2 * interval_ms));
        let oldest = (now - kept).window(SECOND);
        // A late report, and the next one, still count in the window.
        let own = self.report.as_ref().and_then(|r| r.settings.window_ms);
        let detailed = Duration::from_millis(window_ms(own, interval_ms) + 3 * interval_ms);
        let window = (now - detailed.saturating_add(REPORT_LATE_MAX)).window(SECOND);
        self.seconds.forget(oldest, window.max(oldest));
        while self.changes.len() > MAX_CHANGES
            || self
                .changes
                .front()
                .is_some_and(|change| change.0.window(SECOND) < oldest)
        {
            let gone = self.changes.pop_front();
            self.state_before = gone.map_or(self.state_before, |change| change.1);
        }
    }

    fn changed(&mut self, change: (UnixNanos, EffectiveState), before: EffectiveState) {
        if self.changes.is_empty() {
            self.state_before = before;
        }
        self.changes.push_back(change);
    }

    /// Moves the derived change to the slightly earlier time of its event.
    fn explained(&mut self, change: (UnixNanos, EffectiveState), before: EffectiveState) {
        if self.changes.is_empty() {
            self.state_before = before;
        }
        match self.changes.back_mut() {
            Some(last) if last.1 == change.1 => *last = change,
            _ => self.changes.push_back(change),
        }
    }

    /// Inserts a late transition between the known ones.
    fn late(&mut self, change: (UnixNanos, EffectiveState)) {
        let at = self.changes.partition_point(|known| known.0 <= change.0);
        if (1..self.changes.len()).contains(&at) {
            self.changes.insert(at, change);
        }
    }

    fn is_repetition(&self, transition: &CircuitTransition) -> bool {
        transition.time == self.standing.since
            || self.changes.contains(&(transition.time, transition.to))
    }
}

/// Returns the reported time if it is plausible, else the time of arrival.
fn clamp_time(reported: UnixNanos, now: UnixNanos) -> UnixNanos {
    let earliest = now - EVENT_DELAY_MAX;
    let latest = now + CLOCK_LEAD_MAX;
    if (earliest..=latest).contains(&reported) {
        reported
    } else {
        now
    }
}
