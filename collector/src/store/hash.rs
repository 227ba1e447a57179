//! A fast hash for dictionaries, trace ids and the tables of the live figures, seeded per table.
//!
//! Senders choose the values, so a hit always compares bytes; the seed and the bounds of every table keep
//! chosen collisions from costing more than a slow span.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Odd constants with well-mixed bits (digits of the golden ratio and of pi).
const MIX_A: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_B: u64 = 0x2436_f6a8_885a_308d;

/// A secret of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn random() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }

    /// Returns a fixed seed, for hashes in files.
    pub(crate) const fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns what `fixed` takes, little-endian.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    #[inline]
    pub(crate) fn hash(self, bytes: &[u8]) -> u64 {
        let mut state = self.0 ^ (bytes.len() as u64).wrapping_mul(MIX_A);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            state = fold(state ^ word(chunk), MIX_A);
        }
        fold(state ^ tail(chunks.remainder()), MIX_B)
    }
}

/// Multiplies to 128 bits and XORs the halves.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(chunk: &[u8]) -> u64 {
    chunk
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Reads up to seven bytes; the length is already part of the state.
#[inline]
fn tail(rest: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
    }
    rest.iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Default for Seed {
    fn default() -> Self {
        Self::random()
    }
}

impl BuildHasher for Seed {
    type Hasher = SeededHasher;

    fn build_hasher(&self) -> SeededHasher {
        SeededHasher(self.0)
    }
}

/// The same hash for standard maps with numeric keys.
#[derive(Debug)]
pub(crate) struct SeededHasher(u64);

impl Hasher for SeededHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = Seed(self.0).hash(bytes);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = fold(self.0 ^ value, MIX_A);
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64(value as u64);
        self.write_u64((value >> 64) as u64);
    }
}
