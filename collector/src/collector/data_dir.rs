//! The data directory: one collector owns it at a time, and its folders are durable before anything is
//! acknowledged.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::CollectorError;
use crate::files;

/// The file whose lock marks the directory as owned by a collector.
const LOCK_FILE: &str = "collector.lock";

/// Everything that a collector keeps in its data directory.
const OURS: [&str; 6] = [
    "spans",
    "series",
    "influxdb",
    "kept",
    "clock.json",
    LOCK_FILE,
];

/// Locks the data directory; the system releases the lock when the process ends, even after a crash.
pub(super) fn lock(path: &Path) -> Result<File, CollectorError> {
    let unusable = |source| CollectorError::DataDir {
        path: path.to_owned(),
        source,
    };
    files::create_private_dir_all(path).map_err(unusable)?;
    protect(path);
    let mut options = files::private();
    let options = options.read(true).write(true).create(true);
    let file = options.open(path.join(LOCK_FILE)).map_err(unusable)?;
    let file = files::regular(file).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CollectorError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(unusable(source)),
    }
}

/// Makes files of an earlier version private to their owner, or warns that others can read them.
fn protect(path: &Path) {
    let ours = OURS.iter().map(|name| path.join(name));
    let ours: Vec<PathBuf> = ours
        .filter(|path| path.symlink_metadata().is_ok())
        .collect();
    for path in &ours {
        if let Err(error) = files::make_private(path) {
            warn!(path = %path.display(), %error, "other users may read the data, and that could not be changed");
        }
    }
    protect_folder(path, !ours.is_empty());
}

/// Makes the data directory itself private if it is clearly ours.
#[cfg(unix)]
fn protect_folder(path: &Path, holds_ours: bool) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    const STICKY: u32 = 0o1000;
    let Ok(metadata) = path.metadata() else {
        return;
    };
    if metadata.mode() & files::OTHERS == 0 {
        return;
    }
    // A shared folder such as /tmp stays unchanged: chmod would lock out its other users.
    let is_empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & STICKY == 0
        && (holds_ours || is_empty);
    let private = std::fs::Permissions::from_mode(0o700);
    if !is_ours || std::fs::set_permissions(path, private).is_err() {
        let path = path.display();
        warn!(%path, "other users may list the data directory; its files are private. Make it private with chmod 700");
    }
}

#[cfg(not(unix))]
fn protect_folder(_path: &Path, _holds_ours: bool) {}

/// Makes the names of the stores' folders durable, since acknowledged data is below them.
pub(super) fn sync(path: &Path) -> Result<(), CollectorError> {
    for folder in [Some(path), path.parent()].into_iter().flatten() {
        // The parent of a relative path of one component is the empty path, which means the current
        // directory.
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn open_to_all(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_data_directory_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new/data");
        let _held = lock(&data).unwrap();
        assert_eq!((mode(&data), mode(&data.join(LOCK_FILE))), (0o700, 0o600));
    }

    /// *Scenario*: an earlier version left everything readable. *Guarantees*: it becomes private, except for
    /// a shared folder.
    #[test]
    fn what_was_readable_becomes_private() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("spans/2026-11-23/0000000001-0.seg");
        let foreign = dir.path().join("notes");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        for path in [&file, &foreign] {
            std::fs::write(path, "").unwrap();
            open_to_all(path, 0o644);
        }
        open_to_all(&dir.path().join("spans"), 0o755);
        open_to_all(dir.path(), 0o1777);
        drop(lock(dir.path()).unwrap());
        assert_eq!(
            (mode(&dir.path().join("spans")), mode(&file)),
            (0o700, 0o600)
        );
        assert_eq!((mode(dir.path()), mode(&foreign)), (0o777, 0o644));
        open_to_all(dir.path(), 0o755);
        drop(lock(dir.path()).unwrap());
        assert_eq!(mode(dir.path()), 0o700);
    }

    #[test]
    fn a_lock_behind_a_link_empties_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        let data = dir.path().join("data");
        std::fs::write(&victim, "kept").unwrap();
        std::fs::create_dir(&data).unwrap();
        symlink(&victim, data.join(LOCK_FILE)).unwrap();
        assert!(matches!(lock(&data), Err(CollectorError::DataDir { .. })));
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
        std::fs::remove_file(data.join(LOCK_FILE)).unwrap();
        std::fs::write(data.join(LOCK_FILE), "kept").unwrap();
        drop(lock(&data).unwrap());
        assert_eq!(
            std::fs::read_to_string(data.join(LOCK_FILE)).unwrap(),
            "kept"
        );
    }
}
