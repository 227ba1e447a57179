//! The circuits at any moment, from the journal: the last standing of every instance before it, the
//! transitions since, the samples of the minutes before, and the settings of the hour before.

use std::collections::BTreeMap;
use std::time::Duration;

use fusebox::circuit_breaker::{EffectiveState, LatencyHistogram};

use super::facts::{Facts, Second, add_second, apply, stale_after};
use super::timing::{FORGET_AFTER, SETTINGS_EVERY, SHOWN, WRITTEN_WITHIN};
use crate::model::{
    CircuitKey, CircuitSample, CircuitTransition, NANOSECOND, SECOND, TimeRange, UnixNanos,
};
use crate::store::series::{SeriesKind, SeriesRecord, SettingsRecord, Standing};
use crate::store::{SeriesReader, StoreError};

pub(super) type Id = (CircuitKey, String);
/// Times of instances' last reports that are not in the journal yet.
pub(super) type LastSeen = BTreeMap<Id, UnixNanos>;

/// Returns every instance on the wall at a time, optionally of one breaker only. Blocks the thread.
pub(super) fn facts_at(
    log: &dyn SeriesReader,
    at: UnixNanos,
    only: Option<&CircuitKey>,
    last_seen: &LastSeen,
) -> Result<BTreeMap<CircuitKey, Vec<Facts>>, StoreError> {
    let mut instances = standings(log, at, only)?;
    let oldest = instances
        .values()
        .map(|facts| facts.standing.interval_ms)
        .max();
    let lookback = SHOWN.max(Duration::from_millis(2 * oldest.unwrap_or(0)));
    transitions(log, at, only, &mut instances)?;
    samples(log, at, lookback, only, &mut instances)?;
    settings(log, at, only, &mut instances)?;
    heard_later(log, at, only, last_seen, &mut instances)?;
    let mut by_circuit: BTreeMap<CircuitKey, Vec<Facts>> = BTreeMap::new();
    for ((key, _), mut facts) in instances {
        let silent = at - facts.standing.last_seen;
        if silent <= FORGET_AFTER {
            facts.stale = silent > stale_after(&facts.standing);
            by_circuit.entry(key).or_default().push(facts);
        }
    }
    Ok(by_circuit)
}

fn before(at: UnixNanos, length: Duration) -> TimeRange {
    TimeRange {
        start: at - length,
        end: at + NANOSECOND,
    }
}

fn standings(
    log: &dyn SeriesReader,
    at: UnixNanos,
    only: Option<&CircuitKey>,
) -> Result<BTreeMap<Id, Facts>, StoreError> {
    let mut latest: BTreeMap<Id, Standing> = BTreeMap::new();
    let range = before(at, FORGET_AFTER + WRITTEN_WITHIN);
    log.scan(SeriesKind::Standing, range, only, &mut |record| {
        if let SeriesRecord::Standing(standing) = record {
            let id = (standing.key.clone(), standing.instance.clone());
            match latest.get_mut(&id) {
                Some(known) => take_fresher(known, standing),
                None => drop(latest.insert(id, standing)),
            }
        }
    })?;
    let facts = |(id, standing): (Id, Standing)| {
        let facts = Facts {
            state_before: standing.state,
            standing,
            report: None,
            stale: false,
            seconds: Vec::new(),
            changes: Vec::new(),
            heard: None,
            delay: None,
        };
        (id, facts)
    };
    Ok(latest.into_iter().map(facts).collect())
}

/// Keeps the standing of the collector that received the instance's last report; of one collector, the
/// newest.
pub(super) fn take_fresher(known: &mut Standing, standing: Standing) {
    let first_seen = known.first_seen.min(standing.first_seen);
    let freshness = |of: &Standing| (of.last_seen, of.time);
    if freshness(&standing) >= freshness(known) {
        *known = standing;
    }
    known.first_seen = first_seen;
}

