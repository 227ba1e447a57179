//! The extents of a file that are complete, beside it, so that opening reads a few of its headers and not a week
//! of them. Only a hint: never synced, believed as far as it fits the file, written anew where it does not.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::index::Extent;

const ENTRY_BYTES: usize = 44;

/// Returns the path of a file's hint.
fn path(file: &Path) -> PathBuf {
    file.with_extension("idx")
}

/// Returns the complete extents of a file of that length, as far as the hint fits it.
pub(super) fn read(file: &Path, len: u64) -> Vec<Extent> {
    let bytes = fs::read(path(file)).unwrap_or_default();
    let mut extents = Vec::new();
    let mut end = 0;
    for entry in bytes.chunks(ENTRY_BYTES) {
        match decode(entry).filter(|extent| extent.offset == end && extent.len <= len - end) {
            Some(extent) => {
                end += extent.len;
                extents.push(extent);
            }
            None => break,
        }
    }
    extents
}

/// Adds an extent that is complete. A failure costs time at the next opening, nothing else.
pub(super) fn append(file: &Path, extent: &Extent) {
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path(file));
    if let Ok(mut hint) = opened {
        let _ = hint.write_all(&encode(extent));
    }
}

/// Writes the hint anew.
pub(super) fn rewrite(file: &Path, extents: &[Extent]) {
    let _ = fs::write(
        path(file),
        extents.iter().map(encode).collect::<Vec<_>>().concat(),
    );
}

fn encode(extent: &Extent) -> Vec<u8> {
    let fields = [
        extent.offset,
        extent.len,
        extent.start,
        extent.end,
        extent.keys,
    ];
    let mut bytes = fields.map(u64::to_le_bytes).concat();
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Extent> {
    let (fields, crc) = bytes.split_at_checked(ENTRY_BYTES - 4)?;
    if crc != crc32fast::hash(fields).to_le_bytes() {
        return None;
    }
    let mut numbers = fields
        .chunks_exact(8)
        .filter_map(|field| field.try_into().ok());
    let mut next = || numbers.next().map(u64::from_le_bytes);
    Some(Extent {
        offset: next()?,
        len: next()?,
        start: next()?,
        end: next()?,
        keys: next()?,
    })
}
