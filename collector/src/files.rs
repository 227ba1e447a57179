//! Opens files that may be anything, and creates private ones.
//!
//! A FIFO, a device or a folder under an expected name neither blocks nor is read. Created files are readable
//! only by their owner, and are never written through a symbolic link.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file for reading, following symbolic links.
///
/// # Errors
/// When it cannot be opened, or is not a regular file (`InvalidInput`).
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    regular(without_waiting(&mut options).open(path)?)
}

/// Returns an open file if it is a regular one.
///
/// # Errors
/// `InvalidInput` for a FIFO, a device or a folder.
pub(crate) fn regular(file: File) -> io::Result<File> {
    let kind = io::ErrorKind::InvalidInput;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(kind, "this is no regular file")),
    }
}

/// Reads a whole file, following symbolic links.
///
/// # Errors
/// When it cannot be read, is not a regular file, or is larger than `bytes_max`.
pub(crate) fn read_regular(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let problem = format!("the file is larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}

/// Returns options for private files: they neither follow a symbolic link nor block on a FIFO.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let opened = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.mode(FILE_MODE).custom_flags(flags(opened));
    }
    options
}

/// Creates a private folder and its missing parents.
///
/// # Errors
/// When one cannot be created.
pub(crate) fn create_private_dir_all(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, FOLDER_MODE);
    builder.recursive(true).create(path)
}

/// Removes the permissions of everyone but the owner from a file, or from a folder and everything below it.
/// Symbolic links are skipped.
///
/// # Errors
/// When one cannot be changed.
#[cfg(unix)]
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = path.symlink_metadata()?;
    let mode = match metadata.file_type() {
        kind if kind.is_dir() => FOLDER_MODE,
        kind if kind.is_file() => FILE_MODE,
        _ => return Ok(()),
    };
    if metadata.permissions().mode() & OTHERS != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            make_private(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn make_private(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Permission bits of the group and everyone else.
#[cfg(unix)]
pub(crate) const OTHERS: u32 = 0o077;
#[cfg(unix)]
const FOLDER_MODE: u32 = 0o700;
#[cfg(unix)]
const FILE_MODE: u32 = 0o600;

/// Opening a FIFO would block until its other end is open.
#[cfg(unix)]
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.custom_flags(flags(rustix::fs::OFlags::NONBLOCK))
}

#[cfg(not(unix))]
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn flags(flags: rustix::fs::OFlags) -> i32 {
    // The flags of `open` fit 31 bits.
    i32::try_from(flags.bits()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        for path in [fifo.as_path(), dir.path(), Path::new("/dev/zero")] {
            let error = read_regular(path, 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_regular(&link, 10).unwrap(), b"0123456789");
        let error = read_regular(&link, 9).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_created_is_its_owners_and_never_behind_a_link() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let folder = dir.path().join("a/b");
        create_private_dir_all(&folder).unwrap();
        assert_eq!((mode(&dir.path().join("a")), mode(&folder)), (0o700, 0o700));
        let file = folder.join("file");
        private().write(true).create_new(true).open(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
        let link = folder.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let opened = private().write(true).create(true).open(&link);
        assert!(opened.is_err());
    }

    #[test]
    fn what_others_could_read_becomes_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let folder = dir.path().join("folder");
        let file = folder.join("file");
        std::fs::create_dir(&folder).unwrap();
        let open = |path: &Path, mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, permissions).unwrap();
        };
        for path in [&outside, &file] {
            std::fs::write(path, "").unwrap();
            open(path, 0o644);
        }
        open(&folder, 0o755);
        std::os::unix::fs::symlink(&outside, folder.join("link")).unwrap();
        make_private(&folder).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        assert_eq!(mode(&outside), 0o644, "behind a link nothing changes");
    }
}
