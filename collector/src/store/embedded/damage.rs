//! Reads past damaged or deleted data: a bad page is repaired, a bad block costs its rows, a bad footer is
//! rebuilt.

use std::io::ErrorKind;

use super::catalog::Catalog;
use super::segment::Segment;
use super::segment::repair::repair;
use crate::counters::Incident;
use crate::store::StoreError;

/// Reads from a block. If it is damaged, repairs it and reads again; if that fails too, counts its spans once
/// and returns `None`.
pub(crate) fn tolerate<T>(
    catalog: &Catalog,
    segment: &Segment,
    block: u32,
    mut read: impl FnMut() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    let result = match read() {
        // The footer is damaged, not the block: it is rebuilt and the read repeated.
        Err(StoreError::Damaged { .. }) if segment.is_broken() => return Ok(None),
        // Retried even if nothing was repaired: another reader may have done it, or the read may succeed this
        // time.
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

/// Returns whether the block is not yet known to be lost.
fn is_first_try(catalog: &Catalog, segment: &Segment, block: u32) -> bool {
    let sequence = segment.place().sequence;
    !catalog.damage.is_reported(sequence, u64::from(block))
}

/// Repairs the blocks of a segment; returns the number of restored pages.
pub(crate) fn repair_all(catalog: &Catalog, segment: &Segment) -> u64 {
    let blocks = 0..segment.blocks().len() as u32;
    blocks
        .map(|block| repair_block(catalog, segment, block))
        .sum()
}

fn repair_block(catalog: &Catalog, segment: &Segment, block: u32) -> u64 {
    let blocks = segment.blocks();
    let meta = blocks.get(block as usize);
    let pages = meta.map_or(0, |meta| repair(&segment.place().path, meta.offset));
    catalog
        .counters
        .incidents
        .add(Incident::RepairedPage, pages);
    pages
}

/// Counts and logs the spans of an unreadable block, once.
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

/// Turns segments deleted during the read, and damaged footers, into `None`; footers are rebuilt after the
/// read, which is then repeated.
pub(crate) fn skip_missing<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(StoreError::Damaged { .. }) => Ok(None),
        other => other.map(Some),
    }
}
