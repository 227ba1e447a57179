//! Restores damaged pages of a block in its file, from the record after the block (`block::parity`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tracing::warn;

use super::super::block::{PARITY_HEAD_BYTES, PARITY_MAGIC, Parity, SpanCodec};
use crate::files;
use crate::log::{self, BlockCodec};

/// Bytes searched at a time for a record.
const WINDOW_BYTES: u64 = 1 << 20;

/// Repairs the block at `begin`; returns the number of restored pages.
pub(crate) fn repair(path: &Path, begin: u64) -> u64 {
    let mut options = files::private();
    let options = options.read(true).write(true);
    let file = options.open(path).and_then(files::regular);
    match file.and_then(|file| repair_in(&file, begin)) {
        Ok(0) => 0,
        Ok(pages) => {
            warn!(path = %path.display(), block = begin, pages, "damaged pages were repaired");
            pages
        }
        Err(error) => {
            warn!(%error, path = %path.display(), "could not repair a block");
            0
        }
    }
}

/// As `repair`, in an open file.
fn repair_in(file: &File, begin: u64) -> io::Result<u64> {
    let Some(parity) = record_of(file, begin)? else {
        return Ok(0);
    };
    let read = |at: u64, page: &mut [u8]| file.read_exact_at(page, begin + at);
    let pages = parity.repair(read)?;
    for (at, page) in &pages {
        file.write_all_at(page, begin + at)?;
    }
    if !pages.is_empty() {
        file.sync_data()?;
    }
    Ok(pages.len() as u64)
}

/// Finds the record of a block: right after it, or, if its header is damaged, by searching for a record that
/// claims the block.
fn record_of(file: &File, begin: u64) -> io::Result<Option<Parity>> {
    let length = file.metadata()?.len();
    if let Some(bytes) = block_bytes(file, begin, length)? {
        return record_at(file, begin, begin + bytes, length);
    }
    let mut window = begin;
    while window < length {
        // A record may begin at the end of one window.
        let bytes = (length - window).min(WINDOW_BYTES + PARITY_MAGIC.len() as u64 - 1);
        let bytes = log::read(file, window, bytes)?;
        let found = bytes.windows(PARITY_MAGIC.len()).enumerate();
        for (at, _) in found.filter(|(_, magic)| *magic == PARITY_MAGIC) {
            let at = window + at as u64;
            if let Some(record) = record_at(file, begin, at, length)? {
                return Ok(Some(record));
            }
        }
        window += WINDOW_BYTES;
    }
    Ok(None)
}

/// Returns the length of the block at `begin` if its header is valid.
fn block_bytes(file: &File, begin: u64, length: u64) -> io::Result<Option<u64>> {
    let prefix = (length - begin.min(length)).min(SpanCodec::PREFIX_BYTES as u64);
    let bytes = SpanCodec.header_bytes(&log::read(file, begin, prefix)?);
    let Some(bytes) = bytes.filter(|&bytes| begin + bytes as u64 <= length) else {
        return Ok(None);
    };
    let header = SpanCodec.header(&log::read(file, begin, bytes as u64)?);
    Ok(header.map(|header| header.total_bytes))
}

/// Reads the record at `at` if it is valid and belongs to the block at `begin`.
fn record_at(file: &File, begin: u64, at: u64, length: u64) -> io::Result<Option<Parity>> {
    let head = (length - at.min(length)).min(PARITY_HEAD_BYTES as u64);
    let head = log::read(file, at, head)?;
    // Texts of spans may look like records that claim to be long, so check the claimed block first.
    let is_of_block = Parity::claimed_block_bytes(&head) == Some(at - begin);
    let bytes = Parity::record_bytes(&head).filter(|_| is_of_block);
    match bytes.filter(|&bytes| at + bytes as u64 <= length) {
        Some(bytes) => Ok(Parity::decode(&log::read(file, at, bytes as u64)?)),
        None => Ok(None),
    }
}
