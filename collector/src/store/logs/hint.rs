//! The extents of a finished segment in a file beside it, so that opening does not read a week of records.
//! Only a hint: never synced, and ignored unless its checksum and the segment's length match.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::block::Zone;
use super::extent::Extent;
use super::filter::{TraceFilter, WORDS};
use crate::files;
use crate::model::{Severity, UnixNanos};
use crate::store::bytes::Reader;

/// Largest hint: a segment of 32 MiB has some hundred extents.
const BYTES_MAX: u64 = 4 << 20;

pub(super) fn path(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

/// Returns the extents of a segment with that length; `None` if the hint does not match.
pub(super) fn read(segment: &Path, length: u64) -> Option<Vec<Extent>> {
    let bytes = files::read_regular(&path(segment), BYTES_MAX).ok()?;
    let (fields, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if crc != crc32fast::hash(fields).to_le_bytes() {
        return None;
    }
    let mut reader = Reader::new(fields);
    let mut extents = Vec::new();
    while !reader.is_empty() {
        extents.push(extent(&mut reader)?);
    }
    let end = extents.last().map_or(0, Extent::end_offset);
    (end == length).then_some(extents)
}

/// Writes the hint. A failure only makes the next opening slower.
pub(super) fn write(segment: &Path, extents: &[Extent]) {
    let mut bytes = Vec::new();
    extents.iter().for_each(|extent| put(&mut bytes, extent));
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    let mut options = files::private();
    let options = options.write(true).create(true).truncate(true);
    if let Ok(mut hint) = options.open(path(segment)) {
        let _ = hint.write_all(&bytes);
    }
}

fn put(out: &mut Vec<u8>, extent: &Extent) {
    let Extent {
        offset,
        len,
        zone,
        records,
        began,
        ended,
        traces,
    } = extent;
    let numbers = [
        *offset,
        *len,
        zone.start.get(),
        zone.end.get(),
        u64::from(zone.severity.as_otlp()),
        zone.services,
        *records,
        began.get(),
        ended.get(),
    ];
    let numbers = numbers.iter().chain(traces.words());
    numbers.for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
}

fn extent(reader: &mut Reader<'_>) -> Option<Extent> {
    let mut number = || reader.fixed_u64();
    let (offset, len) = (number()?, number()?);
    let zone = Zone {
        start: UnixNanos::new(number()?),
        end: UnixNanos::new(number()?),
        severity: Severity::from_otlp(number()?),
        services: number()?,
    };
    Some(Extent {
        offset,
        len,
        zone,
        records: number()?,
        began: UnixNanos::new(number()?),
        ended: UnixNanos::new(number()?),
        traces: {
            let words: Option<Vec<u64>> = (0..WORDS).map(|_| number()).collect();
            TraceFilter::from_words(words?)?
        },
    })
}
