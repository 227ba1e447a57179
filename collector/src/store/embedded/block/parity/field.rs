//! The field of 256 elements in which pages are weighted: bytes as polynomials over bits, modulo x^8 + x^4 +
//! x^3 + x^2 + 1. The powers of 2 are all elements except zero.

/// The period of the powers of 2.
pub(super) const ORDER: usize = 255;
/// x^8, reduced.
const REDUCED: u8 = 0x1d;

/// Multiplies each byte by 2.
pub(super) fn double(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = twice(*byte);
    }
}

fn twice(byte: u8) -> u8 {
    // Branch-free, so that the compiler can vectorise it.
    let carry = ((byte as i8) >> 7) as u8;
    (byte << 1) ^ (carry & REDUCED)
}

/// Returns 2 to the `exponent`.
pub(super) fn power(exponent: usize) -> u8 {
    (0..exponent % ORDER).fold(1, |power, _| twice(power))
}

pub(super) fn product(one: u8, other: u8) -> u8 {
    let bits = (0..8).rev();
    bits.fold(0, |sum, bit| {
        twice(sum) ^ if other >> bit & 1 == 1 { one } else { 0 }
    })
}

/// Returns the multiplicative inverse; zero has none.
pub(super) fn inverse(byte: u8) -> Option<u8> {
    (1..=u8::MAX).find(|other| product(byte, *other) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_but_zero_is_a_power_of_two_with_an_inverse() {
        let mut powers: Vec<u8> = (0..ORDER).map(power).collect();
        assert_eq!(power(ORDER), 1);
        powers.sort_unstable();
        assert_eq!(powers, (1..=u8::MAX).collect::<Vec<_>>());
        for byte in 1..=u8::MAX {
            assert_eq!(product(byte, inverse(byte).unwrap()), 1);
            assert_eq!(product(byte, 2), twice(byte));
        }
        assert_eq!(inverse(0), None);
    }
}
