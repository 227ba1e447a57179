//! A breaker's calls by minute: the current hours in memory, ended ones as journal records.

use std::collections::BTreeMap;

use fusebox::circuit_breaker::EffectiveState;

use crate::model::{CircuitCalls, CircuitKey, HOUR, MINUTE, UnixNanos};
use crate::store::series::{Rollup, RollupMinute};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Minutes(BTreeMap<u64, (CircuitCalls, EffectiveState)>);

impl Minutes {
    pub(super) fn add(&mut self, time: UnixNanos, calls: &CircuitCalls, state: EffectiveState) {
        let minute = self
            .0
            .entry(time.window(MINUTE))
            .or_insert((CircuitCalls::default(), state));
        minute.0.add(calls);
        minute.1 = minute.1.max(state);
    }

    /// Removes and returns the hours that ended before `now`.
    pub(super) fn take_ended_hours(&mut self, key: &CircuitKey, now: UnixNanos) -> Vec<Rollup> {
        let current_hour = now.window(HOUR);
        if self
            .0
            .first_key_value()
            .is_none_or(|(minute, _)| minute / 60 >= current_hour)
        {
            return Vec::new();
        }
        let current = self.0.split_off(&(current_hour * 60));
        let ended = std::mem::replace(&mut self.0, current);
        let mut hours: BTreeMap<u64, Vec<RollupMinute>> = BTreeMap::new();
        for (minute, (calls, state)) in ended {
            hours.entry(minute / 60).or_default().push(RollupMinute {
                minute: (minute % 60) as u8,
                calls,
                state,
            });
        }
        let rollup = |(hour, minutes)| Rollup {
            key: key.clone(),
            hour: UnixNanos::of_window(hour, HOUR),
            minutes,
        };
        hours.into_iter().map(rollup).collect()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (start, calls, state) in other.iter() {
            self.add(start, calls, state);
        }
    }

    pub(super) fn add_rollup(&mut self, rollup: &Rollup) {
        for minute in &rollup.minutes {
            let time = rollup.hour + u32::from(minute.minute) * MINUTE;
            self.add(time, &minute.calls, minute.state);
        }
    }

    /// Returns the minutes with their start times, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UnixNanos, &CircuitCalls, EffectiveState)> {
        let minutes = self.0.iter();
        minutes
            .map(|(minute, (calls, state))| (UnixNanos::of_window(*minute, MINUTE), calls, *state))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
