//! What repairs a damaged block: behind it stand checksums of its pages, which say where bytes are wrong, and the parity
//! of all pages, which gives one page back. A flipped bit costs no span.
//!
//! `BlockEncoder` appends the record; a file without records is read as it is.

use std::ops::RangeInclusive;

use crate::store::bytes::{Reader, put_varint};

/// First bytes of the record.
const PARITY_MAGIC: [u8; 4] = *b"FxP1";
/// Magic, length of the record, checksum of what follows.
const PARITY_PREFIX_BYTES: usize = 12;
/// Bytes of the checksum of a page.
const CHECKSUM_BYTES: usize = 4;
/// Bytes of a page, a multiple of the least.
const PAGE_BYTES: RangeInclusive<usize> = 64..=64 << 10;

/// The record behind a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parity {
    block_bytes: usize,
    page_bytes: usize,
    checksums: Vec<u32>,
    /// Of all pages; a last page that is shorter counts as if zeros followed.
    parity: Vec<u8>,
}

impl Parity {
    /// Makes the record of a block.
    fn of(block: &[u8]) -> Self {
        // As much for the checksums as for the parity is least for both.
        let page_bytes = (block.len() * CHECKSUM_BYTES).isqrt();
        let page_bytes = page_bytes.next_multiple_of(*PAGE_BYTES.start());
        let page_bytes = page_bytes.clamp(*PAGE_BYTES.start(), *PAGE_BYTES.end());
        let pages = block.chunks(page_bytes);
        let mut parity = vec![0; page_bytes];
        pages.clone().for_each(|page| add(&mut parity, page));
        Self {
            block_bytes: block.len(),
            page_bytes,
            checksums: pages.map(crc32fast::hash).collect(),
            parity,
        }
    }

    /// Returns about how many bytes the record of a block of that length takes.
    pub(crate) fn room(block_bytes: usize) -> usize {
        2 * (block_bytes * CHECKSUM_BYTES).isqrt() + 256
    }

    /// Appends the record of a block to it.
    pub(crate) fn append(block: &mut Vec<u8>) {
        let parity = Self::of(block);
        let begin = block.len();
        block.extend_from_slice(&[0; PARITY_PREFIX_BYTES]);
        put_varint(block, parity.block_bytes as u64);
        put_varint(block, parity.page_bytes as u64);
        let checksums = parity.checksums.iter().flat_map(|sum| sum.to_le_bytes());
        block.extend(checksums);
        block.extend_from_slice(&parity.parity);
        let record = &mut block[begin..];
        let crc = crc32fast::hash(&record[PARITY_PREFIX_BYTES..]);
        let length = record.len() as u32;
        record[..4].copy_from_slice(&PARITY_MAGIC);
        record[4..8].copy_from_slice(&length.to_le_bytes());
        record[8..12].copy_from_slice(&crc.to_le_bytes());
    }

    /// Returns the length of the record that begins with these bytes, `None` where none begins.
    pub(crate) fn record_bytes(prefix: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(prefix);
        let magic = reader.take(4)?;
        let length = reader.fixed_u32()? as usize;
        (magic == PARITY_MAGIC && length > PARITY_PREFIX_BYTES).then_some(length)
    }

    /// Reads a record of exactly these bytes and checks it.
    pub(crate) fn decode(record: &[u8]) -> Option<Self> {
        if Self::record_bytes(record)? != record.len() {
            return None;
        }
        let mut reader = Reader::new(&record[8..]);
        if reader.fixed_u32()? != crc32fast::hash(&record[PARITY_PREFIX_BYTES..]) {
            return None;
        }
        let block_bytes = usize::try_from(reader.varint()?).ok()?;
        let page_bytes = usize::try_from(reader.varint()?).ok()?;
        if !PAGE_BYTES.contains(&page_bytes) {
            return None;
        }
        let checksums = reader.take(
            block_bytes
                .div_ceil(page_bytes)
                .checked_mul(CHECKSUM_BYTES)?,
        )?;
        let (checksums, _) = checksums.as_chunks::<CHECKSUM_BYTES>();
        let parity = reader.take(page_bytes)?.to_vec();
        reader.is_empty().then(|| Self {
            block_bytes,
            page_bytes,
            checksums: checksums
                .iter()
                .map(|sum| u32::from_le_bytes(*sum))
                .collect(),
            parity,
        })
    }

}

fn add(parity: &mut [u8], page: &[u8]) {
    for (sum, byte) in parity.iter_mut().zip(page) {
        *sum ^= byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_damaged_record_is_refused(block: Vec<u8>, bit: prop::sample::Index) {
            let mut written = block.clone();
            Parity::append(&mut written);
            let record = &mut written[block.len()..];
            let bit = bit.index(record.len() * 8);
            record[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Parity::decode(record), None);
        }
    }
}
