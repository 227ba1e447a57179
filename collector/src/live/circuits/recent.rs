//! A cache of the last minutes of other collectors' records, so that the current wall queries InfluxDB only
//! for new ones.
//!
//! Each query includes the last seconds again: clocks differ, and records may be written late.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::replay::{Id, take_fresher, take_newer};
use super::timing::{
    COLLECTOR_LEAD_MAX, FORGET_AFTER, READ_AGAIN, READ_AGAIN_WIDE, READ_WIDE_EVERY, SETTINGS_EVERY,
    SHOWN, WRITTEN_WITHIN,
};
use crate::model::{CircuitKey, CircuitSample, CircuitTransition, TimeRange, UnixNanos};
use crate::store::series::{SeriesKind, SeriesRecord, SettingsRecord, Standing};
use crate::store::{SeriesReader, StoreError};

/// Long enough to lead from the oldest standing to now.
const TRANSITIONS_KEPT: Duration = FORGET_AFTER.saturating_add(WRITTEN_WITHIN);

#[derive(Debug, Default)]
pub(super) struct Recent {
    standings: BTreeMap<Id, Standing>,
    settings: BTreeMap<Id, Option<SettingsRecord>>,
    transitions: Vec<CircuitTransition>,
    samples: Vec<CircuitSample>,
    read_until: Option<UnixNanos>,
    read_wide: UnixNanos,
    /// Transitions known at the last query.
    seen: HashSet<(UnixNanos, Id)>,
}

impl Recent {
    /// Reads new records; returns the new transitions (none the first time).
    pub(super) fn look(
        &mut self,
        source: &dyn SeriesReader,
        now: UnixNanos,
    ) -> Result<Vec<CircuitTransition>, StoreError> {
        let is_wide = now - self.read_wide >= READ_WIDE_EVERY;
        let overlap = if is_wide { READ_AGAIN_WIDE } else { READ_AGAIN };
        let of_changes = if is_wide {
            TRANSITIONS_KEPT
        } else {
            READ_AGAIN
        };
        self.read_standings(source, now, overlap)?;
        self.read_settings(source, now, overlap)?;
        self.read_transitions(source, now, of_changes)?;
        self.read_samples(source, now, overlap)?;
        let is_first = self.read_until.is_none();
        self.read_until = Some(now);
        if is_wide {
            self.read_wide = now;
        }
        let seen = self.transitions.iter().map(|transition| {
            let id = (transition.key.clone(), transition.instance.clone());
            (transition.time, id)
        });
        let seen: HashSet<_> = seen.collect();
        let known = std::mem::replace(&mut self.seen, seen);
        let news = self.transitions.iter().filter(|transition| {
            let id = (transition.key.clone(), transition.instance.clone());
            !is_first && !known.contains(&(transition.time, id))
        });
        Ok(news.cloned().collect())
    }

    /// Returns the range to read of a kind, given how much is kept and how much is read again.
    fn unread(&self, now: UnixNanos, kept: Duration, overlap: Duration) -> TimeRange {
        let oldest = now - kept;
        let known = self
            .read_until
            .map_or(UnixNanos::default(), |until| until - overlap);
        TimeRange {
            start: oldest.max(known),
            end: now + COLLECTOR_LEAD_MAX,
        }
    }

    fn read_standings(
        &mut self,
        source: &dyn SeriesReader,
        now: UnixNanos,
        overlap: Duration,
    ) -> Result<(), StoreError> {
        let kept = FORGET_AFTER + WRITTEN_WITHIN;
        let (range, known) = (self.unread(now, kept, overlap), &mut self.standings);
        source.scan(SeriesKind::Standing, range, None, &mut |record| {
            if let SeriesRecord::Standing(standing) = record {
                let id = (standing.key.clone(), standing.instance.clone());
                match known.get_mut(&id) {
                    Some(known) => take_fresher(known, standing),
                    None => drop(known.insert(id, standing)),
                }
            }
        })?;
        known.retain(|_, standing| standing.time >= now - kept);
        Ok(())
    }

