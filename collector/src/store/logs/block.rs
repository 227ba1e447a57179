//! A block of log records: a header with a checksum of its own, then the columns of the records, compressed.

use std::io;

use super::columns;
use crate::log::BlockCodec;
use crate::model::{LogRecord, Severity, TimeRange, UnixNanos};
use crate::store::hash::Seed;

/// Length of a header, bytes.
const HEADER_BYTES: usize = 64;
/// Largest payload, raw or compressed, that is believed: a block of records at their limits is cut at a few MiB.
const MAX_PAYLOAD_BYTES: usize = 64 << 20;
const MAGIC: [u8; 4] = *b"FBL1";
/// Log lines repeat each other: level 3 makes them smaller than 1 does, at a cost that the sync of a block hides.
const ZSTD_LEVEL: i32 = 3;

/// Frames the blocks of log records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogCodec;

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    payload_len: u32,
    raw_len: u32,
    payload_crc: u32,
    pub(super) records: u32,
    pub(super) zone: Zone,
    /// When it was written, by the collector's clock.
    pub(super) arrived: UnixNanos,
}

/// What the records of a block, or of an extent, have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    /// The earliest time.
    pub(super) start: UnixNanos,
    /// The latest time.
    pub(super) end: UnixNanos,
    /// The worst severity.
    pub(super) severity: Severity,
    /// A bit for each service, by its hash.
    pub(super) services: u64,
}

impl Zone {
    /// Returns the zone of records, of which there must be one.
    fn of(records: &[LogRecord]) -> Self {
        let zone = |record: &LogRecord| Self {
            start: record.time,
            end: record.time,
            severity: record.severity,
            services: service_bit(record.service()),
        };
        let first = zone(&records[0]);
        records.iter().map(zone).fold(first, Self::with)
    }

    /// Returns one that covers both.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            severity: self.severity.max(other.severity),
            services: self.services | other.services,
        }
    }

    /// Returns whether a record of it may be in the range.
    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        self.start < range.end && self.end >= range.start
    }
}

/// Returns the bit of a service; others may have the same.
pub(super) fn service_bit(service: &str) -> u64 {
    1 << (Seed::fixed(0).hash(service.as_bytes()) >> 58)
}

impl BlockCodec for LogCodec {
    type Header = Header;
    const PREFIX_BYTES: usize = HEADER_BYTES;

    fn header_bytes(&self, prefix: &[u8]) -> Option<usize> {
        prefix.starts_with(&MAGIC).then_some(HEADER_BYTES)
    }

    fn header(&self, bytes: &[u8]) -> Option<Header> {
        Header::read(bytes)
    }

    fn block_bytes(&self, header: &Header) -> u64 {
        HEADER_BYTES as u64 + u64::from(header.payload_len)
    }

    fn is_whole(&self, header: &Header, block: &[u8]) -> bool {
        crc32fast::hash(&block[HEADER_BYTES..]) == header.payload_crc
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[..4] != MAGIC || u32_at(4) != crc32fast::hash(&bytes[8..]) {
            return None;
        }
        let is_sane = |len: u32| len as usize <= MAX_PAYLOAD_BYTES;
        (is_sane(u32_at(8)) && is_sane(u32_at(12))).then_some(Self {
            payload_len: u32_at(8),
            raw_len: u32_at(12),
            payload_crc: u32_at(16),
            records: u32_at(20),
            zone: Zone {
                start: UnixNanos::new(u64_at(24)),
                end: UnixNanos::new(u64_at(32)),
                services: u64_at(40),
                severity: Severity::from_otlp(u64::from(bytes[56])),
            },
            arrived: UnixNanos::new(u64_at(48)),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        for number in [
            self.payload_len,
            self.raw_len,
            self.payload_crc,
            self.records,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let zone = &self.zone;
        for number in [
            zone.start.get(),
            zone.end.get(),
            zone.services,
            self.arrived.get(),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&[zone.severity.as_otlp(), 0, 0, 0, 0, 0, 0, 0]);
        let crc = crc32fast::hash(&out[begin + 8..]);
        out[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Returns a block of those records, of which there must be one.
pub(super) fn encode(records: &[LogRecord], arrived: UnixNanos) -> io::Result<(Header, Vec<u8>)> {
    let raw = columns::encode(records);
    let payload = zstd::bulk::compress(&raw, ZSTD_LEVEL)?;
    let header = Header {
        payload_len: bounded(payload.len())?,
        raw_len: bounded(raw.len())?,
        payload_crc: crc32fast::hash(&payload),
        records: bounded(records.len())?,
        zone: Zone::of(records),
        arrived,
    };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    header.write(&mut bytes);
    bytes.extend_from_slice(&payload);
    Ok((header, bytes))
}

fn bounded(len: usize) -> io::Result<u32> {
    u32::try_from(len)
        .ok()
        .filter(|len| *len as usize <= MAX_PAYLOAD_BYTES)
        .ok_or_else(|| io::Error::other("a block of log records is too large"))
}

/// Returns the columns of a whole block; `None` where they cannot be read.
pub(super) fn columns_of(header: &Header, block: &[u8]) -> Option<Vec<u8>> {
    zstd::bulk::decompress(&block[HEADER_BYTES..], header.raw_len as usize).ok()
}
