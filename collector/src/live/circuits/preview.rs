//! What changed settings of a breaker would have done with the calls of the last minutes: the stored seconds of each
//! instance go through the library's rules once more, next to what happened.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::circuit_breaker::{
    EffectiveState, LatencyHistogram, RecordedSecond, RecordedStart, SettingValues, Settings,
    Simulation, State,
};
use serde::Serialize;

use super::control::ControlError;
use super::records::Records;
use super::{Circuits, transitions};
use crate::model::{
    CircuitKey, CircuitSample, CircuitTransition, CircuitView, MINUTE, SECOND, TimeRange,
    UnixNanos, nanos,
};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// How far back it looks.
const LENGTH: Duration = MINUTE.saturating_mul(10);
/// Calls that are replayed, 0.2 µs each for the two simulations; of a busier circuit only the latest.
const CALLS_MAX: u64 = 3_000_000;
/// Seconds of instances that are read, about 500 bytes each; with more than 200 instances fewer minutes.
const SECONDS_MAX: u32 = 120_000;
/// Instances that are listed, those with the most calls.
const INSTANCES_MAX: usize = 50;
/// Transitions listed for each instance.
const TRANSITIONS_MAX: usize = 100;
/// Settings that the stored counts say nothing about.
const NOT_REPLAYED: [&str; 6] = [
    "count_unfinished_slow_calls",
    "open_duration_jitter_percent",
    "probe_lease",
    "timeout",
    "max_concurrent",
    "fallback_max_concurrent",
];

/// What changed settings would have done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The start of the calls, which is later if there are very many.
    #[serde(rename = "start_unix_nanos")]
    pub start: UnixNanos,
    /// The end of the calls.
    #[serde(rename = "end_unix_nanos")]
    pub end: UnixNanos,
    /// The instances with the most calls.
    pub instances: Vec<InstancePreview>,
    /// Number of further instances.
    pub left_out: usize,
    /// Changed settings whose effect the counts cannot tell.
    pub not_replayed: Vec<&'static str>,
}

/// What they would have done in one instance, in the state that it had at the start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstancePreview {
    /// The instance.
    pub instance: String,
    /// Its state at the start.
    pub state_at_start: EffectiveState,
    /// Its calls.
    pub calls: u64,
    /// What happened.
    pub happened: Course,
    /// What the settings in force do in the simulation, to show how exact it is; `None` if these rules do not
    /// allow them, as those of a newer library.
    pub present: Option<Course>,
    /// What the changed settings do.
    pub changed: Option<Course>,
}

/// The course of a breaker.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Course {
    /// How often it opened.
    pub openings: u64,
    /// Calls that it refused.
    pub refused: u64,
    /// Calls that it let through although they were refused, so that their result is unknown.
    pub unknown: u64,
    /// Its changes of state, in order; the first hundred.
    pub transitions: Vec<Turn>,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Turn {
    /// When.
    #[serde(rename = "time_unix_nanos")]
    pub time: UnixNanos,
    /// The state after it.
    pub to: EffectiveState,
    /// Why.
    pub reason: String,
}

impl Circuits {
    /// Returns what a circuit would have done in the last ten minutes with these values in place of what
    /// operators changed.
    ///
    /// # Errors
    /// When a breaker cannot have these settings, or the journal cannot be read.
    pub async fn preview(
        &self,
        circuit: &CircuitView,
        values: &SettingValues,
        now: UnixNanos,
    ) -> Result<Preview, ControlError> {
        let control = self.control();
        let changed = control.settings_with(circuit, values)?;
        let present = control.reported_settings(circuit);
        let before = present.values();
        let after = changed.values();
        let is_changed = |name: &&str| before.get(*name) != after.get(*name);
        let not_replayed = NOT_REPLAYED.into_iter().filter(is_changed).collect();
        let key = circuit.key.clone();
        let end = now.floor(SECOND);
        let instances = u32::try_from(circuit.instances.len()).unwrap_or(u32::MAX);
        let length = LENGTH.min(SECOND * (SECONDS_MAX / instances.max(1)));
        let range = TimeRange::until(end, length);
        let preview = self.read(move |_, records| {
            let samples = samples(records, &key, range)?;
            // Those before the start say in which state it was, and for how long.
            let past = TimeRange::until(range.end, LENGTH * 2);
            let past = transitions::newest(records, Some(&key), past, usize::MAX)?;
            let run = Run {
                present,
                changed,
                past,
                range,
            };
            let mut preview = run.preview(samples);
            preview.not_replayed = not_replayed;
            Ok(preview)
        });
        Ok(preview.await?.value)
    }
}

