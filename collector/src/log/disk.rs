//! The system calls with which a log changes files. Tests inject faults, and simulate the loss of unsynced
//! data.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

pub(super) fn write(file: &mut File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    faults::meet(path, |written| {
        let end = written.min(bytes.len());
        file.write_all(&bytes[..end])
    })?;
    let _ = path;
    file.write_all(bytes)
}

/// Waits until the bytes of a file are on disk.
pub(super) fn sync(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::meet(path, |_| Ok(()))?;
    file.sync_data()?;
    #[cfg(test)]
    faults::synced(path, file.metadata()?.len());
    let _ = path;
    Ok(())
}

pub(super) fn cut(file: &File, path: &Path, length: u64) -> io::Result<()> {
    #[cfg(test)]
    faults::meet(path, |_| Ok(()))?;
    let _ = path;
    file.set_len(length)
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::meet(from, |_| Ok(()))?;
    fs::rename(from, to)?;
    #[cfg(test)]
    faults::renamed(from, to);
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    faults::meet(folder, |_| Ok(()))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
pub(crate) mod faults;
