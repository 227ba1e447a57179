//! The common frame of series blocks and log blocks: a header with a magic number, its own checksum, and the
//! lengths and checksum of the payload; then the compressed payload.

use std::io;

use super::bytes::Reader;

/// Largest accepted payload, raw or compressed; writers cut blocks at a few MiB.
const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// A payload as described by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload {
    len: u32,
    raw_len: u32,
    crc: u32,
}

impl Payload {
    /// Fails when the payload exceeds `PAYLOAD_BYTES_MAX`.
    pub(crate) fn compress(raw: &[u8], level: i32) -> io::Result<(Self, Vec<u8>)> {
        let compressed = zstd::bulk::compress(raw, level)?;
        let payload = Self {
            len: bounded(compressed.len())?,
            raw_len: bounded(raw.len())?,
            crc: crc32fast::hash(&compressed),
        };
        Ok((payload, compressed))
    }

    /// Compressed length, bytes.
    pub(crate) fn len(&self) -> u64 {
        u64::from(self.len)
    }

    pub(crate) fn is_whole(&self, compressed: &[u8]) -> bool {
        crc32fast::hash(compressed) == self.crc
    }

    /// Returns the raw bytes; `None` if they are damaged.
    pub(crate) fn decompress(&self, compressed: &[u8]) -> Option<Vec<u8>> {
        zstd::bulk::decompress(compressed, self.raw_len as usize).ok()
    }

    /// Reads a header; returns the description of its payload and a reader of the remaining fields. `None` if
    /// it is damaged or has another magic number.
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

/// Returns a length or a number of records as a header stores it.
///
/// # Errors
/// When it exceeds `PAYLOAD_BYTES_MAX`.
pub(crate) fn bounded(len: usize) -> io::Result<u32> {
    u32::try_from(len)
        .ok()
        .filter(|len| *len as usize <= PAYLOAD_BYTES_MAX)
        .ok_or_else(|| io::Error::other("the records of a block are too large"))
}