/// Reads the seconds of each instance, oldest first.
fn samples(
    records: &Records<'_>,
    key: &CircuitKey,
    range: TimeRange,
) -> Result<BTreeMap<String, Vec<CircuitSample>>, StoreError> {
    let mut samples: BTreeMap<String, Vec<CircuitSample>> = BTreeMap::new();
    records.scan(SeriesKind::Sample, range, Some(key), &mut |record| {
        if let SeriesRecord::Sample(sample) = record {
            let of_instance = samples.entry(sample.instance.clone()).or_default();
            of_instance.push(sample);
        }
    })?;
    for of_instance in samples.values_mut() {
        of_instance.sort_by_key(|sample| sample.time);
    }
    Ok(samples)
}

struct Run {
    present: Settings,
    changed: Settings,
    /// What happened, latest first.
    past: Vec<CircuitTransition>,
    range: TimeRange,
}

impl Run {
    fn preview(mut self, samples: BTreeMap<String, Vec<CircuitSample>>) -> Preview {
        self.range.start = start_of_latest(&samples, self.range);
        let instances = samples.iter();
        let mut instances: Vec<_> = instances.map(|(id, all)| self.instance(id, all)).collect();
        instances.sort_by_key(|one| std::cmp::Reverse(one.calls));
        let left_out = instances.len().saturating_sub(INSTANCES_MAX);
        instances.truncate(INSTANCES_MAX);
        Preview {
            start: self.range.start,
            end: self.range.end,
            instances,
            left_out,
            not_replayed: Vec::new(),
        }
    }

    fn instance(&self, id: &str, samples: &[CircuitSample]) -> InstancePreview {
        let replayed = samples.iter().filter(|it| self.range.contains(it.time));
        let replayed: Vec<_> = replayed.collect();
        let (state, lasted) = self.start(id, &replayed);
        let start = RecordedStart {
            state: computed(state),
            lasted,
        };
        InstancePreview {
            instance: id.to_owned(),
            state_at_start: state,
            calls: replayed.iter().map(|sample| sample.calls.total()).sum(),
            happened: self.happened(id, &replayed),
            present: self.simulated(&self.present, start, &replayed),
            changed: self.simulated(&self.changed, start, &replayed),
        }
    }

    /// Returns the state of an instance at the start, and how long it had been in it; without a transition that says so,
    /// the state of its first second, for long.
    fn start(&self, id: &str, samples: &[&CircuitSample]) -> (EffectiveState, Duration) {
        let mut own = self.past.iter().filter(|it| it.instance == id);
        let before = own.clone().find(|it| it.time < self.range.start);
        if let Some(last) = before {
            return (last.to, self.range.start - last.time);
        }
        let first = own.next_back().map(|it| it.from);
        let first = first.or(samples.first().map(|sample| sample.state));
        (first.unwrap_or(EffectiveState::Closed), Duration::MAX)
    }

