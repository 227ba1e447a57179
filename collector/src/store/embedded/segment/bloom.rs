//! A bloom filter of a segment's traces: 14 bits a trace, one false positive in eight hundred. Each row of a
//! page is looked up in every segment, and each false positive loads a segment's index.

use crate::store::bytes::Reader;

const BITS_PER_TRACE: usize = 14;
/// Bits set per trace; optimal for 14 bits each.
pub(crate) const PROBES: u64 = 10;
/// Bits set per trace in filters of the first version, which had ten bits per trace.
pub(crate) const PROBES_OF_TEN_BITS: u64 = 7;

#[derive(Debug, Default)]
pub(crate) struct Bloom {
    words: Vec<u64>,
    probes: u64,
}

impl Bloom {
    pub(crate) fn new(ids: &[u128]) -> Self {
        let mut bloom = Self {
            words: vec![0; (ids.len() * BITS_PER_TRACE).div_ceil(64).max(1)],
            probes: PROBES,
        };
        for &id in ids {
            for bit in bits(id, bloom.words.len(), PROBES) {
                bloom.words[(bit / 64) as usize] |= 1 << (bit % 64);
            }
        }
        bloom
    }

    pub(crate) fn may_contain(&self, id: u128) -> bool {
        !self.words.is_empty()
            && bits(id, self.words.len(), self.probes)
                .all(|bit| self.words[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
    }

    pub(crate) fn memory(&self) -> usize {
        self.words.len() * 8
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// `probes` is the number of bits set per trace.
    pub(crate) fn decode(encoded: &[u8], probes: u64) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let words: Vec<u64> = std::iter::from_fn(|| reader.fixed_u64()).collect();
        (reader.is_empty() && !words.is_empty()).then_some(Self { words, probes })
    }
}

/// Returns the bits of a trace. They depend only on the low half of the id, so that lookups by the low half
/// can use the filter.
fn bits(id: u128, words: usize, probes: u64) -> impl Iterator<Item = u64> {
    let mix = |value: u64, by: u64| {
        let product = u128::from(value ^ by) * u128::from(by);
        product as u64 ^ (product >> 64) as u64
    };
    let first = mix(id as u64, 0x9e37_79b9_7f4a_7c15);
    let step = mix(first, 0xd6e8_feb8_6659_fd93) | 1;
    let bits = words as u64 * 64;
    (0..probes).map(move |probe| first.wrapping_add(step.wrapping_mul(probe)) % bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_found_and_few_others() {
        let ids: Vec<u128> = (0..10_000u64)
            .map(|_| u128::from(fastrand::u64(..)))
            .collect();
        let bloom = Bloom::decode(&Bloom::new(&ids).encode(), PROBES).unwrap();
        assert!(ids.iter().all(|&id| bloom.may_contain(id)));
        let others = (0..10_000).filter(|_| bloom.may_contain(u128::from(fastrand::u64(..))));
        assert!(others.count() < 50);
        assert!(!Bloom::new(&[]).may_contain(7));
    }
}