    fn read_settings(
        &mut self,
        source: &dyn SeriesReader,
        now: UnixNanos,
        overlap: Duration,
    ) -> Result<(), StoreError> {
        let kept = SETTINGS_EVERY + WRITTEN_WITHIN;
        let (range, known) = (self.unread(now, kept, overlap), &mut self.settings);
        source.scan(SeriesKind::Settings, range, None, &mut |record| {
            if let SeriesRecord::Settings(report) = record {
                let id = (report.key.clone(), report.instance.clone());
                take_newer(known.entry(id).or_default(), report);
            }
        })?;
        let oldest = now - kept;
        let is_kept = |report: &SettingsRecord| report.time >= oldest;
        known.retain(|_, report| report.as_ref().is_some_and(is_kept));
        Ok(())
    }

    fn read_transitions(
        &mut self,
        source: &dyn SeriesReader,
        now: UnixNanos,
        overlap: Duration,
    ) -> Result<(), StoreError> {
        let kept = TRANSITIONS_KEPT;
        let range = self.unread(now, kept, overlap);
        let mut found = Vec::new();
        source.scan(SeriesKind::Transition, range, None, &mut |record| {
            if let SeriesRecord::Transition(transition) = record {
                found.push(transition);
            }
        })?;
        let oldest = now - kept;
        let is_kept = |time| time >= oldest && !range.contains(time);
        self.transitions.retain(|known| is_kept(known.time));
        self.transitions.append(&mut found);
        Ok(())
    }

    fn read_samples(
        &mut self,
        source: &dyn SeriesReader,
        now: UnixNanos,
        overlap: Duration,
    ) -> Result<(), StoreError> {
        let slowest = self.standings.values().map(|standing| standing.interval_ms);
        let kept = SHOWN.max(Duration::from_millis(2 * slowest.max().unwrap_or(0)));
        let range = self.unread(now, kept, overlap);
        let mut found = Vec::new();
        source.scan(SeriesKind::Sample, range, None, &mut |record| {
            if let SeriesRecord::Sample(sample) = record {
                found.push(sample);
            }
        })?;
        let oldest = now - kept;
        let is_kept = |time| time >= oldest && !range.contains(time);
        self.samples.retain(|known| is_kept(known.time));
        self.samples.append(&mut found);
        Ok(())
    }
}

impl SeriesReader for Recent {
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError> {
        let wanted =
            |key: &CircuitKey, time| range.contains(time) && only.is_none_or(|only| only == key);
        match kind {
            SeriesKind::Standing => {
                let found = self.standings.values();
                let found = found.filter(|s| wanted(&s.key, s.time)).cloned();
                found.map(SeriesRecord::Standing).for_each(visit);
            }
            SeriesKind::Settings => {
                let found = self.settings.values().flatten();
                let found = found.filter(|s| wanted(&s.key, s.time)).cloned();
                found.map(SeriesRecord::Settings).for_each(visit);
            }
            SeriesKind::Transition => {
                let found = self.transitions.iter();
                let found = found.filter(|t| wanted(&t.key, t.time)).cloned();
                found.map(SeriesRecord::Transition).for_each(visit);
            }
            SeriesKind::Sample => {
                let found = self.samples.iter();
                let found = found.filter(|s| wanted(&s.key, s.time)).cloned();
                found.map(SeriesRecord::Sample).for_each(visit);
            }
            SeriesKind::Rollup
            | SeriesKind::Red
            | SeriesKind::Dependency
            | SeriesKind::Instance
            | SeriesKind::Control
            | SeriesKind::Registry
            | SeriesKind::Policy
            | SeriesKind::Address => {}
        }
        Ok(())
    }

    fn latest(&self, _kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError> {
        Ok(None)
    }
}
