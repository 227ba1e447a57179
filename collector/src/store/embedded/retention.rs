//! Deletes whole segments: those past the retention, then the oldest beyond the disk budget.

use std::fs;
use std::io;
use std::path::Path;

use super::catalog::Catalog;
use super::segment::Segment;
use super::{EmbeddedOptions, StoreStats};
use crate::counters::Incident;
use crate::log::{Deletions, Reason, Retention, is_older};
use crate::model::UnixNanos;
use crate::store::{Follow, StoreError};

/// Deletes segments according to the options; never one that is still being written.
pub(crate) fn enforce(
    catalog: &Catalog,
    options: &EmbeddedOptions,
    follow: Option<&Follow>,
    now: UnixNanos,
) -> Result<(), StoreError> {
    let mut deletions = Deletions::default();
    let outcome = delete_expired(catalog, options, follow, now, &mut deletions);
    deletions.report("spans", &catalog.counters);
    outcome.and_then(|()| save_notes(follow))
}

/// Returns how many unshipped spans the retention would delete at `now`.
pub(crate) fn expired_spans(
    catalog: &Catalog,
    options: &EmbeddedOptions,
    follow: Option<&Follow>,
    now: UnixNanos,
) -> u64 {
    let is_expired = |segment: &&Segment| {
        segment.is_finished()
            && is_older(
                UnixNanos::new(segment.totals().written),
                options.retention,
                now,
            )
            && !is_shipped(segment, follow, now)
    };
    let segments = catalog.snapshot();
    let expired = segments.iter().filter(is_expired);
    expired.map(|segment| segment.totals().rows).sum()
}

fn delete_expired(
    catalog: &Catalog,
    options: &EmbeddedOptions,
    follow: Option<&Follow>,
    now: UnixNanos,
    deletions: &mut Deletions,
) -> Result<(), StoreError> {
    let segments = catalog.snapshot();
    let retention = Retention {
        max_age: options.retention,
        max_bytes: options.disk_budget_bytes,
    };
    let others = catalog.groups.bytes() + catalog.replaced_bytes();
    let mut bytes = segments.iter().map(Segment::bytes).sum::<u64>() + others;
    let mut by_age: Vec<&Segment> = segments.iter().filter(|s| s.is_finished()).collect();
    by_age.sort_by_key(|segment| segment.totals().written);
    for segment in by_age {
        let totals = segment.totals();
        let is_shipped = || is_shipped(segment, follow, now).then_some(Reason::Shipped);
        let reason = retention.reason(UnixNanos::new(totals.written), bytes, now);
        if let Some(reason) = reason.or_else(is_shipped) {
            note_deletion(catalog, segment, follow);
            // Saved before the deletion, so that a crash in between does not lose the record of where its
            // spans are; and again after it, in case the disk was full and only the deletion made room.
            let before = save_notes(follow);
            delete(catalog, segment)?;
            let _retried_at_the_end = before.or_else(|_| save_notes(follow));
            bytes -= segment.bytes();
            deletions.add(
                reason,
                UnixNanos::new(totals.written),
                totals.rows,
                segment.bytes(),
            );
        }
    }
    Ok(())
}

fn save_notes(follow: Option<&Follow>) -> Result<(), StoreError> {
    follow.map_or(Ok(()), |follow| follow.followed.save())
}

/// Returns whether a segment is fully shipped and has stayed here for the configured time.
fn is_shipped(segment: &Segment, follow: Option<&Follow>, now: UnixNanos) -> bool {
    let Some(follow) = follow else {
        return false;
    };
    let totals = segment.totals();
    let unshipped = follow
        .followed
        .unshipped(segment.place().sequence, totals.rows);
    unshipped == 0 && is_older(UnixNanos::new(totals.written), follow.keep, now)
}

/// Records the deletion of a segment; its unshipped spans are lost, and counted.
fn note_deletion(catalog: &Catalog, segment: &Segment, follow: Option<&Follow>) {
    let Some(follow) = follow else {
        return;
    };
    let totals = segment.totals();
    let unshipped = follow
        .followed
        .unshipped(segment.place().sequence, totals.rows);
    let last = totals.written.saturating_add(totals.rows);
    follow.followed.note_deleted(last, unshipped);
    catalog
        .counters
        .incidents
        .add(Incident::SpansLostUnshipped, unshipped);
}

/// Hides a segment from readers and deletes its file, and the folder if it is then empty.
pub(crate) fn delete(catalog: &Catalog, segment: &Segment) -> Result<(), StoreError> {
    let path = &segment.place().path;
    catalog.remove(segment.place().sequence);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("delete", path, error));
        }
        _ => {}
    }
    // Fails, harmlessly, while the folder holds other segments.
    let _ = fs::remove_dir(path.parent().unwrap_or(Path::new(".")));
    Ok(())
}

/// Deletes the files that others took the place of before the last minute: no reader has them any more.
pub(crate) fn delete_replaced(catalog: &Catalog) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    for (path, bytes) in catalog.take_replaced() {
        match fs::remove_file(&path) {
            // Retention was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                outcome = outcome.and(Err(StoreError::io("delete", &path, error)));
                catalog.note_replaced(path, bytes);
            }
            Ok(()) => {}
        }
    }
    outcome
}

/// Sums up the catalog.
pub(crate) fn stats(catalog: &Catalog) -> StoreStats {
    let segments = catalog.snapshot();
    let mut stats = StoreStats {
        segments: segments.len() as u64,
        bytes: catalog.groups.bytes(),
        ..StoreStats::default()
    };
    for segment in segments.iter() {
        let totals = segment.totals();
        stats.spans += totals.rows;
        stats.bytes += segment.bytes();
        if totals.rows > 0 {
            let oldest = stats.oldest.unwrap_or(UnixNanos::MAX);
            stats.oldest = Some(oldest.min(UnixNanos::new(totals.min_start)));
        }
    }
    stats
}
