//! Repair of damaged blocks. Each block is followed by a record with the checksums of its pages, which locate
//! the damage, and the parity of all pages, which restores one page. So a flipped bit costs no span.
//!
//! `BlockEncoder` appends the record, `segment::repair` writes a page back; files without records are read
//! unrepaired.

use std::io;
use std::ops::RangeInclusive;

use crate::store::bytes::{Reader, put_varint};

/// First bytes of the record.
pub(crate) const PARITY_MAGIC: [u8; 4] = *b"FxP1";
/// Magic, length of the record, checksum of the rest.
const PARITY_PREFIX_BYTES: usize = 12;
/// Bytes from which the lengths of a record and its block can be read.
pub(crate) const PARITY_HEAD_BYTES: usize = PARITY_PREFIX_BYTES + 10;
const CHECKSUM_BYTES: usize = 4;
/// Largest record: the longest block has 64 KiB of parity and four times as much in checksums. Anything that
/// claims to be longer is text of a span.
const RECORD_BYTES_MAX: usize = 512 << 10;
/// Bytes of a page; a multiple of the lower bound.
const PAGE_BYTES: RangeInclusive<usize> = 64..=64 << 10;

/// The parity record of a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parity {
    block_bytes: usize,
    page_bytes: usize,
    checksums: Vec<u32>,
    /// XOR of all pages; a shorter last page counts as padded with zeros.
    parity: Vec<u8>,
}

impl Parity {
    fn of(block: &[u8]) -> Self {
        // The record is smallest when checksums and parity take about the same space.
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

    /// Approximate length of the record for a block of that length.
    pub(crate) fn room(block_bytes: usize) -> usize {
        2 * (block_bytes * CHECKSUM_BYTES).isqrt() + 256
    }

    /// Appends its record to a block.
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

    /// Returns the length of a record that begins with these bytes; `None` if no record does.
    pub(crate) fn record_bytes(prefix: &[u8]) -> Option<usize> {
        let mut reader = Reader::new(prefix);
        let magic = reader.take(4)?;
        let length = reader.fixed_u32()? as usize;
        let is_possible = (PARITY_PREFIX_BYTES..=RECORD_BYTES_MAX).contains(&length);
        (magic == PARITY_MAGIC && is_possible).then_some(length)
    }

    /// Returns the block length that a record with this prefix claims, unverified.
    pub(crate) fn claimed_block_bytes(prefix: &[u8]) -> Option<u64> {
        Reader::new(prefix.get(PARITY_PREFIX_BYTES..)?).varint()
    }

    /// Decodes and verifies a record of exactly these bytes.
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

    /// Returns the original content of the damaged page and its offset, if exactly one page is damaged.
    /// `read` fills a buffer from an offset in the block.
    pub(crate) fn repair(
        &self,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut sum = self.parity.clone();
        let mut damaged = Vec::new();
        let mut buffer = vec![0; self.page_bytes];
        for (number, wanted) in self.checksums.iter().enumerate() {
            let page = &mut buffer[..self.bytes_of(number)];
            read(self.place_of(number), page)?;
            if crc32fast::hash(page) == *wanted {
                add(&mut sum, page);
            } else {
                damaged.push(number);
            }
        }
        let &[number] = &damaged[..] else {
            return Ok(None);
        };
        sum.truncate(self.bytes_of(number));
        let is_sound = crc32fast::hash(&sum) == self.checksums[number];
        Ok(is_sound.then(|| (self.place_of(number), sum)))
    }

    fn place_of(&self, page: usize) -> u64 {
        (page * self.page_bytes) as u64
    }

    fn bytes_of(&self, page: usize) -> usize {
        self.page_bytes
            .min(self.block_bytes - page * self.page_bytes)
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

    /// Repairs a block; returns whether something of it was changed.
    fn repair(block: &mut [u8], record: &[u8]) -> bool {
        let read = |at: u64, page: &mut [u8]| {
            page.copy_from_slice(&block[at as usize..][..page.len()]);
            Ok(())
        };
        let page = Parity::decode(record).unwrap().repair(read).unwrap();
        if let Some((at, page)) = &page {
            block[*at as usize..][..page.len()].copy_from_slice(page);
        }
        page.is_some()
    }

    proptest! {
        /// *Guarantees*: any damage within one page is repaired, and nothing else is changed.
        #[test]
        fn damage_of_a_page_is_repaired(
            block in proptest::collection::vec(any::<u8>(), 1..9_000),
            place: prop::sample::Index,
            damage in proptest::collection::vec(1u8.., 1..64),
        ) {
            let mut written = block.clone();
            Parity::append(&mut written);
            let record = &written[block.len()..];
            prop_assert_eq!(Parity::record_bytes(record), Some(record.len()));
            let claimed = Parity::claimed_block_bytes(&record[..PARITY_HEAD_BYTES]);
            prop_assert_eq!(claimed, Some(block.len() as u64));
            let mut rotten = block.clone();
            let page_bytes = Parity::decode(record).unwrap().page_bytes;
            let place = place.index(block.len());
            let end = block.len().min((place + 1).next_multiple_of(page_bytes));
            for (byte, damage) in rotten[place..end].iter_mut().zip(&damage) {
                *byte ^= damage;
            }
            prop_assert!(repair(&mut rotten, record));
            prop_assert_eq!(&rotten, &block);
            prop_assert!(!repair(&mut rotten, record));
        }

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

    /// *Guarantees*: text that looks like the beginning of a record does not say how much is read.
    #[test]
    fn no_record_is_longer_than_that_of_the_longest_block() {
        let longest = Parity::room(u32::MAX as usize);
        let head = |bytes: usize| [&PARITY_MAGIC[..], &(bytes as u32).to_le_bytes()].concat();
        assert_eq!(Parity::record_bytes(&head(longest)), Some(longest));
        assert_eq!(Parity::record_bytes(&head(1 << 20)), None);
    }

    #[test]
    fn damage_of_two_pages_is_left_as_it_is() {
        let block: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let mut written = block.clone();
        Parity::append(&mut written);
        let mut rotten = block.clone();
        rotten[0] ^= 1;
        rotten[5_000] ^= 1;
        assert!(!repair(&mut rotten, &written[block.len()..]));
        assert_eq!((rotten[0], rotten[5_000]), (1, block[5_000] ^ 1));
    }
}
