//! The file of a segment as its shard sees it: append a block, sync, take a failed append back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::FILE_MAGIC;
use crate::store::StoreError;

/// A segment file that is written.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: File,
    path: PathBuf,
    length: u64,
}

impl SegmentFile {
    /// Creates the file and its folder, both durable.
    pub(crate) fn create(path: &Path) -> Result<Self, StoreError> {
        let create = || {
            let folder = path.parent().unwrap_or(Path::new("."));
            if !folder.is_dir() {
                fs::create_dir_all(folder)?;
                sync_folder(folder.parent().unwrap_or(folder))?;
            }
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)?;
            let written = file
                .write_all(&FILE_MAGIC)
                .and_then(|()| sync_folder(folder));
            if let Err(error) = written {
                // A full disk must not collect an empty file for every attempt.
                let _ = fs::remove_file(path);
                return Err(error);
            }
            Ok(file)
        };
        let file = create().map_err(|error| StoreError::io("create", path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length: FILE_MAGIC.len() as u64,
        })
    }

    /// Opens an existing file to append to it, cutting off what lies beyond that length.
    pub(crate) fn resume(path: &Path, length: u64) -> Result<Self, StoreError> {
        let open = || {
            let mut file = OpenOptions::new().read(true).write(true).open(path)?;
            if file.metadata()?.len() > length {
                file.set_len(length)?;
                file.sync_data()?;
            }
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        let file = open().map_err(|error| StoreError::io("open", path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
        })
    }

    /// Returns its bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Makes an error that names the file.
    pub(crate) fn error(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::io(action, &self.path, source)
    }

    /// Returns another handle for readers.
    pub(crate) fn reader(&self) -> Result<File, StoreError> {
        self.file
            .try_clone()
            .map_err(|error| StoreError::io("open", &self.path, error))
    }

    /// Appends bytes with one write and returns where they begin.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64, StoreError> {
        self.file
            .write_all(bytes)
            .map_err(|error| StoreError::io("append to", &self.path, error))?;
        let offset = self.length;
        self.length += bytes.len() as u64;
        Ok(offset)
    }

    /// Waits until everything appended is on the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        self.file
            .sync_data()
            .map_err(|error| StoreError::io("sync", &self.path, error))
    }

    /// Cuts off everything beyond that length.
    pub(crate) fn cut(&mut self, length: u64) -> Result<(), StoreError> {
        let cut = self.file.set_len(length);
        let sought = cut.and_then(|()| self.file.seek(SeekFrom::Start(length)));
        sought.map_err(|error| StoreError::io("truncate", &self.path, error))?;
        self.length = length;
        Ok(())
    }

    /// Gives the file its final name, durably.
    pub(crate) fn rename(&mut self, path: &Path) -> Result<(), StoreError> {
        let renamed = fs::rename(&self.path, path)
            .and_then(|()| sync_folder(path.parent().unwrap_or(Path::new("."))));
        renamed.map_err(|error| StoreError::io("rename", &self.path, error))?;
        self.path = path.to_owned();
        Ok(())
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_left_no_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-0.seg");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let error = SegmentFile::create(&path).unwrap_err().to_string();
        assert!(error.contains("could not create"), "{error}");
        assert!(path.symlink_metadata().is_err(), "nothing is left");
    }
}
