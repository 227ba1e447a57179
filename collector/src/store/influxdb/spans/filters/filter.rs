//! The text of `span_filter.f`: the tokens of a section that have the same upper six bits, in base64.
//!
//! A CRC-32 of what stands behind it and of the section, the number of tokens, then their sorted hashes by their differences
//! (Golomb-Rice codes): one false positive in 1,024 takes eleven and a half bits a token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Section;
use crate::store::bits::{BitReader, BitWriter};
use crate::store::bytes::{Reader, put_varint};

/// Upper bits of a token that choose the filter.
const PARTITION_BITS: u32 = 6;
pub(super) const PARTITIONS: u64 = 1 << PARTITION_BITS;
/// One false positive in 2^10.
const REMAINDER_BITS: u32 = 10;
/// Longest filter, bytes; it grows beyond a few thousand only if senders choose values by their hashes.
const BYTES_MAX: usize = 32 << 10;

pub(super) fn partition_of(token: u64) -> u64 {
    token >> (u64::BITS - PARTITION_BITS)
}

/// Returns a partition as a tag.
pub(super) fn tag_of(partition: u64) -> String {
    format!("{partition:02x}")
}

/// Encodes the sorted tokens of one partition; `None` if they take too much room.
pub(super) fn encode(section: &Section, partition: u64, tokens: &[u64]) -> Option<String> {
    let mut code = BitWriter::default();
    let mut before = 0;
    for &token in tokens {
        let hash = scaled(token, tokens.len());
        code.put_unary((hash - before) >> REMAINDER_BITS);
        code.put(hash - before, REMAINDER_BITS);
        before = hash;
    }
    let mut body = Vec::new();
    put_varint(&mut body, tokens.len() as u64);
    body.extend_from_slice(&code.finish());
    let mut out = crc(section, partition, &body).to_le_bytes().to_vec();
    out.extend_from_slice(&body);
    (out.len() <= BYTES_MAX).then(|| STANDARD_NO_PAD.encode(out))
}

/// Returns whether the section may have the token; `None` if the text is not its filter.
pub(super) fn may_have(text: &str, section: &Section, token: u64) -> Option<bool> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    let mut reader = Reader::new(&bytes);
    let expected = reader.fixed_u32()?;
    if crc(section, partition_of(token), reader.rest()) != expected {
        return None;
    }
    let count = usize::try_from(reader.varint()?).ok()?;
    let mut code = BitReader::at(reader.rest(), 0);
    let wanted = scaled(token, count);
    let mut hash = 0;
    for _ in 0..count {
        hash += code.unary()? << REMAINDER_BITS | code.take(REMAINDER_BITS)?;
        if hash >= wanted {
            return Some(hash == wanted);
        }
    }
    Some(false)
}

/// Returns the hash of a token among so many: as evenly distributed as they are, in the same order.
fn scaled(token: u64, count: usize) -> u64 {
    let range = u128::from((count as u64) << REMAINDER_BITS);
    ((u128::from(token << PARTITION_BITS) * range) >> u64::BITS) as u64
}

/// A filter belongs to one section, of which another run may have made another one.
fn crc(section: &Section, partition: u64, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for number in [section.from, section.until, section.rows, partition] {
        crc.update(&number.to_le_bytes());
    }
    crc.update(body);
    crc.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTION: Section = Section {
        from: 7,
        until: 9,
        rows: 2,
        longest: 5,
    };

    fn tokens_in(partition: u64, count: usize) -> Vec<u64> {
        let upper = partition << (u64::BITS - PARTITION_BITS);
        let random = |_| upper | fastrand::u64(..) >> PARTITION_BITS;
        let mut tokens: Vec<u64> = (0..count).map(random).collect();
        tokens.sort_unstable();
        tokens
    }

    #[test]
    fn members_are_found_and_few_others() {
        for count in [0, 1, 700, 5_000] {
            let tokens = tokens_in(13, count);
            let text = encode(&SECTION, 13, &tokens).unwrap();
            assert!(text.len() < 20 + count * 2);
            let has = |token: &u64| may_have(&text, &SECTION, *token).unwrap();
            assert!(tokens.iter().all(has));
            let others = tokens_in(13, 10_000);
            assert!(others.iter().filter(|token| has(token)).count() < 40);
        }
    }

    /// *Guarantees*: what is damaged, or of another section or partition, is no filter.
    #[test]
    fn a_filter_belongs_to_its_section() {
        let tokens = tokens_in(13, 100);
        let text = encode(&SECTION, 13, &tokens).unwrap();
        for other in [
            Section { rows: 3, ..SECTION },
            Section {
                until: 10,
                ..SECTION
            },
        ] {
            assert_eq!(may_have(&text, &other, tokens[0]), None);
        }
        assert_eq!(may_have(&text, &SECTION, tokens_in(14, 1)[0]), None);
        let damaged = text.replacen(
            &text[20..21],
            if &text[20..21] == "A" { "B" } else { "A" },
            1,
        );
        for text in [&damaged, "", "%", &text[..text.len() / 2]] {
            assert_eq!(may_have(text, &SECTION, tokens[0]), None, "{text}");
        }
    }

    /// *Guarantees*: values that a sender chose for their hashes make no large filter.
    #[test]
    fn tokens_that_are_many_get_no_filter() {
        assert_eq!(encode(&SECTION, 1, &tokens_in(1, 40_000)), None);
    }
}
