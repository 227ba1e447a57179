//! Invariants of any series block with valid checksums: the fuzz target of its records.

use std::collections::HashMap;

use super::{Block, Header, MAGIC, MAX_BLOCK_RECORDS, SeriesCodec, decode, encode};
use crate::log::blocks;
use crate::store::frame::Payload;
use crate::store::series::{SeriesKind, SeriesRecord};

/// Decodes the bytes as the payload of a block; the first three give its kind and the number of records. What
/// was decoded can be encoded and decoded again.
///
/// # Panics
/// When it cannot, or when there are more records than claimed.
pub(crate) fn block(bytes: &[u8]) {
    let Some((&[kind, is_json, records], raw)) = bytes.split_first_chunk() else {
        return;
    };
    let kind = SeriesKind::ALL[usize::from(kind) % SeriesKind::ALL.len()];
    let read = records_of(kind, &forge(kind, is_json % 2 == 1, records, raw));
    assert!(read.len() <= usize::from(records));
    if !read.is_empty() && read.len() <= MAX_BLOCK_RECORDS {
        let (_, again) = encode(&read, &mut HashMap::new(), true).expect("few records fit");
        assert_eq!(records_of(kind, &again), read);
    }
}

/// Returns a block with that payload.
fn forge(kind: SeriesKind, is_json: bool, records: u8, raw: &[u8]) -> Vec<u8> {
    let (payload, compressed) = Payload::compress(raw, 1).expect("zstd takes any bytes");
    let header = Header {
        payload,
        kind,
        starts_extent: true,
        is_json,
        records: u16::from(records),
        start: 1_795_397_400_000_000_000,
        end: 1_795_397_460_000_000_000,
        keys: u64::MAX,
    };
    payload.block(MAGIC, &header.fields(), &compressed)
}

fn records_of(kind: SeriesKind, bytes: &[u8]) -> Vec<SeriesRecord> {
    let mut records = Vec::new();
    let mut strings = Vec::new();
    let read = |block: Block<'_, Header>| {
        decode(&block, &mut strings, None, &mut |record| {
            records.push(record)
        });
    };
    blocks(SeriesCodec(kind), bytes).for_each(read);
    records
}
