//! A filter that tells where a token may be: in which zones of a segment a value, in which segments of a group a trace.
//!
//! It is a sorted list of hashes with their places, in pages with their own checksums, so that a lookup reads 4 KiB. The
//! hashes are stored by their differences (Golomb-Rice codes), which takes fewer bits than a Bloom filter of the same
//! false positives, and a false positive costs one place instead of all.

use crate::store::bits::{BitReader, BitWriter};

/// A page is a checksum, three widths, the end of each bucket, and the codes of all buckets.
pub(crate) const PAGE_BYTES: usize = 4_096;
const BUCKETS: usize = 16;
/// CRC-32 of what follows; bits of a remainder, of a place, and of a place that are not stored.
const HEAD_BYTES: usize = 7;
const CODE_BEGIN: usize = HEAD_BYTES + BUCKETS * 2;
const CODE_BITS: usize = (PAGE_BYTES - CODE_BEGIN) * 8;
/// The place of what may be anywhere.
pub(crate) const EVERYWHERE: u8 = u8::MAX;
/// More places of a token than this are stored as everywhere.
const PLACES_MAX: usize = 4;
/// A full bucket holds about this many codes, as a power of two: differences are then about as large as a remainder.
const BUCKET_CODES_LOG: u32 = 7;
/// Share of a page that is planned to be used; pages are not filled evenly.
const FILL_PERCENT: usize = 97;
/// Bits of a quotient, on average.
const QUOTIENT_BITS: usize = 2;
/// Numbers of pages that are tried until every page has room.
const PAGES_TRIED: usize = 8;

/// A token in its upper 56 bits, its place in the lower ones.
pub(crate) fn at(token: u64, place: u8) -> u64 {
    token & !u64::from(EVERYWHERE) | u64::from(place)
}

/// How precise a filter is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Precision {
    /// One false positive in 2^`remainder_bits`.
    pub(crate) remainder_bits: u32,
    /// Neighbouring places become one until their numbers fit.
    pub(crate) place_bits: u32,
}

/// The widths of a filter's codes.
#[derive(Debug, Clone, Copy)]
struct Widths {
    remainder: u32,
    place: u32,
    /// Lowest bits of a place that are not stored.
    shift: u32,
}

impl Widths {
    fn new(places: usize, precision: Precision) -> Self {
        let places = places.min(EVERYWHERE.into());
        // All ones is everywhere.
        let width = |shift: &u32| usize::BITS - places.div_ceil(1 << shift).leading_zeros();
        let shift = (0..8).find(|shift| width(shift) <= precision.place_bits);
        let shift = shift.unwrap_or(8);
        Self {
            remainder: precision.remainder_bits,
            place: width(&shift),
            shift,
        }
    }

    fn read(page: &[u8; PAGE_BYTES]) -> Option<Self> {
        let [remainder, place, shift] = [page[4], page[5], page[6]].map(u32::from);
        let is_valid = remainder <= 32 && place <= 8 && shift <= 8;
        is_valid.then_some(Self {
            remainder,
            place,
            shift,
        })
    }

    /// Bits of a hash within its bucket.
    fn hash(self) -> u32 {
        self.remainder + BUCKET_CODES_LOG
    }

    fn everywhere(self) -> u64 {
        (1 << self.place) - 1
    }
}

/// Encodes a filter of `at` pairs; empty without pairs. Places are numbers below `places`, of which there are at most 255.
/// Returns `None` if the tokens are not evenly distributed: senders can
/// choose values whose hashes are alike.
pub(crate) fn encode(pairs: &mut Vec<u64>, places: usize, precision: Precision) -> Option<Vec<u8>> {
    let widths = Widths::new(places, precision);
    for pair in &mut *pairs {
        let place = *pair as u8;
        if place != EVERYWHERE {
            *pair = at(*pair, (u32::from(place) >> widths.shift) as u8);
        }
    }
    pairs.sort_unstable();
    join_places(pairs);
    let bits = pairs.len() * (widths.remainder as usize + widths.place as usize + QUOTIENT_BITS);
    let planned = bits.div_ceil(CODE_BITS * FILL_PERCENT / 100);
    let numbers = std::iter::successors(Some(planned), |pages| Some(pages + pages / 32 + 1));
    let mut tried = numbers.take(PAGES_TRIED);
    tried.find_map(|pages| encode_pages(pairs, pages, widths))
}