    fn happened(&self, id: &str, samples: &[&CircuitSample]) -> Course {
        let own = self.past.iter().rev().filter(|it| it.instance == id);
        let own = own.filter(|it| self.range.contains(it.time));
        let turn = |it: &CircuitTransition| Turn {
            time: it.time,
            to: it.to,
            reason: it.reason.clone(),
        };
        let is_opening = |it: &&CircuitTransition| it.to == EffectiveState::Open;
        Course {
            openings: own.clone().filter(is_opening).count() as u64,
            refused: samples.iter().map(|sample| sample.calls.rejected).sum(),
            unknown: 0,
            transitions: own.take(TRANSITIONS_MAX).map(turn).collect(),
        }
    }

    fn simulated(
        &self,
        settings: &Settings,
        begin: RecordedStart,
        samples: &[&CircuitSample],
    ) -> Option<Course> {
        let start = self.range.start;
        let seconds: Vec<_> = samples
            .iter()
            .map(|it| recorded(it, start, settings))
            .collect();
        let done: Simulation = settings.simulate(begin, &seconds).ok()?;
        let turns = done.transitions.into_iter().take(TRANSITIONS_MAX);
        Some(Course {
            openings: done.openings,
            refused: done.refused,
            unknown: done.unknown,
            transitions: turns
                .map(|it| Turn {
                    time: start + it.at,
                    to: it.to.into(),
                    reason: it.reason,
                })
                .collect(),
        })
    }
}

/// Returns the state by the rules; what is forced says nothing about it.
fn computed(state: EffectiveState) -> State {
    match state {
        EffectiveState::Open => State::Open,
        EffectiveState::HalfOpen => State::HalfOpen,
        _ => State::Closed,
    }
}

/// Returns the start of the latest whole seconds that have no more calls than can be replayed.
fn start_of_latest(samples: &BTreeMap<String, Vec<CircuitSample>>, range: TimeRange) -> UnixNanos {
    let mut seconds: BTreeMap<UnixNanos, u64> = BTreeMap::new();
    for sample in samples.values().flatten() {
        *seconds.entry(sample.time.floor(SECOND)).or_default() += sample.calls.total();
    }
    let mut calls = 0_u64;
    let busy = seconds.iter().rev().find(|(_, in_second)| {
        calls = calls.saturating_add(**in_second);
        calls > CALLS_MAX
    });
    busy.map_or(range.start, |(second, _)| *second + SECOND)
}

