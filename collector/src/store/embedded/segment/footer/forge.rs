//! Rewrites a footer with other contents and valid checksums, so that a fuzzer gets past them.

use super::super::super::block::inflate;
use super::{Footer, Reader, TRAILER_BYTES, encode_trailer};

impl Footer {
    /// Returns a sealed file with changed sections and directory: `change` gets the kind of a section (`None`
    /// for the directory) and its bytes.
    pub(crate) fn forge(
        file: &[u8],
        mut change: impl FnMut(Option<u8>, &mut Vec<u8>),
    ) -> Option<Vec<u8>> {
        let (rest, trailer) = file.split_at(file.len().checked_sub(TRAILER_BYTES)?);
        let mut reader = Reader::new(trailer);
        let at = usize::try_from(reader.fixed_u64()?).ok()?;
        let mut footer = Self::decode_directory(rest.get(at..)?)?;
        let begin = footer.sections.first()?.offset as usize;
        let mut out = rest.get(..begin)?.to_vec();
        for section in &mut footer.sections {
            let stored = rest.get(section.offset as usize..)?;
            let stored = stored.get(..section.stored as usize)?;
            let mut raw = match section.stored == section.raw {
                true => stored.to_vec(),
                false => inflate(stored, section.raw as usize)?,
            };
            change(Some(section.kind), &mut raw);
            section.offset = out.len() as u64;
            (section.stored, section.raw) = (raw.len() as u64, raw.len() as u64);
            section.crc = crc32fast::hash(&raw);
            out.extend_from_slice(&raw);
        }
        let mut directory = Vec::new();
        footer.encode_directory(&mut directory);
        change(None, &mut directory);
        let at = out.len();
        out.extend_from_slice(&directory);
        encode_trailer(at as u64, &directory, &mut out);
        Some(out)
    }
}
