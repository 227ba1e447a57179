//! The data directory: one collector owns it at a time, and its folders are durable before anything is acknowledged.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::CollectorError;

/// The file whose lock says that a collector owns the data directory.
const LOCK_FILE: &str = "collector.lock";

/// Locks the data directory; the system releases the lock when the process ends, also after a crash.
pub(super) fn lock(path: &Path) -> Result<File, CollectorError> {
    let unusable = |source| CollectorError::DataDir {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(path).map_err(unusable)?;
    let file = File::create(path.join(LOCK_FILE)).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CollectorError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Makes the names of the stores' folders durable: acknowledged data lies below them.
pub(super) fn sync(path: &Path) -> Result<(), CollectorError> {
    for folder in [Some(path), path.parent()].into_iter().flatten() {
        // The parent of a relative path of one component is the empty path, which means the current directory.
        let unnamed = folder.as_os_str().is_empty();
        let folder = if unnamed { Path::new(".") } else { folder };
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| CollectorError::DataDir {
            path: folder.to_owned(),
            source,
        })?;
    }
    Ok(())
}
