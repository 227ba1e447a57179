//! One breaker over a time range: calls by slice, and the spans of its states.
//!
//! Slices of a minute and more are summed from whole minutes (rollups and the current hour); shorter slices
//! and both ends of the range are summed from samples.
//!
//! Transitions are exact. A minute without one has the worst state of the instances that reported, which also
//! ends the state of an instance that stopped without an event.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::EffectiveState;

use super::rollup::Minutes;
use crate::model::{
    CircuitCalls, CircuitHistory, CircuitKey, CircuitTransition, HOUR, MINUTE, NANOSECOND,
    Provenance, SECOND, SparkBucket, StateSpan, TimeRange, UnixNanos, nanos,
};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Slices in one answer; about the width of a screen in pixels.
pub(super) const MAX_BUCKETS: usize = 2_000;

/// Returns a breaker's history; `minutes` are those without rollups in the journal. Blocks the thread.
pub(super) fn history(
    log: &dyn SeriesReader,
    key: &CircuitKey,
    range: TimeRange,
    buckets: usize,
    mut minutes: Minutes,
) -> Result<CircuitHistory, StoreError> {
    let from_hour = range.start.floor(HOUR);
    let hours = TimeRange {
        start: from_hour,
        ..range
    };
    log.scan(SeriesKind::Rollup, hours, Some(key), &mut |record| {
        if let SeriesRecord::Rollup(rollup) = record {
            minutes.add_rollup(&rollup);
        }
    })?;
    let mut transitions = Vec::new();
    let with_margin = TimeRange {
        start: range.start.floor(MINUTE),
        ..range
    };
    log.scan(
        SeriesKind::Transition,
        with_margin,
        Some(key),
        &mut |record| {
            if let SeriesRecord::Transition(transition) = record {
                transitions.push(transition);
            }
        },
    )?;
    transitions.sort_by_key(|transition| transition.time);
    let states = states(&minutes, &transitions, range);
    let mut slices = Slices::new(range, buckets.clamp(1, MAX_BUCKETS));
    for samples in slices.add_minutes(&minutes) {
        log.scan(SeriesKind::Sample, samples, Some(key), &mut |record| {
            if let SeriesRecord::Sample(sample) = record {
                slices.add(sample.time, &sample.calls);
            }
        })?;
    }
    slices.add_states(&states);
    Ok(CircuitHistory {
        buckets: slices.buckets,
        states,
    })
}

struct Slices {
    range: TimeRange,
    /// Nanoseconds.
    width: u64,
    buckets: Vec<SparkBucket>,
}

impl Slices {
    fn new(range: TimeRange, buckets: usize) -> Self {
        let length = nanos(range.end - range.start);
        Self {
            range,
            width: length.div_ceil(buckets as u64).max(1),
            buckets: vec![SparkBucket::default(); buckets],
        }
    }

    fn index_of(&self, time: UnixNanos) -> usize {
        (nanos(time - self.range.start) / self.width) as usize
    }

    fn add(&mut self, time: UnixNanos, calls: &CircuitCalls) {
        if !self.range.contains(time) {
            return;
        }
        let index = self.index_of(time);
        if let Some(bucket) = self.buckets.get_mut(index) {
            bucket.calls.add(calls);
        }
    }

    /// Adds whole minutes within the range if slices are at least that long; returns the ranges left for
    /// samples.
    fn add_minutes(&mut self, minutes: &Minutes) -> Vec<TimeRange> {
        let range = self.range;
        let first = (range.start + (MINUTE - NANOSECOND)).floor(MINUTE);
        let end = range.end.floor(MINUTE);
        if self.width < nanos(MINUTE) || first >= end {
            return vec![range];
        }
        for (start, calls, _) in minutes.iter() {
            if (first..end).contains(&start) {
                self.add(start + MINUTE / 2, calls);
            }
        }
        let before = TimeRange {
            end: first,
            ..range
        };
        let after = TimeRange {
            start: end,
            ..range
        };
        let ends = [before, after].into_iter();
        ends.filter(|part| part.start < part.end).collect()
    }

    fn add_states(&mut self, states: &[StateSpan]) {
        for span in states {
            let first = self.index_of(span.start);
            let last = self.index_of(span.end - NANOSECOND);
            for bucket in self.buckets.iter_mut().take(last + 1).skip(first) {
                bucket.state = bucket.state.max(Some(span.state));
            }
        }
    }
}

/// Returns the spans of states within a range, from minutes and the transitions in them.
fn states(
    minutes: &Minutes,
    transitions: &[CircuitTransition],
    range: TimeRange,
) -> Vec<StateSpan> {
    let mut spans = Spans {
        range,
        spans: Vec::new(),
    };
    let mut instances: BTreeMap<&str, EffectiveState> = BTreeMap::new();
    let mut rest = transitions.iter().peekable();
    let mut heard_until = UnixNanos::default();
    for (start, _, worst) in minutes.iter() {
        let end = start + MINUTE;
        let mut is_first = start > std::mem::replace(&mut heard_until, end);
        while rest.next_if(|early| early.time < start).is_some() {}
        let mut at = start;
        let mut any = false;
        while let Some(next) = rest.next_if(|next| next.time < end) {
            any = true;
            let known = instances.entry(&next.instance).or_insert(next.from);
            *known = next.from;
            // A state derived from the first report says nothing about the time before.
            let is_unknown = is_first && next.provenance == Provenance::Derived;
            if !is_unknown {
                spans.add(merged(&instances), at, next.time);
            }
            is_first = false;
            instances.insert(&next.instance, next.to);
            at = next.time;
        }
        if !any {
            instances.retain(|_, state| *state <= worst);
        }
        let state = if any { merged(&instances) } else { worst };
        spans.add(state, at, end);
    }
    spans.spans
}

fn merged(instances: &BTreeMap<&str, EffectiveState>) -> EffectiveState {
    let worst = instances.values().copied().max();
    worst.unwrap_or(EffectiveState::Closed)
}

struct Spans {
    range: TimeRange,
    spans: Vec<StateSpan>,
}

impl Spans {
    fn add(&mut self, state: EffectiveState, start: UnixNanos, end: UnixNanos) {
        let start = start.max(self.range.start);
        let end = end.min(self.range.end);
        if start >= end {
            return;
        }
        match self.spans.last_mut() {
            // A report may arrive just after a minute's end: less than two seconds are not a gap.
            Some(last) if last.state == state && start <= last.end + 2 * SECOND => {
                last.end = end;
            }
            _ => self.spans.push(StateSpan { state, start, end }),
        }
    }
}