/// Leaves one place of each token that has many. Pairs are sorted.
fn join_places(pairs: &mut Vec<u64>) {
    pairs.dedup();
    let mut kept = 0;
    let mut next = 0;
    while next < pairs.len() {
        let of_token = |pair: &&u64| **pair >> 8 == pairs[next] >> 8;
        let count = pairs[next..].iter().take_while(of_token).count();
        let last = pairs[next + count - 1];
        if count > PLACES_MAX || last as u8 == EVERYWHERE {
            pairs[kept] = at(last, EVERYWHERE);
            kept += 1;
        } else {
            pairs.copy_within(next..next + count, kept);
            kept += count;
        }
        next += count;
    }
    pairs.truncate(kept);
}

/// Returns `None` if a page is too small.
fn encode_pages(pairs: &[u64], pages: usize, widths: Widths) -> Option<Vec<u8>> {
    let mut out = vec![0; pages * PAGE_BYTES];
    let (list, _) = out.as_chunks_mut::<PAGE_BYTES>();
    let mut rest = pairs;
    for (number, page) in list.iter_mut().enumerate() {
        let is_here = |pair: &u64| page_of(*pair, pages as u64) == number as u64;
        let (here, later) = rest.split_at(rest.partition_point(is_here));
        encode_page(page, here, pages as u64, widths)?;
        rest = later;
    }
    Some(out)
}

fn encode_page(
    page: &mut [u8; PAGE_BYTES],
    pairs: &[u64],
    pages: u64,
    widths: Widths,
) -> Option<()> {
    page[4] = widths.remainder as u8;
    page[5] = widths.place as u8;
    page[6] = widths.shift as u8;
    let mut code = BitWriter::default();
    let mut next = 0;
    for bucket in 0..BUCKETS {
        let mut before = 0;
        while let Some(&pair) = pairs.get(next) {
            let (of, hash) = bucket_of(pair, pages, widths);
            if of != bucket {
                break;
            }
            code.put_unary((hash - before) >> widths.remainder);
            code.put(hash - before, widths.remainder);
            code.put(u64::from(pair as u8), widths.place);
            before = hash;
            next += 1;
        }
        let end = u16::try_from(code.bits()).ok()?;
        page[HEAD_BYTES + bucket * 2..][..2].copy_from_slice(&end.to_le_bytes());
    }
    let bytes = code.finish();
    page[CODE_BEGIN..]
        .get_mut(..bytes.len())?
        .copy_from_slice(&bytes);
    let crc = crc32fast::hash(&page[4..]);
    page[..4].copy_from_slice(&crc.to_le_bytes());
    Some(())
}

/// Returns the page of a token, of which the lowest byte does not count.
pub(crate) fn page_of(token: u64, pages: u64) -> u64 {
    (scaled(token, pages) >> 64) as u64
}

fn scaled(token: u64, pages: u64) -> u128 {
    u128::from(at(token, 0)) * u128::from(pages)
}

/// Returns the bucket of a token within its page, and its hash within the bucket.
fn bucket_of(token: u64, pages: u64, widths: Widths) -> (usize, u64) {
    let within = scaled(token, pages) as u64;
    let bucket = within >> (u64::BITS - BUCKETS.ilog2());
    let hash = within << BUCKETS.ilog2() >> (u64::BITS - widths.hash());
    (bucket as usize, hash)
}

