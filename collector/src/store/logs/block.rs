//! A block of log records: a header with its own checksum, then the compressed columns.

use std::io;

use super::columns;
use crate::log::BlockCodec;
use crate::model::{LogRecord, Severity, TimeRange, UnixNanos};
use crate::store::frame::{Payload, bounded};
use crate::store::hash::Seed;

const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 4] = *b"FBL1";
/// Log lines are repetitive: level 3 shrinks them more than level 1, at a cost hidden by the sync of a block.
const ZSTD_LEVEL: i32 = 3;

#[derive(Debug, Clone, Copy)]
pub(crate) struct LogCodec;

/// The facts of a block that are known without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    payload: Payload,
    pub(super) records: u32,
    pub(super) zone: Zone,
    /// Arrival time, by the collector's clock.
    pub(super) arrived: UnixNanos,
}

/// Summary of the records in a block or extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Zone {
    pub(super) start: UnixNanos,
    pub(super) end: UnixNanos,
    pub(super) severity: Severity,
    /// A bit per service, by hash.
    pub(super) services: u64,
}

impl Zone {
    /// `records` must not be empty.
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

    /// Returns the summary of both.
    pub(super) fn with(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            severity: self.severity.max(other.severity),
            services: self.services | other.services,
        }
    }

    pub(super) fn overlaps(&self, range: TimeRange) -> bool {
        self.start < range.end && self.end >= range.start
    }
}

/// Returns the bit of a service; services may share one.
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
        HEADER_BYTES as u64 + header.payload.len()
    }

    fn is_whole(&self, header: &Header, block: &[u8]) -> bool {
        header.payload.is_whole(&block[HEADER_BYTES..])
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (payload, mut fields) = Payload::read_header(bytes, MAGIC, HEADER_BYTES)?;
        let records = fields.fixed_u32()?;
        let start = UnixNanos::new(fields.fixed_u64()?);
        let end = UnixNanos::new(fields.fixed_u64()?);
        let services = fields.fixed_u64()?;
        let arrived = UnixNanos::new(fields.fixed_u64()?);
        let severity = Severity::from_otlp(u64::from(fields.byte()?));
        Some(Self {
            payload,
            records,
            zone: Zone {
                start,
                end,
                severity,
                services,
            },
            arrived,
        })
    }

    /// Returns the header fields after those of the payload.
    fn fields(&self) -> Vec<u8> {
        let mut out = self.records.to_le_bytes().to_vec();
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
        out
    }
}

/// `records` must not be empty.
pub(super) fn encode(records: &[LogRecord], arrived: UnixNanos) -> io::Result<(Header, Vec<u8>)> {
    let (payload, compressed) = Payload::compress(&columns::encode(records), ZSTD_LEVEL)?;
    let header = Header {
        payload,
        records: bounded(records.len())?,
        zone: Zone::of(records),
        arrived,
    };
    let block = payload.block(MAGIC, &header.fields(), &compressed);
    Ok((header, block))
}

pub(super) fn columns_of(header: &Header, block: &[u8]) -> Option<Vec<u8>> {
    header.payload.decompress(&block[HEADER_BYTES..])
}
