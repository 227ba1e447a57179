//! What a block of series and one of log records have in common: a header that begins with a magic number, a checksum of
//! the rest of it, and the lengths and the checksum of the payload; then the payload, compressed.

use std::io;

use super::bytes::Reader;

/// Largest payload, raw or compressed, that is believed; blocks are cut at a few MiB.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// The payload of a block, as its header describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload {
    len: u32,
    raw_len: u32,
    crc: u32,
}

impl Payload {
    /// Compresses a payload.
    ///
    /// # Errors
    /// When it is larger than what is believed.
    pub(crate) fn compress(raw: &[u8], level: i32) -> io::Result<(Self, Vec<u8>)> {
        let compressed = zstd::bulk::compress(raw, level)?;
        let payload = Self {
            len: bounded(compressed.len())?,
            raw_len: bounded(raw.len())?,
            crc: crc32fast::hash(&compressed),
        };
        Ok((payload, compressed))
    }

    /// Returns its compressed length, bytes.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Returns whether these are its compressed bytes.
    pub(crate) fn is_whole(&self, compressed: &[u8]) -> bool {
        crc32fast::hash(compressed) == self.crc
    }

    /// Returns the raw bytes; `None` where they cannot be restored.
    pub(crate) fn decompress(&self, compressed: &[u8]) -> Option<Vec<u8>> {
        zstd::bulk::decompress(compressed, self.raw_len as usize).ok()
    }

    /// Reads the beginning of a header of that length; returns what it says of the payload, and the fields behind. `None`
    /// where it is damaged or of another kind.
    pub(crate) fn read_header(
        bytes: &[u8],
        magic: [u8; 4],
        header_bytes: usize,
    ) -> Option<(Self, Reader<'_>)> {
        let mut reader = Reader::new(bytes.get(..header_bytes)?);
        if reader.take(magic.len())? != magic
            || reader.fixed_u32()? != crc32fast::hash(&bytes[8..header_bytes])
        {
            return None;
        }
        let payload = Self {
            len: reader.fixed_u32()?,
            raw_len: reader.fixed_u32()?,
            crc: reader.fixed_u32()?,
        };
        let is_sane = |len: u32| len as usize <= PAYLOAD_BYTES_MAX;
        (is_sane(payload.len) && is_sane(payload.raw_len)).then_some((payload, reader))
    }

    /// Returns a block: a header of these fields, then the compressed payload.
    pub(crate) fn block(&self, magic: [u8; 4], fields: &[u8], compressed: &[u8]) -> Vec<u8> {
        let mut header = Vec::with_capacity(12 + fields.len());
        for number in [self.len, self.raw_len, self.crc] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.extend_from_slice(fields);
        let checksum = crc32fast::hash(&header).to_le_bytes();
        [&magic, &checksum, header.as_slice(), compressed].concat()
    }
}

/// Returns a length, or a number of records, as a header holds it.
///
/// # Errors
/// When it is larger than what is believed.
pub(crate) fn bounded(len: usize) -> io::Result<u32> {
    u32::try_from(len)
        .ok()
        .filter(|len| *len as usize <= PAYLOAD_BYTES_MAX)
        .ok_or_else(|| io::Error::other("the records of a block are too large"))
}
