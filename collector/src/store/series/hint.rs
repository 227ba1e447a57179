//! The complete extents of a file in another file beside it, so that opening reads few headers instead of a
//! week of them. Only a hint: never synced, used as far as it matches the file, rewritten if it does not.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::extent::Extent;
use crate::files;

const ENTRY_BYTES: usize = 44;

/// Largest hint: a million extents, where a day of the longest journal has some thousand.
const BYTES_MAX: u64 = 44_000_000;

fn path(file: &Path) -> PathBuf {
    file.with_extension("idx")
}

/// Returns the complete extents of a file of that length, as far as the hint matches.
pub(super) fn read(file: &Path, len: u64) -> Vec<Extent> {
    let bytes = files::read_regular(&path(file), BYTES_MAX).unwrap_or_default();
    let mut end = 0;
    let extents = bytes.chunks(ENTRY_BYTES).map_while(|entry| {
        let extent = decode(entry)?;
        if extent.offset != end || extent.len > len - end {
            return None;
        }
        end += extent.len;
        Some(extent)
    });
    extents.collect()
}

/// Adds a complete extent. A failure only makes the next opening slower.
pub(super) fn append(file: &Path, extent: &Extent) {
    let mut options = files::private();
    if let Ok(mut hint) = options.create(true).append(true).open(path(file)) {
        let _ = hint.write_all(&encode(extent));
    }
}

pub(super) fn rewrite(file: &Path, extents: &[Extent]) {
    let bytes: Vec<u8> = extents.iter().flat_map(encode).collect();
    let mut options = files::private();
    let opened = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(path(file));
    if let Ok(mut hint) = opened {
        let _ = hint.write_all(&bytes);
    }
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
    let (numbers, _) = fields.as_chunks::<8>();
    let [offset, len, start, end, keys] = *numbers else {
        return None;
    };
    Some(Extent {
        offset: u64::from_le_bytes(offset),
        len: u64::from_le_bytes(len),
        start: u64::from_le_bytes(start),
        end: u64::from_le_bytes(end),
        keys: u64::from_le_bytes(keys),
    })
}
