//! A segment's file for its writer: append a block, sync, undo a failed append.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{StoreError, disk};
use crate::{files, handles};

/// An append-only file, whose end is truncated after a failed write.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    path: PathBuf,
    length: u64,
}

impl LogFile {
    /// Creates the file with its magic, and its folder; both names are durable.
    pub(crate) fn create(path: &Path, magic: &[u8]) -> Result<Self, StoreError> {
        let create = || {
            let folder = path.parent().unwrap_or(Path::new("."));
            if !folder.is_dir() {
                files::create_private_dir_all(folder)?;
                disk::sync_folder(folder.parent().unwrap_or(folder))?;
            }
            let mut options = files::private();
            let options = options.read(true).write(true).create(true);
            let file = files::regular(options.truncate(true).open(path)?)?;
            begin(file, path, magic)
        };
        let file =
            handles::with_spare(create).map_err(|error| StoreError::io("create", path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length: magic.len() as u64,
        })
    }

    /// Opens an existing file for appending, truncating it to `length`.
    pub(crate) fn resume(path: &Path, length: u64) -> Result<Self, StoreError> {
        let open = || {
            let mut file = files::regular(files::private().read(true).write(true).open(path)?)?;
            if file.metadata()?.len() > length {
                disk::cut(&file, path, length)?;
                disk::sync(&file, path)?;
            }
            file.seek(SeekFrom::Start(length))?;
            Ok(file)
        };
        let file =
            handles::with_spare(open).map_err(|error| StoreError::io("open", path, error))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            length,
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn error(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::io(action, &self.path, source)
    }

    pub(crate) fn reader(&self) -> Result<File, StoreError> {
        let reader = handles::with_spare(|| self.file.try_clone());
        reader.map_err(|error| self.error("open", error))
    }

    /// Appends bytes with one write; returns their offset.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64, StoreError> {
        let written = disk::write(&mut self.file, &self.path, bytes);
        written.map_err(|error| self.error("append to", error))?;
        let offset = self.length;
        self.length += bytes.len() as u64;
        Ok(offset)
    }

    /// Waits until everything appended is on disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        let synced = disk::sync(&self.file, &self.path);
        synced.map_err(|error| self.error("sync", error))
    }

    pub(crate) fn cut(&mut self, length: u64) -> Result<(), StoreError> {
        let cut = disk::cut(&self.file, &self.path, length);
        let sought = cut.and_then(|()| self.file.seek(SeekFrom::Start(length)));
        sought.map_err(|error| self.error("truncate", error))?;
        self.length = length;
        Ok(())
    }

    /// Gives the file its final name, durably.
    pub(crate) fn rename(&mut self, path: &Path) -> Result<(), StoreError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let renamed = disk::rename(&self.path, path).and_then(|()| disk::sync_folder(folder));
        renamed.map_err(|error| self.error("rename", error))?;
        self.path = path.to_owned();
        Ok(())
    }
}

/// Writes the magic of a new file, and makes its name durable.
fn begin(mut file: File, path: &Path, magic: &[u8]) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = disk::write(&mut file, path, magic).and_then(|()| disk::sync_folder(folder));
    if let Err(error) = written {
        // With a full disk, do not leave an empty file per attempt.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_left_no_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-0.seg");
        fs::write(&path, "").unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let error = begin(full, &path, b"magic").unwrap_err();
        assert!(StoreError::io("create", &path, error).is_disk_full());
        assert!(!path.exists(), "nothing is left");
    }

    #[test]
    fn a_file_behind_a_link_is_neither_emptied_nor_written() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        let path = dir.path().join("1-0.seg");
        fs::write(&victim, "kept").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(LogFile::create(&path, b"magic").is_err());
        assert!(LogFile::resume(&path, 0).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    }
}