fn transitions(
    log: &dyn SeriesReader,
    at: UnixNanos,
    only: Option<&CircuitKey>,
    instances: &mut BTreeMap<Id, Facts>,
) -> Result<(), StoreError> {
    let mut found: Vec<CircuitTransition> = Vec::new();
    let range = before(at, FORGET_AFTER + WRITTEN_WITHIN);
    log.scan(SeriesKind::Transition, range, only, &mut |record| {
        if let SeriesRecord::Transition(transition) = record {
            found.push(transition);
        }
    })?;
    found.sort_by_key(|transition| transition.time);
    let recent = at - SHOWN;
    for transition in found {
        let id = (transition.key.clone(), transition.instance.clone());
        let Some(facts) = instances.get_mut(&id) else {
            continue;
        };
        let before = facts.standing.state;
        apply(&mut facts.standing, &transition);
        if transition.time >= recent {
            remember(facts, &transition, before);
        }
    }
    Ok(())
}

fn remember(facts: &mut Facts, transition: &CircuitTransition, before: EffectiveState) {
    if facts.changes.is_empty() {
        // If the standing is newer than the transition, it includes the transition's state.
        let known = transition.time < facts.standing.since;
        facts.state_before = if known { transition.from } else { before };
        if before == transition.to {
            facts.state_before = transition.from;
        }
    }
    facts.changes.push((transition.time, transition.to));
}

fn samples(
    log: &dyn SeriesReader,
    at: UnixNanos,
    lookback: Duration,
    only: Option<&CircuitKey>,
    instances: &mut BTreeMap<Id, Facts>,
) -> Result<(), StoreError> {
    let range = before(at, lookback);
    log.scan(SeriesKind::Sample, range, only, &mut |record| {
        if let SeriesRecord::Sample(sample) = record {
            let id = (sample.key.clone(), sample.instance.clone());
            if let Some(facts) = instances.get_mut(&id) {
                add_sample(facts, sample);
            }
        }
    })
}

fn add_sample(facts: &mut Facts, sample: CircuitSample) {
    let standing = &mut facts.standing;
    if sample.time >= standing.time {
        standing.in_flight = sample.in_flight;
    }
    standing.last_seen = standing.last_seen.max(sample.time);
    let second = sample.time.window(SECOND);
    let second = Second {
        second,
        calls: sample.calls,
        latency: LatencyHistogram::from_buckets(sample.latency_buckets),
    };
    add_second(&mut facts.seconds, second);
}

fn settings(
    log: &dyn SeriesReader,
    at: UnixNanos,
    only: Option<&CircuitKey>,
    instances: &mut BTreeMap<Id, Facts>,
) -> Result<(), StoreError> {
    let range = before(at, SETTINGS_EVERY + WRITTEN_WITHIN);
    log.scan(SeriesKind::Settings, range, only, &mut |record| {
        if let SeriesRecord::Settings(report) = record {
            let id = (report.key.clone(), report.instance.clone());
            if let Some(facts) = instances.get_mut(&id) {
                take_newer(&mut facts.report, report);
            }
        }
    })
}

/// Keeps the newest settings.
pub(super) fn take_newer(known: &mut Option<SettingsRecord>, report: SettingsRecord) {
    if known.as_ref().is_none_or(|known| known.time <= report.time) {
        *known = Some(report);
    }
}

/// A breaker without calls leaves no samples, and its standing is written only once a minute. So the next
/// standing, or the live board for the last minute, shows whether it still reported.
fn heard_later(
    log: &dyn SeriesReader,
    at: UnixNanos,
    only: Option<&CircuitKey>,
    last_seen: &LastSeen,
    instances: &mut BTreeMap<Id, Facts>,
) -> Result<(), StoreError> {
    let mut hear = |id: &Id, heard: UnixNanos| {
        if let Some(facts) = instances.get_mut(id) {
            let known = &mut facts.standing.last_seen;
            *known = heard.min(at).max(*known);
        }
    };
    let range = TimeRange {
        start: at + NANOSECOND,
        end: at + WRITTEN_WITHIN,
    };
    log.scan(SeriesKind::Standing, range, only, &mut |record| {
        if let SeriesRecord::Standing(standing) = record {
            let heard = standing.last_seen;
            // A standing of a later run of the instance says nothing about this time.
            if standing.first_seen <= at {
                hear(&(standing.key, standing.instance), heard);
            }
        }
    })?;
    for (id, heard) in last_seen {
        if *heard - at < WRITTEN_WITHIN {
            hear(id, *heard);
        }
    }
    Ok(())
}
