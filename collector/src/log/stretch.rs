//! Reads a stretch of a log: a run of whole blocks of one file; from a failing disk, whatever is still
//! readable.

use std::fmt::Debug;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{BlockCodec, Damage, StoreError};
use crate::files;

/// Unit of reading in a given-up place: a disk fails by sectors, which are at most a page.
const PAGE_BYTES: usize = 4_096;

#[derive(Debug)]
pub(crate) struct Stretch<F> {
    pub(crate) path: PathBuf,
    /// The file's id in the damage registry.
    pub(crate) file: F,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The file opened last: most readers continue in it.
#[derive(Debug, Default)]
pub(crate) struct Opened(Option<(PathBuf, File)>);

impl Opened {
    /// Reads a stretch, or the readable parts of one that has been unreadable for long; `None` if retention
    /// removed the file.
    pub(crate) fn read<C: BlockCodec, F: Ord + Copy + Debug>(
        &mut self,
        codec: &C,
        stretch: &Stretch<F>,
        damage: &Damage<F>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Stretch { path, offset, .. } = stretch;
        let (segment, offset) = (stretch.file, *offset);
        let mut bytes = vec![0; usize::try_from(stretch.length).unwrap_or(usize::MAX)];
        let file = match self.file(path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(None),
            // Other failures to open the file (too many open files, a missing mount) say nothing about its
            // contents.
            Err(error) if error.is_no_file() && damage.gives_up(segment, offset, &error) => {
                return Ok(Some(bytes));
            }
            Err(error) => return Err(error),
        };
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => {
                damage.is_read(segment, offset);
                if !are_blocks(codec, &bytes) {
                    damage.report(segment, offset, &"a block has no header any more");
                }
                Ok(Some(bytes))
            }
            Err(error) => {
                let error = StoreError::io("read", path, error);
                if !damage.gives_up(segment, offset, &error) {
                    return Err(error);
                }
                read_pages(file, offset, &mut bytes);
                Ok(Some(bytes))
            }
        }
    }

    /// Returns the file, opening it if needed; `None` if retention removed it.
    fn file(&mut self, path: &Path) -> Result<Option<&File>, StoreError> {
        let Self(open) = self;
        if open.as_ref().is_none_or(|(opened, _)| opened != path) {
            match files::open_regular(path) {
                Ok(file) => *open = Some((path.to_owned(), file)),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(StoreError::io("open", path, error)),
            }
        }
        Ok(open.as_ref().map(|(_, file)| file))
    }
}

fn are_blocks<C: BlockCodec>(codec: &C, stretch: &[u8]) -> bool {
    // By headers alone: readers verify the bodies.
    let mut rest = Some(stretch);
    while let Some(header) = rest.and_then(|rest| codec.header(rest)) {
        rest = rest.and_then(|rest| rest.get(codec.block_bytes(&header) as usize..));
    }
    rest == Some(&[])
}

/// Reads page by page, leaving unreadable pages zero.
fn read_pages(file: &File, offset: u64, bytes: &mut [u8]) {
    bytes.fill(0);
    let mut at = offset;
    for mut page in bytes.chunks_mut(PAGE_BYTES) {
        let mut from = at;
        at += page.len() as u64;
        while !page.is_empty() {
            match file.read_at(page, from) {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    from += read as u64;
                    page = &mut page[read..];
                }
            }
        }
    }
}
