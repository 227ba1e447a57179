//! Atomically replaced files: shipping positions, the InfluxDB token, kept traces.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::store::StoreError;
use crate::{files, handles};

/// Largest file: 10,000 names known to InfluxDB with their hashes take some 3 MB.
const BYTES_MAX: u64 = 64 << 20;

/// The ending of a file that is being written.
pub(crate) const FRESH: &str = "new";

/// Replaces a file atomically: after a crash it has the old or the new content.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    handles::with_spare(|| replace(path, bytes))
        .map_err(|error| StoreError::io("write", path, error))
}

/// Removes a file; one that does not exist is no error. After a crash it does not come back.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = handles::with_spare(|| match fs::remove_file(path) {
        // Removed by an attempt that found no handle for its folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => sync_folder(path),
        removed => removed.and_then(|()| sync_folder(path)),
    });
    removed.map_err(|error| StoreError::io("remove", path, error))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_folder(path)?;
    let fresh = path.with_extension(FRESH);
    // A file left by a crash may be readable by others, so it is removed, not reused.
    let _absent = fs::remove_file(&fresh);
    let mut options = files::private();
    let mut file = options.write(true).create_new(true).open(&fresh)?;
    let renamed = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&fresh, path));
    if renamed.is_err() {
        // What a full disk has taken would make it fuller.
        let _still_there = fs::remove_file(&fresh);
    }
    renamed.and_then(|()| sync_folder(path))
}

/// Creates the folder of a file; a new one is in its own folder after a crash too.
fn create_folder(path: &Path) -> io::Result<()> {
    let folder = folder(path);
    if folder.is_dir() {
        return Ok(());
    }
    files::create_private_dir_all(folder)?;
    sync_folder(folder)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Reads a file as JSON; `None` if it does not exist. Invalid JSON is an error that names the file.
pub(crate) fn read_json(path: &Path) -> Result<Option<serde_json::Value>, StoreError> {
    let bytes = match files::read_regular(path, BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("read", path, error)),
    };
    let json = serde_json::from_slice(&bytes);
    json.map_err(|error| StoreError::damaged(path, &error.to_string()))
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_a_secret_is_its_owners() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spans.json");
        assert_eq!(read_json(&path).unwrap(), None);
        write(&path, b"{\"a\":1}").unwrap();
        write(&path, b"{\"a\":2}").unwrap();
        assert_eq!(read_json(&path).unwrap().unwrap()["a"], 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&path, "{").unwrap();
        assert!(matches!(read_json(&path), Err(StoreError::Damaged { .. })));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read_json(&path).unwrap(), None);
    }

    /// Scenario: the file cannot take its place, as on a full disk.
    /// Guarantees: nothing of it stays, and what was there is unchanged.
    #[test]
    fn what_could_not_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/trace.json");
        fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(write(&path, b"{}").is_err());
        let left = fs::read_dir(dir.path().join("a")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [path]);
    }
}
