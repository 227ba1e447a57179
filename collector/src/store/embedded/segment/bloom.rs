//! Says quickly that a segment has nothing of a trace: 14 bits a trace, wrong once in eight hundred. A row of a page is
//! looked for in every segment, and each wrong answer loads a segment's index.

use crate::store::bytes::Reader;

/// Bits per trace.
const BITS_PER_TRACE: usize = 14;
/// Bits that one trace sets: best for 14 bits each.
pub(crate) const PROBES: u64 = 10;
/// Bits that a trace set in the filters of the first version, of ten bits each.
pub(crate) const PROBES_OF_TEN_BITS: u64 = 7;

/// A bloom filter of trace ids.
#[derive(Debug, Default)]
pub(crate) struct Bloom {
    words: Vec<u64>,
    probes: u64,
}

impl Bloom {
    /// Makes a filter of those traces.
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

    /// Returns whether the trace may be there.
    pub(crate) fn may_contain(&self, id: u128) -> bool {
        !self.words.is_empty()
            && bits(id, self.words.len(), self.probes)
                .all(|bit| self.words[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
    }

    /// Returns the memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.words.len() * 8
    }

    /// Writes it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    /// Reads what `encode` wrote; `probes` says how many bits each trace set.
    pub(crate) fn decode(encoded: &[u8], probes: u64) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let words: Vec<u64> = std::iter::from_fn(|| reader.fixed_u64()).collect();
        (reader.is_empty() && !words.is_empty()).then_some(Self { words, probes })
    }
}

/// Returns the bits of a trace. Only the low half of the id counts, so that a lookup by it can ask too.
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
