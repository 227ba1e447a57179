//! Atomically replaced small files: shipping positions and the InfluxDB token.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::store::StoreError;
use crate::{files, handles};

/// Largest file: 10,000 names known to InfluxDB with their hashes take some 3 MB.
const BYTES_MAX: u64 = 64 << 20;

/// Replaces a file atomically: after a crash it has the old or the new content.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    handles::with_spare(|| replace(path, bytes))
        .map_err(|error| StoreError::io("write", path, error))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    files::create_private_dir_all(folder)?;
    let fresh = path.with_extension("new");
    // A file left by a crash may be readable by others, so it is removed, not reused.
    let _absent = fs::remove_file(&fresh);
    let mut options = files::private();
    let mut file = options.write(true).create_new(true).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
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
    }
}
