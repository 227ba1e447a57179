//! The filter of a segment's values as earlier versions wrote it, without zones: a Bloom filter in pages with their
//! own checksums. `place_filter` is what is written today.

use super::super::place_filter::PAGE_BYTES;

/// A page is a bit map and its CRC-32.
const MAP_BYTES: usize = PAGE_BYTES - 4;
const MAP_BITS: u64 = MAP_BYTES as u64 * 8;
/// Bits set per value. Seven would be optimal for evenly filled filters; pages are not, and each probe costs.
const PROBES: u64 = 6;

pub(crate) fn page_of(token: u64, pages: u64) -> u64 {
    ((u128::from(token) * u128::from(pages)) >> 64) as u64
}

/// Returns whether the token may be in its page; `None` if the page is damaged.
pub(crate) fn may_contain(page: &[u8; PAGE_BYTES], token: u64) -> Option<bool> {
    let (map, crc) = page.split_at(MAP_BYTES);
    if crc32fast::hash(map).to_le_bytes() != crc {
        return None;
    }
    Some(bits(token).all(|bit| map[(bit / 8) as usize] >> (bit % 8) & 1 == 1))
}

/// Returns the bits of a token in its page. The page is chosen by the upper bits of the token, so these use
/// the lower ones.
fn bits(token: u64) -> impl Iterator<Item = u64> {
    let low = u64::from(token as u32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let step = low >> 40 | 1;
    (0..PROBES).map(move |probe| ((low >> 16) + step * probe) % MAP_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS_PER_VALUE: u64 = 10;

    fn encode(tokens: &[u64]) -> Vec<u8> {
        let pages = (tokens.len() as u64 * BITS_PER_VALUE).div_ceil(MAP_BITS);
        let mut out = vec![0; pages as usize * PAGE_BYTES];
        for &token in tokens {
            let begin = page_of(token, pages) as usize * PAGE_BYTES;
            for bit in bits(token) {
                out[begin + (bit / 8) as usize] |= 1 << (bit % 8);
            }
        }
        let (pages, _) = out.as_chunks_mut::<PAGE_BYTES>();
        for page in pages {
            let crc = crc32fast::hash(&page[..MAP_BYTES]);
            page[MAP_BYTES..].copy_from_slice(&crc.to_le_bytes());
        }
        out
    }

    #[test]
    fn every_member_is_found_and_few_others() {
        let tokens: Vec<u64> = (0..50_000).map(|_| fastrand::u64(..)).collect();
        let encoded = encode(&tokens);
        let (pages, _) = encoded.as_chunks::<PAGE_BYTES>();
        let has = |token| {
            let page = page_of(token, pages.len() as u64);
            may_contain(&pages[page as usize], token).unwrap()
        };
        assert!(tokens.iter().all(|&token| has(token)));
        let others = (0..10_000).filter(|_| has(fastrand::u64(..)));
        assert!(others.count() < 300);
    }

    #[test]
    fn a_damaged_page_says_nothing() {
        let mut encoded = encode(&[1, 2, 3]);
        encoded[17] ^= 1;
        let (pages, _) = encoded.as_chunks::<PAGE_BYTES>();
        assert_eq!(may_contain(&pages[0], 1), None);
    }
}
