//! Takes over from the journal what an earlier run left: the board as it was, and the minutes without rollups.

use std::collections::BTreeMap;

use super::board::Board;
use super::replay::facts_at;
use super::rollup::{HOUR_NANOS, Minutes};
use crate::model::{CircuitCalls, CircuitKey, TimeRange};
use crate::store::StoreError;
use crate::store::series::{SeriesKind, SeriesLog, SeriesRecord};

/// Hours that may be without rollups after a crash at the end of one.
const MISSING_HOURS: u64 = 2;

/// Returns the board as the journal's end leaves it.
pub(super) fn restore(log: &SeriesLog, now: u64) -> Result<Board, StoreError> {
    let mut board = Board::default();
    let kinds = [
        SeriesKind::Sample,
        SeriesKind::Standing,
        SeriesKind::Transition,
    ];
    let Some(end) = kinds.into_iter().filter_map(|kind| log.latest(kind)).max() else {
        return Ok(board);
    };
    let facts = facts_at(log, end, None, &BTreeMap::new())?;
    let minutes = minutes(log, end)?;
    board.restore(facts.into_values().flatten().collect(), minutes, now);
    Ok(board)
}

/// Counts again the minutes since the last rollup: calls from samples, states from samples and standings.
fn minutes(log: &SeriesLog, end: u64) -> Result<BTreeMap<CircuitKey, Minutes>, StoreError> {
    let earliest = (end / HOUR_NANOS + 1).saturating_sub(MISSING_HOURS) * HOUR_NANOS;
    let rolled = log
        .latest(SeriesKind::Rollup)
        .map_or(0, |hour| hour + HOUR_NANOS);
    let range = TimeRange {
        start_unix_nanos: earliest.max(rolled),
        end_unix_nanos: u64::MAX,
    };
    let mut minutes: BTreeMap<CircuitKey, Minutes> = BTreeMap::new();
    let mut add = |key: CircuitKey, time: u64, calls: &CircuitCalls, state| {
        minutes.entry(key).or_default().add(time, calls, state);
    };
    for kind in [
        SeriesKind::Sample,
        SeriesKind::Standing,
        SeriesKind::Transition,
    ] {
        log.scan(kind, range, None, &mut |record| match record {
            SeriesRecord::Sample(s) => add(s.key, s.time_unix_nanos, &s.calls, s.state),
            SeriesRecord::Standing(s) => {
                add(
                    s.key,
                    s.last_seen_unix_nanos,
                    &CircuitCalls::default(),
                    s.state,
                );
            }
            SeriesRecord::Transition(t) => {
                let worst = t.from.max(t.to);
                add(t.key, t.time_unix_nanos, &CircuitCalls::default(), worst);
            }
            _ => {}
        })?;
    }
    Ok(minutes)
}
