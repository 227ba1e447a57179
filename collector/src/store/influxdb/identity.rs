//! This collector's id among those that share an InfluxDB: six characters, generated once per data directory.

use std::io::ErrorKind;
use std::path::Path;

use crate::store::StoreError;
use crate::store::durable;
use crate::store::influxdb::folder;

const FILE: &str = "collector";
const LENGTH: usize = 6;

/// Returns the collector's id, generating it if there is none.
///
/// # Errors
/// When its file cannot be read: under a new id, everything written so far would belong to another collector
/// and be counted twice.
pub(crate) fn collector_id(data_dir: &Path) -> Result<String, StoreError> {
    let path = folder(data_dir).join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(id) if is_id(&id) => return Ok(id),
        Err(source) if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => {
            return Err(StoreError::io("read", &path, source));
        }
        Ok(_) | Err(_) => {}
    }
    let id: String = (0..LENGTH).map(|_| fastrand::alphanumeric()).collect();
    let id = id.to_lowercase();
    durable::write(&path, id.as_bytes())?;
    Ok(id)
}

fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let id = collector_id(dir.path()).unwrap();
        assert!(is_id(&id));
        assert_eq!(collector_id(dir.path()).unwrap(), id);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(collector_id(other.path()).unwrap(), id);
    }
}
