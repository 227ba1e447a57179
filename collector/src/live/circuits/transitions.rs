//! State changes, newest first, deduplicated, and without derived ones whose event arrived later.

use std::time::Duration;

use super::records::Records;
use super::timing::EXPLAINED_WITHIN;
use crate::model::{CircuitKey, CircuitTransition, HOUR, NANOSECOND, Provenance, TimeRange};
use crate::store::series::{SeriesKind, SeriesRecord};
use crate::store::{SeriesReader, StoreError};

/// The first step back when searching for the newest transitions.
const FIRST_STEP: Duration = HOUR;
/// Transitions of one step that are kept while it is read, up to 2 KB each: repeated and explained ones are dropped
/// afterwards, so more than the limit of an answer. Of more, the earliest are left out.
const STEP_MAX: usize = 20_000;

/// Searches backwards in doubling steps, so that finding the last few of a busy week does not read all of it.
pub(super) fn newest(
    records: &Records<'_>,
    key: Option<&CircuitKey>,
    range: TimeRange,
    limit: usize,
) -> Result<Vec<CircuitTransition>, StoreError> {
    let mut found = Vec::new();
    let Some(latest) = records.latest(SeriesKind::Transition)? else {
        return Ok(found);
    };
    let mut end = range.end.min(latest + NANOSECOND);
    let mut step = FIRST_STEP;
    while end > range.start && found.len() < limit {
        let slice = TimeRange {
            start: (end - step).max(range.start),
            end,
        };
        let mut part = Vec::new();
        records.scan(SeriesKind::Transition, slice, key, &mut |record| {
            if let SeriesRecord::Transition(transition) = record {
                part.push(transition);
                if part.len() >= 2 * STEP_MAX {
                    keep_latest(&mut part);
                }
            }
        })?;
        if records.is_over() {
            // The newest ones of the slice may be among the unread records.
            records.end_at(end);
            break;
        }
        // Stable and reversed: of two at the same nanosecond the one that arrived later is newer.
        part.sort_by_key(|transition: &CircuitTransition| transition.time);
        drop_repeated(&mut part);
        drop_explained(&mut part);
        found.extend(part.into_iter().rev());
        end = slice.start;
        step = step.saturating_mul(2);
    }
    found.truncate(limit);
    Ok(found)
}

/// Leaves out the earliest transitions beyond `STEP_MAX`.
fn keep_latest(part: &mut Vec<CircuitTransition>) {
    part.sort_by_key(|transition| transition.time);
    part.drain(..part.len().saturating_sub(STEP_MAX));
}

/// Drops transitions derived from a reported state whose event arrived slightly later.
fn drop_explained(sorted: &mut Vec<CircuitTransition>) {
    let explains = |derived: &CircuitTransition, other: &CircuitTransition| {
        other.to == derived.to
            && other.instance == derived.instance
            && other.key == derived.key
            && other.provenance == Provenance::Reported
    };
    let near = |derived: &CircuitTransition| {
        let to = derived.time;
        let from = to - EXPLAINED_WITHIN;
        let first = sorted.partition_point(|other| other.time < from);
        let events = sorted[first..].iter().take_while(|other| other.time <= to);
        events.clone().any(|other| explains(derived, other))
    };
    let explained: Vec<bool> = sorted
        .iter()
        .map(|one| one.provenance == Provenance::Derived && near(one))
        .collect();
    let mut explained = explained.into_iter();
    sorted.retain(|_| !explained.next().unwrap_or(false));
}

/// Drops transitions stored by two collectors: the sender got no answer from the first and retried with the
/// second.
fn drop_repeated(sorted: &mut Vec<CircuitTransition>) {
    let mut seen: Vec<CircuitTransition> = Vec::new();
    sorted.retain(|transition| {
        if seen.last().is_some_and(|last| last.time != transition.time) {
            seen.clear();
        }
        let is_new = !seen.contains(transition);
        seen.push(transition.clone());
        is_new
    });
}
