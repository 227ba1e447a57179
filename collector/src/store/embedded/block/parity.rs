//! Repairs up to two damaged pages of a block. The record after the block has a checksum per page, which
//! tells which pages are damaged, and two sums over all pages, from which two can be computed: their xor, and
//! the xor with each page times a power of 2, as in RAID 6.
//!
//! `BlockEncoder` appends the record, and `segment::repair` rewrites pages in the file. Blocks without a
//! record cannot be repaired.

use std::io;
use std::ops::RangeInclusive;

mod field;

use crate::store::bytes::{Reader, put_varint};

/// First bytes of the record.
pub(crate) const PARITY_MAGIC: [u8; 4] = *b"FxP1";
/// Magic, length of the record, checksum of the rest.
const PARITY_PREFIX_BYTES: usize = 12;
/// Bytes from which the lengths of a record and its block can be read.
pub(crate) const PARITY_HEAD_BYTES: usize = PARITY_PREFIX_BYTES + 10;
const CHECKSUM_BYTES: usize = 4;
/// Upper bound of a record. That of the longest block has 128 KiB of sums and twice as much in checksums;
/// what claims more is text of a span.
const RECORD_BYTES_MAX: usize = 512 << 10;
/// Bytes of a page; a multiple of the lower bound.
const PAGE_BYTES: RangeInclusive<usize> = 64..=64 << 10;
/// Pages of a block of up to 16 MiB. Longer ones have more, and two pages that are 255 apart have equal
/// weights, so they cannot be repaired together.
const PAGES_MAX: usize = field::ORDER;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parity {
    block_bytes: usize,
    page_bytes: usize,
    checksums: Vec<u32>,
    /// The xor of all pages; the last one is padded with zeros.
    xor: Vec<u8>,
    /// The same with page *n* times 2^*n*; `None` in files of earlier builds.
    weighted: Option<Vec<u8>>,
}

impl Parity {
    fn of(block: &[u8]) -> Self {
        let page_bytes = page_bytes(block.len());
        let pages = block.chunks(page_bytes);
        let mut sums = Sums::new(page_bytes);
        pages.clone().rev().for_each(|page| sums.add(page));
        Self {
            block_bytes: block.len(),
            page_bytes,
            checksums: pages.map(crc32fast::hash).collect(),
            xor: sums.xor,
            weighted: Some(sums.weighted),
        }
    }

    /// Returns an upper bound of the record of a block of that length.
    pub(crate) fn room(block_bytes: usize) -> usize {
        let page_bytes = page_bytes(block_bytes);
        PARITY_HEAD_BYTES + block_bytes.div_ceil(page_bytes) * CHECKSUM_BYTES + 2 * page_bytes
    }

    pub(crate) fn append(block: &mut Vec<u8>) {
        let parity = Self::of(block);
        let begin = block.len();
        block.extend_from_slice(&[0; PARITY_PREFIX_BYTES]);
        put_varint(block, parity.block_bytes as u64);
        put_varint(block, parity.page_bytes as u64);
        let checksums = parity.checksums.iter().flat_map(|sum| sum.to_le_bytes());
        block.extend(checksums);
        block.extend_from_slice(&parity.xor);
        block.extend(parity.weighted.iter().flatten());
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
        let xor = reader.take(page_bytes)?.to_vec();
        let weighted = reader.take(page_bytes).map(<[u8]>::to_vec);
        Some(Self {
            block_bytes,
            page_bytes,
            checksums: checksums
                .iter()
                .map(|sum| u32::from_le_bytes(*sum))
                .collect(),
            xor,
            weighted,
        })
    }

    /// Returns the original contents of the damaged pages, one or two, each with its offset in the block;
    /// nothing if more are damaged. `read` fills a buffer from an offset in the block.
    pub(crate) fn repair(
        &self,
        mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let mut sums = Sums::new(self.page_bytes);
        let mut damaged = Vec::new();
        let mut buffer = vec![0; self.page_bytes];
        for (number, wanted) in self.checksums.iter().enumerate().rev() {
            let page = &mut buffer[..self.bytes_of(number)];
            read(self.place_of(number), page)?;
            if crc32fast::hash(page) == *wanted {
                sums.add(page);
            } else {
                sums.add(&[]);
                damaged.push(number);
            }
        }
        let pages = self.missing(sums, &damaged).unwrap_or_default();
        let repaired = damaged.into_iter().zip(pages).map(|(number, mut page)| {
            page.truncate(self.bytes_of(number));
            let is_sound = crc32fast::hash(&page) == self.checksums[number];
            is_sound.then(|| (self.place_of(number), page))
        });
        Ok(repaired.collect::<Option<_>>().unwrap_or_default())
    }

    /// Computes the damaged pages from the sums of all others; `None` if that is impossible.
    fn missing(&self, others: Sums, damaged: &[usize]) -> Option<Vec<Vec<u8>>> {
        let mut xor = others.xor;
        add(&mut xor, &self.xor);
        let (later, earlier) = match *damaged {
            [_] => return Some(vec![xor]),
            [later, earlier] => (field::power(later), field::power(earlier)),
            _ => return None,
        };
        let mut weighted = others.weighted;
        add(&mut weighted, self.weighted.as_ref()?);
        // Two equations: xor = L + E, and weighted = later × L + earlier × E, with the pages L and E.
        let both = field::inverse(later ^ earlier)?;
        let page = xor
            .iter()
            .zip(&weighted)
            .map(|(xor, weighted)| field::product(weighted ^ field::product(*xor, earlier), both));
        let later: Vec<u8> = page.collect();
        add(&mut xor, &later);
        Some(vec![later, xor])
    }

