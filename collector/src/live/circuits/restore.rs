//! Restores an earlier run from the journal: the board, and the minutes without rollups.

use std::collections::BTreeMap;

use super::board::Board;
use super::replay::facts_at;
use super::rollup::Minutes;
use super::timing::CLOCK_LEAD_MAX;
use crate::model::{CircuitCalls, CircuitKey, HOUR, TimeRange, UnixNanos};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// Hours without rollups, if a crash came at the end of one.
const MISSING_HOURS: u64 = 2;

/// Returns the board as of the end of the journal.
pub(super) fn restore(log: &dyn SeriesReader, now: UnixNanos) -> Result<Board, StoreError> {
    let mut board = Board::opened(now);
    let kinds = [
        SeriesKind::Sample,
        SeriesKind::Standing,
        SeriesKind::Transition,
    ];
    let mut end = None;
    for kind in kinds {
        end = end.max(log.latest(kind)?);
    }
    // Later ones are of a clock that was ahead.
    let Some(end) = end.map(|end| end.min(now + CLOCK_LEAD_MAX)) else {
        return Ok(board);
    };
    let facts = facts_at(log, end, None, &BTreeMap::new())?;
    let minutes = minutes(log, unrolled(log, end)?, None)?;
    board.restore(facts.into_values().flatten().collect(), minutes, now);
    Ok(board)
}

/// Returns a breaker's minutes in the current hour, and in the previous one if its rollup is not written yet.
pub(super) fn unrolled_minutes(
    log: &dyn SeriesReader,
    key: &CircuitKey,
    now: UnixNanos,
) -> Result<Minutes, StoreError> {
    let hour = now.floor(HOUR);
    let before = hour - HOUR;
    let mut rolled = false;
    let last_hour = TimeRange {
        start: before,
        end: hour,
    };
    log.scan(SeriesKind::Rollup, last_hour, Some(key), &mut |_| {
        rolled = true
    })?;
    let range = TimeRange {
        start: if rolled { hour } else { before },
        end: UnixNanos::MAX,
    };
    let mut minutes = minutes(log, range, Some(key))?;
    Ok(minutes.remove(key).unwrap_or_default())
}

/// Returns the time range since the last rollup.
fn unrolled(log: &dyn SeriesReader, end: UnixNanos) -> Result<TimeRange, StoreError> {
    let earliest = (end.window(HOUR) + 1).saturating_sub(MISSING_HOURS);
    let earliest = UnixNanos::of_window(earliest, HOUR);
    let rolled = log
        .latest(SeriesKind::Rollup)?
        .map_or(UnixNanos::default(), |hour| hour + HOUR)
        .min(end.floor(HOUR));
    Ok(TimeRange {
        start: earliest.max(rolled),
        end: UnixNanos::MAX,
    })
}

/// Computes minutes: calls from samples, states from samples, standings and transitions.
fn minutes(
    log: &dyn SeriesReader,
    range: TimeRange,
    only: Option<&CircuitKey>,
) -> Result<BTreeMap<CircuitKey, Minutes>, StoreError> {
    let mut minutes: BTreeMap<CircuitKey, Minutes> = BTreeMap::new();
    let mut add = |key: CircuitKey, time: UnixNanos, calls: &CircuitCalls, state| {
        minutes.entry(key).or_default().add(time, calls, state);
    };
    for kind in [
        SeriesKind::Sample,
        SeriesKind::Standing,
        SeriesKind::Transition,
    ] {
        log.scan(kind, range, only, &mut |record| match record {
            SeriesRecord::Sample(s) => add(s.key, s.time, &s.calls, s.state),
            SeriesRecord::Standing(s) => {
                add(s.key, s.last_seen, &CircuitCalls::default(), s.state);
            }
            SeriesRecord::Transition(t) => {
                let worst = t.from.max(t.to);
                add(t.key, t.time, &CircuitCalls::default(), worst);
            }
            _ => {}
        })?;
    }
    Ok(minutes)
}