/// Returns a second as the rules of these settings count it.
fn recorded(sample: &CircuitSample, start: UnixNanos, settings: &Settings) -> RecordedSecond {
    let calls = &sample.calls;
    let full = match settings.bulkhead_full_is_failure {
        true => calls.bulkhead_full,
        false => 0,
    };
    let limit = settings.slow_call_duration.map(LatencyHistogram::index_of);
    let buckets = sample.latency_buckets.iter();
    let slow = buckets.filter(|(index, _)| limit.is_some_and(|limit| *index > limit));
    let second = nanos(sample.time - start) / nanos(SECOND);
    RecordedSecond {
        second: u32::try_from(second).unwrap_or(u32::MAX),
        good: calls.success,
        bad: calls.failure + calls.timeout + full,
        slow: slow.map(|(_, count)| count).sum(),
        refused: calls.rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CircuitCalls, Provenance};

    const START: UnixNanos = UnixNanos::new(1_800_000_000_000_000_000);

    fn sample(second: u32, success: u64, failure: u64, rejected: u64) -> CircuitSample {
        CircuitSample {
            key: CircuitKey {
                service: "shop".to_owned(),
                name: "stock".to_owned(),
            },
            instance: "a".to_owned(),
            time: START + SECOND * second,
            state: EffectiveState::Closed,
            calls: CircuitCalls {
                success,
                failure,
                rejected,
                ..CircuitCalls::default()
            },
            in_flight: 0,
            latency_buckets: Vec::new(),
        }
    }

    fn run(changed: Settings, samples: Vec<CircuitSample>) -> Preview {
        run_after(Vec::new(), changed, samples)
    }

    fn run_after(
        past: Vec<CircuitTransition>,
        changed: Settings,
        samples: Vec<CircuitSample>,
    ) -> Preview {
        let run = Run {
            present: Settings::default(),
            changed,
            past,
            range: TimeRange::until(START + LENGTH, LENGTH),
        };
        run.preview(BTreeMap::from([("a".to_owned(), samples)]))
    }

    /// Scenario: half a minute in which every third call failed.
    /// Guarantees: 50 % do not open it, 30 % would have, with the time, the reason and the refused calls.
    #[test]
    fn a_lower_limit_would_have_opened_it() {
        let lower = Settings {
            failure_rate_percent: 30.0,
            ..Settings::default()
        };
        let samples = (0..30).map(|second| sample(second, 20, 10, 0)).collect();
        let preview = run(lower, samples);
        let one = &preview.instances[0];
        assert_eq!((one.calls, &one.present), (900, &Some(Course::default())));
        let changed = one.changed.as_ref().unwrap();
        let first = &changed.transitions[0];
        assert_eq!(first.to, EffectiveState::Open);
        assert!((START..START + SECOND).contains(&first.time));
        assert!(first.reason.contains("(limit 30 %)"), "{}", first.reason);
        assert!(changed.refused > 300, "{changed:?}");
    }

    /// Scenario: the circuit opened 2 s before the ten minutes begin, with an open time of 5 s; and the settings to try wait
    /// for 30 s.
    /// Guarantees: both begin open, each for what is left of its own open time; forced states are no states of the rules.
    #[test]
    fn a_replay_begins_in_the_state_of_its_start() {
        let patient = Settings {
            open_duration: SECOND * 30,
            ..Settings::default()
        };
        let transition = |to, time| CircuitTransition {
            key: sample(0, 0, 0, 0).key,
            instance: "a".to_owned(),
            time,
            from: EffectiveState::Closed,
            to,
            reason: String::new(),
            provenance: Provenance::Reported,
            open_until: None,
            trace_id: None,
            span_id: None,
        };
        let opened = |time| vec![transition(EffectiveState::Open, time)];
        let samples: Vec<_> = (0..60).map(|second| sample(second, 10, 0, 0)).collect();
        let refused = |past| {
            let preview = run_after(past, patient.clone(), samples.clone());
            let one = preview.instances.into_iter().next().unwrap();
            let of = |course: Option<Course>| course.unwrap().refused;
            (one.state_at_start, of(one.present), of(one.changed))
        };
        let open = (EffectiveState::Open, 30, 280);
        assert_eq!(refused(opened(START - SECOND * 2)), open);
        let forced = vec![transition(EffectiveState::ForcedOpen, START - SECOND)];
        assert_eq!(refused(forced), (EffectiveState::ForcedOpen, 0, 0));
        let later = opened(START + SECOND * 50);
        assert_eq!(refused(later), (EffectiveState::Closed, 0, 0));
        assert_eq!(refused(Vec::new()), (EffectiveState::Closed, 0, 0));
    }

    #[test]
    fn only_as_many_calls_as_can_be_replayed_are() {
        let samples = (0..10)
            .map(|second| sample(second, 1_000_000, 0, 0))
            .collect();
        let preview = run(Settings::default(), samples);
        assert_eq!(preview.start, START + SECOND * 7);
        assert_eq!(preview.instances[0].calls, CALLS_MAX);
    }

    #[test]
    fn what_the_breaker_refused_has_no_result() {
        let patient = Settings {
            failure_rate_percent: 100.0,
            ..Settings::default()
        };
        let mut samples = vec![sample(0, 10, 20, 0)];
        samples.extend((1..6).map(|second| sample(second, 0, 0, 10)));
        let preview = run(patient, samples);
        let one = &preview.instances[0];
        let changed = one.changed.as_ref().unwrap();
        assert_eq!((one.happened.refused, changed.unknown), (50, 50));
        assert_eq!(changed.openings, 0);
    }
}
