//! Reads past what is damaged or gone: a bad block costs its rows, and a bad footer is rebuilt.

use std::io::ErrorKind;

use super::catalog::Catalog;
use super::segment::Segment;
use crate::store::StoreError;

/// Reads from a block; where it turns out damaged, counts that once and goes on without it.
pub(crate) fn tolerate<T>(
    catalog: &Catalog,
    segment: &Segment,
    block: u32,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    match read() {
        // Not the block but the footer: it is rebuilt, and read again.
        Err(StoreError::Damaged { .. }) if segment.is_broken() => Ok(None),
        Err(error @ StoreError::Damaged { .. }) => {
            let sequence = segment.place().sequence;
            catalog.damage.report(sequence, u64::from(block), &error);
            Ok(None)
        }
        other => other.map(Some),
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
