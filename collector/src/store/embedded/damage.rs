//! Reads past what is damaged or gone: a bad page is repaired, a bad block costs its rows, and a bad footer is rebuilt.

use std::io::ErrorKind;

use super::catalog::Catalog;
use super::segment::Segment;
use super::segment::repair::repair;
use crate::counters::Incident;
use crate::store::StoreError;

/// Reads from a block; where it turns out damaged, repairs it and reads again, or counts its spans once and goes on
/// without it.
pub(crate) fn tolerate<T>(
    catalog: &Catalog,
    segment: &Segment,
    block: u32,
    mut read: impl FnMut() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let result = match read() {
        // Not the block but the footer: it is rebuilt, and read again.
        Err(StoreError::Damaged { .. }) if segment.is_broken() => return Ok(None),
        // Where nothing was repaired, another reader did it, or it reads well this time.
        Err(StoreError::Damaged { .. }) if is_first_try(catalog, segment, block) => {
            repair_block(catalog, segment, block);
            read()
        }
        other => other,
    };
    match result {
        Err(error @ StoreError::Damaged { .. }) => {
            lose(catalog, segment, block, &error);
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Returns whether a block is not known to be lost.
fn is_first_try(catalog: &Catalog, segment: &Segment, block: u32) -> bool {
    let sequence = segment.place().sequence;
    !catalog.damage.is_reported(sequence, u64::from(block))
}

fn repair_block(catalog: &Catalog, segment: &Segment, block: u32) {
    if let Some(meta) = segment.blocks().get(block as usize) {
        let is_repaired = repair(&segment.place().path, meta.offset);
        let pages = u64::from(is_repaired);
        catalog
            .counters
            .incidents
            .add(Incident::RepairedPage, pages);
    }
}

/// Counts and logs the spans of a block that cannot be read, once.
fn lose(catalog: &Catalog, segment: &Segment, block: u32, error: &StoreError) {
    let rows = segment
        .blocks()
        .get(block as usize)
        .map_or(0, |meta| meta.rows);
    let problem = format_args!("{error}, spans lost: {rows}");
    let sequence = segment.place().sequence;
    if catalog.damage.report(sequence, u64::from(block), &problem) {
        catalog
            .counters
            .incidents
            .add(Incident::DamagedSpan, u64::from(rows));
    }
}

/// Goes on without what retention deleted under a reader, and without a damaged footer: it is rebuilt after the
/// reader, which then runs again.
pub(crate) fn skip_missing<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(StoreError::Damaged { .. }) => Ok(None),
        other => other.map(Some),
    }
}
