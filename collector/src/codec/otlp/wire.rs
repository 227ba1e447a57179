//! A small protobuf reader over borrowed bytes: it checks every length and wire type, and never copies.
//!
//! Most tags, lengths and numbers of a span fit into one byte, so only that case is inlined. Groups, which
//! proto3 does not have, are rejected.

use super::DecodeError;

/// The wire types of proto3.
pub(crate) mod wire_type {
    /// A LEB128 number.
    pub(crate) const VARINT: u32 = 0;
    /// Eight bytes.
    pub(crate) const FIXED64: u32 = 1;
    /// A length and that many bytes.
    pub(crate) const LENGTH: u32 = 2;
    /// Four bytes.
    pub(crate) const FIXED32: u32 = 5;
}

pub(crate) const fn varint_key(field: u32) -> u32 {
    field << 3 | wire_type::VARINT
}

pub(crate) const fn fixed64_key(field: u32) -> u32 {
    field << 3 | wire_type::FIXED64
}

pub(crate) const fn length_key(field: u32) -> u32 {
    field << 3 | wire_type::LENGTH
}

pub(crate) const fn fixed32_key(field: u32) -> u32 {
    field << 3 | wire_type::FIXED32
}

/// Why the bytes are not a protobuf message, and the offset of the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    offset: usize,
    what: &'static str,
}

impl From<Malformed> for DecodeError {
    fn from(malformed: Malformed) -> Self {
        Self::Protobuf {
            offset: malformed.offset,
            what: malformed.what,
        }
    }
}

/// The unread part of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// The message's end in the request, for offsets in errors.
    end: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self {
            rest: message,
            end: message.len(),
        }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Reads the next field's key: number and wire type as encoded; `None` at the end.
    #[inline(always)]
    pub(crate) fn key(&mut self) -> Result<Option<u32>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        match u32::try_from(key) {
            Ok(key) if key >> 3 != 0 => Ok(Some(key)),
            _ => Err(self.malformed("field number out of range")),
        }
    }

    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match *self.rest {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte has only the last of 64 bits.
            if index == 9 && byte > 1 {
                return Err(self.malformed("number of more than 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(self.malformed("number cut off"))
    }

    #[inline(always)]
    pub(crate) fn fixed64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline(always)]
    pub(crate) fn fixed32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint()?;
        let split = usize::try_from(length)
            .ok()
            .and_then(|length| self.rest.split_at_checked(length));
        let Some((bytes, rest)) = split else {
            return Err(self.malformed("length beyond the end"));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// Returns a reader of the next, length-prefixed message.
    #[inline(always)]
    pub(crate) fn message(&mut self) -> Result<Self, Malformed> {
        let rest = self.bytes()?;
        Ok(Self {
            rest,
            end: self.end - self.rest.len(),
        })
    }

    /// Skips an unknown field. If its number is in `known` (bit n for field n), its wire type is wrong, which
    /// is an error.
    #[cold]
    pub(crate) fn skip_unknown(&mut self, key: u32, known: u32) -> Result<(), Malformed> {
        let field = key >> 3;
        if field < u32::BITS && known >> field & 1 == 1 {
            return Err(self.malformed("wrong wire type for a field"));
        }
        self.skip(key)
    }

    pub(crate) fn skip(&mut self, key: u32) -> Result<(), Malformed> {
        match key & 7 {
            wire_type::VARINT => self.varint().map(drop),
            wire_type::FIXED64 => self.fixed64().map(drop),
            wire_type::LENGTH => self.bytes().map(drop),
            wire_type::FIXED32 => self.fixed32().map(drop),
            3 | 4 => Err(self.malformed("a group, which proto3 does not have")),
            _ => Err(self.malformed("unknown wire type")),
        }
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed("number cut off"));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed {
            offset: self.end - self.rest.len(),
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_read() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            u64::from(u32::MAX),
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            prost::encoding::encode_varint(value, &mut bytes);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        let mut ten = [0xff; 10];
        ten[9] = 2;
        assert!(Reader::new(&ten).varint().is_err());
    }

    #[test]
    fn an_error_names_the_byte_in_the_whole_request() {
        // Field 1 of length 3; in it field 1 of length 9.
        let bytes = [0x0a, 3, 0x0a, 9, 0];
        let mut outer = Reader::new(&bytes);
        outer.key().unwrap();
        let mut inner = outer.message().unwrap();
        inner.key().unwrap();
        let error = inner.bytes().unwrap_err();
        assert_eq!(error.offset, 4);
        assert_eq!(error.what, "length beyond the end");
    }

    #[test]
    fn groups_and_field_zero_are_refused() {
        assert!(Reader::new(&[]).skip(1 << 3 | 3).is_err());
        assert!(Reader::new(&[]).skip(1 << 3 | 4).is_err());
        assert!(Reader::new(&[0]).key().is_err());
    }
}
