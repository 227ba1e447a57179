//! Deletes whole segments: those past the retention, then the oldest beyond the disk budget.

use std::fs;
use std::io;
use std::path::Path;

use super::catalog::Catalog;
use super::io_error;
use super::segment::Segment;
use super::{EmbeddedOptions, StoreStats};
use crate::store::StoreError;

/// Deletes segments as the options say; one that is still written is never deleted.
pub(crate) fn enforce(
    catalog: &Catalog,
    options: &EmbeddedOptions,
    now_unix_nanos: u64,
) -> Result<(), StoreError> {
    let segments = catalog.snapshot();
    let retention = u64::try_from(options.retention.as_nanos()).unwrap_or(u64::MAX);
    let keep_from = now_unix_nanos.saturating_sub(retention);
    let mut bytes: u64 = segments.iter().map(Segment::bytes).sum();
    let mut by_age: Vec<&Segment> = segments.iter().filter(|s| s.is_finished()).collect();
    by_age.sort_by_key(|segment| segment.totals().written);
    for segment in by_age {
        let expired = segment.totals().written < keep_from;
        if expired || bytes > options.disk_budget_bytes {
            delete(catalog, segment)?;
            bytes -= segment.bytes();
        }
    }
    Ok(())
}

/// Hides a segment from readers and deletes its file, and its folder with the last one.
pub(crate) fn delete(catalog: &Catalog, segment: &Segment) -> Result<(), StoreError> {
    let path = &segment.place().path;
    catalog.remove(segment.place().sequence);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("delete", path, error));
        }
        _ => {}
    }
    // Fails while the folder holds other segments, and that is all we want to know.
    let _ = fs::remove_dir(path.parent().unwrap_or(Path::new(".")));
    Ok(())
}

/// Sums up the catalog.
pub(crate) fn stats(catalog: &Catalog) -> StoreStats {
    let segments = catalog.snapshot();
    let mut stats = StoreStats {
        segments: segments.len() as u64,
        ..StoreStats::default()
    };
    for segment in segments.iter() {
        let totals = segment.totals();
        stats.spans += totals.rows;
        stats.bytes += segment.bytes();
        if totals.rows > 0 {
            let oldest = stats.oldest_unix_nanos.unwrap_or(u64::MAX);
            stats.oldest_unix_nanos = Some(oldest.min(totals.min_start));
        }
    }
    stats
}
