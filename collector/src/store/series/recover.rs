//! Finds the blocks of the files that an earlier run left: reads headers, cuts a torn tail, passes over damage.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::block::{HEADER_BYTES, Header, is_whole};
use super::index::{Day, Index, file_path};
use super::record::SeriesKind;
use super::{Io, io, sidecar};
use crate::counters::{Counters, Incident};
use crate::store::StoreError;

/// Reads every file's headers into an index.
pub(super) fn recover(root: &Path, counters: &Counters) -> Result<Index, StoreError> {
    fs::create_dir_all(root).map_err(io(Io::CreateFolder, root))?;
    let mut days = Vec::new();
    for entry in fs::read_dir(root).map_err(io(Io::List, root))? {
        let entry = entry.map_err(io(Io::List, root))?;
        days.extend(entry.file_name().to_str().and_then(Day::parse));
    }
    days.sort_unstable();
    let mut index = Index::default();
    for day in days {
        for kind in SeriesKind::ALL {
            let path = file_path(root, day, kind);
            if path.exists() {
                recover_file(&path, day, kind, &mut index, counters)?;
            }
        }
    }
    Ok(index)
}

fn recover_file(
    path: &Path,
    day: Day,
    kind: SeriesKind,
    index: &mut Index,
    counters: &Counters,
) -> Result<(), StoreError> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(io(Io::Open, path))?;
    let len = file.metadata().map_err(io(Io::Open, path))?.len();
    let hinted = sidecar::read(path, len);
    let known = hinted.last().map_or(0, |last| last.offset + last.len);
    let mut blocks = headers(&mut file, known, len, kind, counters).map_err(io(Io::Read, path))?;
    drop_torn_tail(&mut file, &mut blocks).map_err(io(Io::Read, path))?;
    let last = blocks.last();
    let end = last.map_or(known, |(at, header)| at + header.block_len());
    if end < len {
        counters.incidents.add(Incident::TornTail, 1);
        file.set_len(end).map_err(io(Io::Truncate, path))?;
        file.sync_all().map_err(io(Io::Sync, path))?;
    }
    let complete = hinted.len();
    index.take_over(day, kind, hinted);
    for (offset, header) in &blocks {
        index.add(day, *offset, header);
    }
    let extents = index.extents(day, kind);
    if extents.len() > complete + 1 {
        sidecar::rewrite(path, &extents[..extents.len() - 1]);
    } else if extents.len() <= complete {
        // The last one is written again when it is complete, which only the next block tells.
        sidecar::rewrite(path, &extents[..extents.len().saturating_sub(1)]);
    }
    Ok(())
}

type Blocks = Vec<(u64, Header)>;

/// Walks the file from header to header, behind what is known; where there is none, the next one that can be read goes on.
fn headers(
    file: &mut File,
    from: u64,
    len: u64,
    kind: SeriesKind,
    counters: &Counters,
) -> std::io::Result<Blocks> {
    let mut blocks = Blocks::new();
    let mut at = from;
    while at + HEADER_BYTES as u64 <= len {
        let found = read_header(file, at)?.filter(|header| header.kind == kind);
        match found {
            Some(header) if at + header.block_len() <= len => {
                blocks.push((at, header));
                at += header.block_len();
            }
            _ => match search(file, at + 1, len)? {
                Some(next) => {
                    counters.incidents.add(Incident::DamagedBlock, 1);
                    at = next;
                }
                None => break,
            },
        }
    }
    Ok(blocks)
}

fn read_header(file: &mut File, at: u64) -> std::io::Result<Option<Header>> {
    let mut bytes = [0; HEADER_BYTES];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut bytes)?;
    Ok(Header::read(&bytes))
}

/// Returns the offset of the next whole block at or after that offset.
fn search(file: &mut File, from: u64, len: u64) -> std::io::Result<Option<u64>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(len - from).read_to_end(&mut bytes)?;
    let found = (0..bytes.len()).find(|at| {
        Header::read(&bytes[*at..]).is_some_and(|header| {
            let payload = at + HEADER_BYTES..at + header.block_len() as usize;
            bytes
                .get(payload)
                .is_some_and(|payload| is_whole(&header, payload))
        })
    });
    Ok(found.map(|at| from + at as u64))
}

/// Checks the payloads from the end back to the first whole one: only the last group of writes can be torn.
fn drop_torn_tail(file: &mut File, blocks: &mut Blocks) -> std::io::Result<()> {
    while let Some((at, header)) = blocks.last() {
        let mut payload = vec![0; header.payload_len as usize];
        file.seek(SeekFrom::Start(at + HEADER_BYTES as u64))?;
        file.read_exact(&mut payload)?;
        if is_whole(header, &payload) {
            break;
        }
        blocks.pop();
    }
    Ok(())
}
