//! A series block: a header with its own checksum, then the compressed records of one kind.

mod fuzz;

use std::collections::HashMap;
use std::io;

use super::decode::{Decoded, Decoder, Strings};
use super::encode::Encoder;
use super::record::{SeriesKind, SeriesRecord};
use crate::log::{Block, BlockCodec};
use crate::model::{CircuitKey, UnixNanos};
use crate::store::frame::Payload;
pub(crate) use fuzz::block as fuzz_block;

const HEADER_BYTES: usize = 48;
/// Largest number of records in a block; more become several blocks.
pub(super) const MAX_BLOCK_RECORDS: usize = 4_096;

const MAGIC: [u8; 4] = *b"FBS1";
const FLAG_STARTS_EXTENT: u8 = 1;
/// Transitions, settings or standings in the block are JSON; without this flag they are in the format of
/// `decode::positional`.
const FLAG_JSON: u8 = 2;
/// Level 1: the records are small and already deduplicated; higher levels cost time and save 2 %.
const ZSTD_LEVEL: i32 = 1;

#[derive(Debug, Clone, Copy)]
pub(crate) struct SeriesCodec(pub(crate) SeriesKind);

/// The facts of a block that are known without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    payload: Payload,
    pub(super) kind: SeriesKind,
    pub(super) starts_extent: bool,
    is_json: bool,
    records: u16,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) keys: u64,
}

impl BlockCodec for SeriesCodec {
    type Header = Header;
    const PREFIX_BYTES: usize = HEADER_BYTES;

    fn header_bytes(&self, prefix: &[u8]) -> Option<usize> {
        prefix.starts_with(&MAGIC).then_some(HEADER_BYTES)
    }

    fn header(&self, bytes: &[u8]) -> Option<Header> {
        Header::read(bytes).filter(|header| header.kind == self.0)
    }

    fn block_bytes(&self, header: &Header) -> u64 {
        header.block_bytes()
    }

    fn is_whole(&self, header: &Header, block: &[u8]) -> bool {
        header.payload.is_whole(&block[HEADER_BYTES..])
    }
}

impl Header {
    pub(super) fn block_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.payload.len()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (payload, mut fields) = Payload::read_header(bytes, MAGIC, HEADER_BYTES)?;
        let kind = SeriesKind::from_byte(fields.byte()?)?;
        let flags = fields.byte()?;
        let records = u16::from_le_bytes([fields.byte()?, fields.byte()?]);
        Some(Self {
            payload,
            kind,
            starts_extent: flags & FLAG_STARTS_EXTENT != 0,
            is_json: flags & FLAG_JSON != 0,
            records,
            start: fields.fixed_u64()?,
            end: fields.fixed_u64()?,
            keys: fields.fixed_u64()?,
        })
    }

    /// Returns the header fields after those of the payload.
    fn fields(&self) -> Vec<u8> {
        let starts_extent = u8::from(self.starts_extent) * FLAG_STARTS_EXTENT;
        let flags = starts_extent | (u8::from(self.is_json) * FLAG_JSON);
        let mut out = vec![self.kind as u8, flags];
        out.extend_from_slice(&self.records.to_le_bytes());
        for number in [self.start, self.end, self.keys] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }
}

/// `records` must be of one kind and not empty.
pub(super) fn encode(
    records: &[SeriesRecord],
    strings: &mut HashMap<String, u64>,
    starts_extent: bool,
) -> io::Result<(Header, Vec<u8>)> {
    assert!(
        (1..=MAX_BLOCK_RECORDS).contains(&records.len()),
        "the writer cuts groups to blocks"
    );
    let times = || records.iter().map(SeriesRecord::time);
    let start = times().min().unwrap_or(UnixNanos::new(0));
    let mut encoder = Encoder::new(strings, start);
    for record in records {
        encoder.record(record);
    }
    let (payload, compressed) = Payload::compress(&encoder.finish(), ZSTD_LEVEL)?;
    let header = Header {
        payload,
        kind: records[0].kind(),
        starts_extent,
        is_json: true,
        records: records.len() as u16,
        start: start.get(),
        end: times().max().unwrap_or(UnixNanos::new(0)).get(),
        keys: records
            .iter()
            .fold(0, |keys, record| keys | record.key_bit()),
    };
    let block = payload.block(MAGIC, &header.fields(), &compressed);
    Ok((header, block))
}

/// Passes a block's records to `visit`; returns how many were unreadable.
pub(super) fn decode(
    block: &Block<'_, Header>,
    strings: &mut Strings,
    only: Option<&CircuitKey>,
    visit: &mut dyn FnMut(SeriesRecord),
) -> u64 {
    let header = &block.header;
    let all = u64::from(header.records);
    if !block.is_whole {
        return all;
    }
    let Some(raw) = header.payload.decompress(&block.bytes[HEADER_BYTES..]) else {
        return all;
    };
    let Some(mut decoder) = Decoder::new(&raw, strings, header.start, only) else {
        return all;
    };
    let mut lost = 0;
    for done in 0..all {
        match decoder.record(header.kind, header.is_json) {
            Some(Decoded::Record(record)) => visit(record),
            Some(Decoded::Other) => {}
            Some(Decoded::Lost) => lost += 1,
            None => return lost + all - done,
        }
    }
    lost
}
