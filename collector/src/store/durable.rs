//! Atomically replaced small files: shipping positions and the InfluxDB token.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::handles;
use crate::store::StoreError;

/// The users that may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Everyone that the system lets.
    Anyone,
    /// Its owner.
    Owner,
}

/// Writes a file in one step: after a crash it is the old one or the new one.
pub(crate) fn write(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), StoreError> {
    handles::with_spare(|| replace(path, bytes, readers))
        .map_err(|error| StoreError::io("write", path, error))
}

fn replace(path: &Path, bytes: &[u8], readers: Readers) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let fresh = path.with_extension("new");
    // A file that a crash left may be readable by others: it is not written into.
    let _absent = fs::remove_file(&fresh);
    let mut file = create(&fresh, readers)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn create(path: &Path, readers: Readers) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mode = match readers {
        Readers::Anyone => 0o644,
        Readers::Owner => 0o600,
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

#[cfg(not(unix))]
fn create(path: &Path, _readers: Readers) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Reads a file as JSON; `None` where there is none. What is no JSON is an error that names the file.
pub(crate) fn read_json(path: &Path) -> Result<Option<serde_json::Value>, StoreError> {
    let bytes = match fs::read(path) {
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
        write(&path, b"{\"a\":1}", Readers::Anyone).unwrap();
        write(&path, b"{\"a\":2}", Readers::Owner).unwrap();
        assert_eq!(read_json(&path).unwrap().unwrap()["a"], 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&path, "{").unwrap();
        assert!(matches!(read_json(&path), Err(StoreError::Damaged { .. })));
    }
}
