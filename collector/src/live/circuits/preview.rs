//! What changed settings of a breaker would have done with the calls of the last minutes: the stored seconds of each
//! instance go through the library's rules once more, next to what happened.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use fusebox::circuit_breaker::{
    EffectiveState, LatencyHistogram, RecordedSecond, RecordedStart, SettingValues, Settings,
    Simulation, State,
};
use serde::Serialize;

use super::control::ControlError;
use super::{Circuits, transitions};
use crate::model::{
    CircuitCalls, CircuitSample, CircuitTransition, CircuitView, MINUTE, SECOND, TimeRange,
    UnixNanos, nanos,
};
use crate::store::cancel;
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// How far back it looks.
const LENGTH: Duration = MINUTE.saturating_mul(10);
/// Calls that are replayed, 0.2 µs each for the two simulations; of a busier circuit only the latest.
const CALLS_MAX: u64 = 3_000_000;
/// Seconds of instances that are kept, up to 400 bytes each; beyond it the earliest are left out.
const SECONDS_MAX: usize = 120_000;
/// Transitions that are read, the latest.
const PAST_MAX: usize = 10_000;
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
        let range = TimeRange::until(now.floor(SECOND), LENGTH);
        let preview = self.read(move |_, records| {
            let mut seconds = Seconds::new(range, [&present, &changed]);
            records.scan(SeriesKind::Sample, range, Some(&key), &mut |record| {
                if let SeriesRecord::Sample(sample) = record {
                    seconds.add(sample);
                }
            })?;
            // Those before the start say in which state it was, and for how long.
            let past = TimeRange::until(range.end, LENGTH * 2);
            let past = transitions::newest(records, Some(&key), past, PAST_MAX)?;
            let run = Run {
                present,
                changed,
                past: by_instance(past),
                range: seconds.latest(),
            };
            let mut preview = run.preview(seconds.by_instance())?;
            preview.not_replayed = not_replayed;
            Ok(preview)
        });
        Ok(preview.await?.value)
    }
}

/// The calls of one instance in one second.
#[derive(Debug, Default)]
struct Second {
    /// The state that the first sample has.
    state: Option<EffectiveState>,
    calls: CircuitCalls,
    /// Slow ones by the settings in force and by the changed ones.
    slow: [u64; 2],
}

/// The seconds of all instances, added up while they are read: there may be any number of samples of one second.
struct Seconds {
    range: TimeRange,
    /// Index of the last bucket of calls that are not slow, by the settings in force and by the changed ones.
    limits: [Option<i32>; 2],
    /// By second since the start of the range, and instance.
    counted: BTreeMap<(u32, String), Second>,
    /// The first second of which nothing was left out.
    first: u32,
}

impl Seconds {
    fn new(range: TimeRange, settings: [&Settings; 2]) -> Self {
        let limit = |it: &Settings| it.slow_call_duration.map(LatencyHistogram::index_of);
        Self {
            range,
            limits: settings.map(limit),
            counted: BTreeMap::new(),
            first: 0,
        }
    }

    fn add(&mut self, sample: CircuitSample) {
        let second = nanos(sample.time - self.range.start) / nanos(SECOND);
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        if second < self.first {
            return;
        }
        let counted = self.counted.entry((second, sample.instance)).or_default();
        counted.state.get_or_insert(sample.state);
        counted.calls.add(&sample.calls);
        for (limit, slow) in self.limits.iter().zip(&mut counted.slow) {
            let of_slow = |(index, _): &&(i32, u64)| limit.is_some_and(|limit| *index > limit);
            let counts = sample.latency_buckets.iter().filter(of_slow);
            *slow = counts.fold(*slow, |sum, (_, count)| sum.saturating_add(*count));
        }
        if self.counted.len() > SECONDS_MAX {
            self.drop_first();
        }
    }

    /// Leaves out the earliest second, of all instances.
    fn drop_first(&mut self) {
        if let Some(((second, _), _)) = self.counted.pop_first() {
            self.first = second.saturating_add(1);
            self.counted = self.counted.split_off(&(self.first, String::new()));
        }
    }

    /// Returns the latest whole seconds that have no more calls than can be replayed, and leaves out the others.
    fn latest(&mut self) -> TimeRange {
        let mut calls = 0_u64;
        let busy = self.counted.iter().rev().find(|(_, counted)| {
            calls = calls.saturating_add(counted.calls.total());
            calls > CALLS_MAX
        });
        if let Some(((second, _), _)) = busy {
            self.first = second.saturating_add(1);
            self.counted = self.counted.split_off(&(self.first, String::new()));
        }
        TimeRange {
            start: self.range.start + SECOND * self.first,
            ..self.range
        }
    }

    /// Returns the seconds of each instance in order, counted from the first that is replayed.
    fn by_instance(self) -> BTreeMap<String, Vec<(u32, Second)>> {
        let mut all: BTreeMap<String, Vec<(u32, Second)>> = BTreeMap::new();
        for ((second, instance), counted) in self.counted {
            let of_instance = all.entry(instance).or_default();
            of_instance.push((second - self.first, counted));
        }
        all
    }
}

