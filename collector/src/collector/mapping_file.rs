//! The file that says which metrics of other libraries are about circuit breakers. It is checked whole before it is used.

use std::io;
use std::path::PathBuf;

use crate::codec::circuits::{Mapping, MappingError};
use crate::files;

/// The most bytes of the file; a thousand metrics are some 300 KB.
const FILE_BYTES_MAX: u64 = 512 << 10;

/// The file, and what was read last.
#[derive(Debug)]
pub(super) struct MappingFile {
    path: PathBuf,
    read: Option<Vec<u8>>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MappingFileError {
    #[error("could not read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Mapping { path: PathBuf, source: MappingError },
}

impl MappingFile {
    /// Takes a file, which is not read yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, read: None }
    }

    /// Returns the mapping; `None` when the file is as it was when it was read last.
    ///
    /// # Errors
    /// When the file cannot be read, or is no mapping: what was valid before stays in force.
    pub(super) fn changed(&mut self) -> Result<Option<Mapping>, MappingFileError> {
        let path = &self.path;
        let read = files::read_regular(path, FILE_BYTES_MAX);
        let read = read.map_err(|source| MappingFileError::Read {
            path: path.clone(),
            source,
        })?;
        if self.read.as_ref() == Some(&read) {
            return Ok(None);
        }
        let mapping = Mapping::read(&String::from_utf8_lossy(&read));
        let mapping = mapping.map_err(|source| MappingFileError::Mapping {
            path: path.clone(),
            source,
        })?;
        self.read = Some(read);
        Ok(Some(mapping))
    }
}
