//! A block of a series: a header with a checksum of its own, then the records of one kind, compressed.

mod fuzz;

use std::collections::HashMap;
use std::io;

use super::decode::{Decoded, Decoder, Strings};
use super::encode::Encoder;
use super::record::{SeriesKind, SeriesRecord};
use crate::log::{Block, BlockCodec};
use crate::model::{CircuitKey, UnixNanos};
pub(crate) use fuzz::block as fuzz_block;

/// Length of a header, bytes.
const HEADER_BYTES: usize = 48;
/// Largest payload, raw or compressed, that is believed (ours; blocks have some kilobytes).
const MAX_PAYLOAD_BYTES: usize = 64 * 1024 * 1024;
/// Most records of one block; more are written as several.
pub(super) const MAX_BLOCK_RECORDS: usize = 4_096;

const MAGIC: [u8; 4] = *b"FBS1";
const FLAG_STARTS_EXTENT: u8 = 1;
/// Its transitions, settings or standings are JSON; without it they are as `decode::positional` reads them.
const FLAG_JSON: u8 = 2;
/// Level 1: the records are small and already without repetition; more costs time and saves 2 %.
const ZSTD_LEVEL: i32 = 1;

/// Frames the blocks of one kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SeriesCodec(pub(crate) SeriesKind);

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    payload_len: u32,
    raw_len: u32,
    payload_crc: u32,
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
        crc32fast::hash(&block[HEADER_BYTES..]) == header.payload_crc
    }
}

impl Header {
    /// Returns the length of header and payload.
    pub(super) fn block_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.payload_len)
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes[at + i]));
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if bytes[..4] != MAGIC || u32_at(4) != crc32fast::hash(&bytes[8..]) {
            return None;
        }
        let sane = |len: u32| len as usize <= MAX_PAYLOAD_BYTES;
        (sane(u32_at(8)) && sane(u32_at(12))).then_some(Self {
            payload_len: u32_at(8),
            raw_len: u32_at(12),
            payload_crc: u32_at(16),
            kind: SeriesKind::from_byte(bytes[20])?,
            starts_extent: bytes[21] & FLAG_STARTS_EXTENT != 0,
            is_json: bytes[21] & FLAG_JSON != 0,
            records: u16::from_le_bytes([bytes[22], bytes[23]]),
            start: u64_at(24),
            end: u64_at(32),
            keys: u64_at(40),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        for number in [self.payload_len, self.raw_len, self.payload_crc] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.push(self.kind as u8);
        let starts_extent = u8::from(self.starts_extent) * FLAG_STARTS_EXTENT;
        out.push(starts_extent | (u8::from(self.is_json) * FLAG_JSON));
        out.extend_from_slice(&self.records.to_le_bytes());
        for number in [self.start, self.end, self.keys] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Returns a block of those records, all of one kind and not none.
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
    let raw = encoder.finish();
    let payload = zstd::bulk::compress(&raw, ZSTD_LEVEL)?;
    let header = Header {
        payload_len: bounded(payload.len())?,
        raw_len: bounded(raw.len())?,
        payload_crc: crc32fast::hash(&payload),
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
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    header.write(&mut bytes);
    bytes.extend_from_slice(&payload);
    Ok((header, bytes))
}

fn bounded(len: usize) -> io::Result<u32> {
    u32::try_from(len)
        .ok()
        .filter(|len| *len as usize <= MAX_PAYLOAD_BYTES)
        .ok_or_else(|| io::Error::other("a block of records is too large"))
}

/// Reads a block's records into `visit`; returns how many could not be read.
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
    let payload = &block.bytes[HEADER_BYTES..];
    let Ok(raw) = zstd::bulk::decompress(payload, header.raw_len as usize) else {
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
