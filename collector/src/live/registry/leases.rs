//! How long instances have been silent, kept on disk, so that after a restart each lease goes on from where it stood:
//! neither does every instance that is gone get a whole lease again, nor is any removed because the collector did not run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::StoreError;
use crate::store::durable;
use crate::store::series::SeriesLog;

/// How often it is written: so much longer is an instance kept that ended before a crash.
pub(super) const WRITTEN_EVERY: Duration = Duration::from_secs(15);

/// Silences in milliseconds, by service and instance.
pub(super) type Silences = BTreeMap<String, BTreeMap<String, u64>>;

/// Returns the path of the file: beside the folder of the series.
pub(super) fn path(log: &SeriesLog) -> PathBuf {
    log.root().with_file_name("leases.json")
}

/// Reads the silences; none if the file is missing or unreadable: then every lease starts anew.
pub(super) fn read(path: &Path) -> Silences {
    let silences = durable::read_json(path).map(Option::unwrap_or_default);
    let silences = silences.map(|json| serde_json::from_value(json).unwrap_or_default());
    silences.unwrap_or_else(|error| {
        tracing::warn!(%error, "could not read the leases; they start anew");
        Silences::default()
    })
}

/// Replaces the file.
pub(super) fn write(path: &Path, silences: &Silences) -> Result<(), StoreError> {
    let json = serde_json::to_vec(silences).map_err(std::io::Error::other);
    let json = json.map_err(|error| StoreError::io("write", path, error))?;
    durable::write(path, &json)
}