    fn place_of(&self, page: usize) -> u64 {
        (page * self.page_bytes) as u64
    }

    fn bytes_of(&self, page: usize) -> usize {
        self.page_bytes
            .min(self.block_bytes - page * self.page_bytes)
    }
}

/// Returns the page size of a block, chosen so that checksums take about as much space as a sum.
fn page_bytes(block_bytes: usize) -> usize {
    let page_bytes = (block_bytes * CHECKSUM_BYTES).isqrt();
    page_bytes
        .max(block_bytes.div_ceil(PAGES_MAX))
        .next_multiple_of(*PAGE_BYTES.start())
        .clamp(*PAGE_BYTES.start(), *PAGE_BYTES.end())
}

/// Sums over pages, added from the last to the first.
struct Sums {
    xor: Vec<u8>,
    weighted: Vec<u8>,
}

impl Sums {
    fn new(page_bytes: usize) -> Self {
        Self {
            xor: vec![0; page_bytes],
            weighted: vec![0; page_bytes],
        }
    }

    /// Adds the page before the previously added one, padded with zeros.
    fn add(&mut self, page: &[u8]) {
        add(&mut self.xor, page);
        field::double(&mut self.weighted);
        add(&mut self.weighted, page);
    }
}

fn add(sum: &mut [u8], page: &[u8]) {
    for (sum, byte) in sum.iter_mut().zip(page) {
        *sum ^= byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Repairs a block; returns how many pages were changed.
    fn repair(block: &mut [u8], record: &Parity) -> usize {
        let read = |at: u64, page: &mut [u8]| {
            page.copy_from_slice(&block[at as usize..][..page.len()]);
            Ok(())
        };
        let pages = record.repair(read).unwrap();
        for (at, page) in &pages {
            block[*at as usize..][..page.len()].copy_from_slice(page);
        }
        pages.len()
    }

    proptest! {
        /// *Guarantees*: any damage within two pages is repaired exactly; with the record of an earlier
        /// build, any damage within one.
        #[test]
        fn damage_of_two_pages_is_repaired(
            block in proptest::collection::vec(any::<u8>(), 1..9_000),
            places: [prop::sample::Index; 2],
            damage in proptest::collection::vec(1u8.., 1..64),
            is_of_earlier_build: bool,
        ) {
            let mut written = block.clone();
            Parity::append(&mut written);
            let record = &written[block.len()..];
            prop_assert_eq!(Parity::record_bytes(record), Some(record.len()));
            let claimed = Parity::claimed_block_bytes(&record[..PARITY_HEAD_BYTES]);
            prop_assert_eq!(claimed, Some(block.len() as u64));
            let mut parity = Parity::decode(record).unwrap();
            let mut rotten = block.clone();
            let mut pages = std::collections::BTreeSet::new();
            for place in places.map(|place| place.index(block.len())) {
                let end = block.len().min((place + 1).next_multiple_of(parity.page_bytes));
                for (byte, damage) in rotten[place..end].iter_mut().zip(&damage) {
                    *byte = byte.wrapping_add(*damage);
                }
                pages.insert(place / parity.page_bytes);
            }
            if is_of_earlier_build {
                parity.weighted = None;
            }
            let before = rotten.clone();
            match pages.len() {
                2 if is_of_earlier_build => {
                    prop_assert_eq!(repair(&mut rotten, &parity), 0);
                    prop_assert_eq!(&rotten, &before);
                }
                pages => {
                    prop_assert_eq!(repair(&mut rotten, &parity), pages);
                    prop_assert_eq!(&rotten, &block);
                    prop_assert_eq!(repair(&mut rotten, &parity), 0);
                }
            }
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

    /// *Guarantees*: text that looks like the start of a record cannot make the reader read more.
    #[test]
    fn no_record_is_longer_than_that_of_the_longest_block() {
        let longest = Parity::room(u32::MAX as usize);
        let head = |bytes: usize| [&PARITY_MAGIC[..], &(bytes as u32).to_le_bytes()].concat();
        assert_eq!(Parity::record_bytes(&head(longest)), Some(longest));
        assert!(longest > RECORD_BYTES_MAX / 2, "{longest}");
        assert_eq!(Parity::record_bytes(&head(1 << 20)), None);
    }

    /// *Guarantees*: a block of any size has so few pages that all weights differ.
    #[test]
    fn no_weight_stands_for_two_pages() {
        for bytes in [1, 10_000, 600_000, 4 << 20] {
            let block: Vec<u8> = (0..bytes).map(|n: u32| (n / 7) as u8).collect();
            let parity = Parity::of(&block);
            assert!(parity.checksums.len() <= PAGES_MAX, "{bytes}");
            let mut written = block.clone();
            Parity::append(&mut written);
            assert!(written.len() - block.len() <= Parity::room(block.len()));
        }
    }

    #[test]
    fn damage_of_three_pages_is_left_as_it_is() {
        let block: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let parity = Parity::of(&block);
        let mut rotten = block.clone();
        [0, 5_000, 9_999]
            .into_iter()
            .for_each(|at: usize| rotten[at] ^= 1);
        let before = rotten.clone();
        assert_eq!(repair(&mut rotten, &parity), 0);
        assert_eq!(rotten, before);
    }
}