/// Returns the transitions of each instance, oldest first.
fn by_instance(newest: Vec<CircuitTransition>) -> HashMap<String, Vec<CircuitTransition>> {
    let mut all: HashMap<String, Vec<CircuitTransition>> = HashMap::new();
    for transition in newest.into_iter().rev() {
        let of_instance = all.entry(transition.instance.clone()).or_default();
        of_instance.push(transition);
    }
    all
}

struct Run {
    present: Settings,
    changed: Settings,
    /// What happened in each instance, oldest first.
    past: HashMap<String, Vec<CircuitTransition>>,
    range: TimeRange,
}

impl Run {
    fn preview(
        &self,
        seconds: BTreeMap<String, Vec<(u32, Second)>>,
    ) -> Result<Preview, StoreError> {
        let calls = |all: &[(u32, Second)]| {
            let totals = all.iter().map(|(_, second)| second.calls.total());
            totals.fold(0, u64::saturating_add)
        };
        let counted = seconds.into_iter();
        let mut all: Vec<_> = counted.map(|(id, all)| (calls(&all), id, all)).collect();
        all.sort_by_key(|(calls, ..)| std::cmp::Reverse(*calls));
        let listed = all.iter().take(INSTANCES_MAX);
        let listed = listed.map(|(calls, id, seconds)| self.instance(id, *calls, seconds));
        Ok(Preview {
            start: self.range.start,
            end: self.range.end,
            instances: listed.collect::<Result<_, _>>()?,
            left_out: all.len().saturating_sub(INSTANCES_MAX),
            not_replayed: Vec::new(),
        })
    }

    fn instance(
        &self,
        id: &str,
        calls: u64,
        seconds: &[(u32, Second)],
    ) -> Result<InstancePreview, StoreError> {
        let (state, lasted) = self.start(id, seconds);
        let start = RecordedStart {
            state: computed(state),
            lasted,
        };
        let simulated = |which: usize, settings: &Settings| {
            // The client may have left: two simulations of all calls take more than half a second.
            cancel::check()?;
            let recorded = seconds.iter().map(|it| recorded(it, which, settings));
            let recorded: Vec<_> = recorded.collect();
            Ok::<_, StoreError>(self.simulated(settings, start, &recorded))
        };
        Ok(InstancePreview {
            instance: id.to_owned(),
            state_at_start: state,
            calls,
            happened: self.happened(id, seconds),
            present: simulated(0, &self.present)?,
            changed: simulated(1, &self.changed)?,
        })
    }

    /// Returns the state of an instance at the start, and how long it had been in it; without a transition that says so,
    /// the state of its first second, for long.
    fn start(&self, id: &str, seconds: &[(u32, Second)]) -> (EffectiveState, Duration) {
        let own = self.past.get(id).into_iter().flatten();
        let before = own.clone().take_while(|it| it.time < self.range.start);
        if let Some(last) = before.last() {
            return (last.to, self.range.start - last.time);
        }
        let first = own.map(|it| it.from).next();
        let first = first.or(seconds.first().and_then(|(_, second)| second.state));
        (first.unwrap_or(EffectiveState::Closed), Duration::MAX)
    }

    fn happened(&self, id: &str, seconds: &[(u32, Second)]) -> Course {
        let own = self.past.get(id).into_iter().flatten();
        let own = own.filter(|it| self.range.contains(it.time));
        let turn = |it: &CircuitTransition| Turn {
            time: it.time,
            to: it.to,
            reason: it.reason.clone(),
        };
        let is_opening = |it: &&CircuitTransition| it.to == EffectiveState::Open;
        let refused = seconds.iter().map(|(_, second)| second.calls.rejected);
        Course {
            openings: own.clone().filter(is_opening).count() as u64,
            refused: refused.fold(0, u64::saturating_add),
            unknown: 0,
            transitions: own.take(TRANSITIONS_MAX).map(turn).collect(),
        }
    }

    fn simulated(
        &self,
        settings: &Settings,
        begin: RecordedStart,
        seconds: &[RecordedSecond],
    ) -> Option<Course> {
        let start = self.range.start;
        let done: Simulation = settings.simulate(begin, seconds).ok()?;
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

/// Returns a second as the rules of these settings count it; `which` settings they are decides what was slow.
fn recorded(
    (second, counted): &(u32, Second),
    which: usize,
    settings: &Settings,
) -> RecordedSecond {
    let calls = &counted.calls;
    let full = match settings.bulkhead_full_is_failure {
        true => calls.bulkhead_full,
        false => 0,
    };
    RecordedSecond {
        second: *second,
        good: calls.success,
        bad: calls
            .failure
            .saturating_add(calls.timeout)
            .saturating_add(full),
        slow: counted.slow[which],
        refused: calls.rejected,
    }
}

#[cfg(test)]
mod tests;