/// Returns the places where a token may be, given its page of so many; `None` if the page is damaged.
pub(crate) fn places(page: &[u8; PAGE_BYTES], token: u64, pages: u64) -> Option<Vec<u8>> {
    let (crc, rest) = page.split_first_chunk::<4>()?;
    if crc32fast::hash(rest).to_le_bytes() != *crc {
        return None;
    }
    let widths = Widths::read(page)?;
    let (bucket, wanted) = bucket_of(token, pages, widths);
    let end = |bucket: usize| {
        let end = &page[HEAD_BYTES + bucket * 2..][..2];
        usize::from(u16::from_le_bytes([end[0], end[1]]))
    };
    let begin = bucket.checked_sub(1).map_or(0, end);
    let mut code = BitReader::at(&page[CODE_BEGIN..], begin);
    let (end, mut hash, mut found) = (end(bucket), 0u64, Vec::new());
    while code.position() < end {
        let quotient = code.unary()?;
        hash += quotient << widths.remainder | code.take(widths.remainder)?;
        let place = code.take(widths.place)?;
        if hash > wanted {
            break;
        }
        if hash == wanted {
            let places = place << widths.shift..(place + 1) << widths.shift;
            match place == widths.everywhere() {
                true => found.push(EVERYWHERE),
                false => found.extend(
                    places
                        .take_while(|place| *place < u64::from(EVERYWHERE))
                        .map(|place| place as u8),
                ),
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn precise(remainder_bits: u32) -> Precision {
        Precision {
            remainder_bits,
            place_bits: 4,
        }
    }

    fn lookup(encoded: &[u8], token: u64) -> Vec<u8> {
        let (pages, _) = encoded.as_chunks::<PAGE_BYTES>();
        let page = page_of(token, pages.len() as u64);
        places(&pages[page as usize], token, pages.len() as u64).unwrap()
    }

    #[test]
    fn members_are_found_at_their_places_and_few_others() {
        for (count, places, remainder_bits) in
            [(3, 1, 7), (200, 25, 7), (50_000, 10, 7), (50_000, 254, 10)]
        {
            let precision = precise(remainder_bits);
            let members: Vec<(u64, u8)> = (0..count)
                .map(|_| (fastrand::u64(..), fastrand::u8(..places)))
                .collect();
            let mut pairs = members
                .iter()
                .map(|(token, place)| at(*token, *place))
                .collect();
            let encoded = encode(&mut pairs, places.into(), precision).unwrap();
            for (token, place) in &members {
                assert!(lookup(&encoded, *token).contains(place), "{count} {places}");
            }
            let others = (0..10_000).filter(|_| !lookup(&encoded, fastrand::u64(..)).is_empty());
            assert!(
                others.count() < 30_000 >> remainder_bits,
                "{count} {places}"
            );
        }
        assert_eq!(encode(&mut Vec::new(), 10, precise(7)), Some(Vec::new()));
    }

    #[test]
    fn a_token_in_many_places_or_in_an_unknown_one_is_everywhere() {
        let (many, unknown, few) = (1 << 60, 2 << 60, 3 << 60);
        let mut pairs: Vec<u64> = (0..5).map(|place| at(many, place)).collect();
        pairs.extend([
            at(unknown, EVERYWHERE),
            at(unknown, 3),
            at(few, 2),
            at(few, 7),
            at(few, 7),
        ]);
        let encoded = encode(&mut pairs, 10, precise(7)).unwrap();
        assert_eq!(lookup(&encoded, many), [EVERYWHERE]);
        assert_eq!(lookup(&encoded, unknown), [EVERYWHERE]);
        assert_eq!(lookup(&encoded, few), [2, 7]);
    }

    /// *Guarantees*: values that a sender chose for their hashes cost neither memory nor time.
    #[test]
    fn tokens_that_are_alike_get_no_filter() {
        let mut pairs = (0..5_000)
            .map(|number| at(7 << 60 | number << 20, 1))
            .collect();
        assert_eq!(encode(&mut pairs, 3, precise(7)), None);
    }

    #[test]
    fn a_damaged_page_says_nothing() {
        let encoded = encode(&mut vec![at(1 << 40, 0)], 1, precise(7)).unwrap();
        let (pages, _) = encoded.as_chunks::<PAGE_BYTES>();
        for byte in [0, 5, 17, 4_095] {
            let mut page = pages[0];
            page[byte] ^= 1;
            assert_eq!(places(&page, 1 << 40, 1), None, "{byte}");
        }
    }
}
