//! Finds the blocks of a file by their headers: skips damage in the middle, and stops at a tail torn by a
//! crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(crate) trait BlockCodec {
    type Header;
    /// Number of bytes that `header_bytes` needs.
    const PREFIX_BYTES: usize;

    /// Returns the length of a header with this prefix, `None` if it is not a header.
    fn header_bytes(&self, prefix: &[u8]) -> Option<usize>;
    /// Decodes and verifies a header.
    fn header(&self, bytes: &[u8]) -> Option<Self::Header>;
    /// Returns the length of header and body.
    fn block_bytes(&self, header: &Self::Header) -> u64;
    /// Returns whether a block's body matches the checksums in its header.
    fn is_whole(&self, header: &Self::Header, block: &[u8]) -> bool;

    /// Returns the length of an optional record after a block that has this prefix, `None` if it is not a
    /// record.
    fn record_bytes(&self, _prefix: &[u8]) -> Option<usize> {
        None
    }

    fn is_record(&self, _record: &[u8]) -> bool {
        false
    }

    /// Returns whether this is the prefix of a footer, which ends the blocks.
    fn is_footer(&self, _prefix: &[u8]) -> bool {
        false
    }
}

#[derive(Debug)]
pub(crate) struct Scan<H> {
    /// Blocks with valid headers, by offset. The last one is intact unless a footer follows it.
    pub(crate) blocks: Vec<(u64, H)>,
    pub(crate) end: u64,
    /// Whether the file continues after that.
    pub(crate) is_torn: bool,
    /// Number of places between blocks without a readable header.
    pub(crate) damaged: u64,
}

/// Reads the headers of a file, starting at a block's offset.
pub(crate) fn scan<C: BlockCodec>(
    codec: &C,
    file: &File,
    from: u64,
    length: u64,
) -> io::Result<Scan<C::Header>> {
    let mut scan = Scan {
        blocks: Vec::new(),
        end: from,
        is_torn: false,
        damaged: 0,
    };
    let mut at = from;
    while at < length {
        let prefix = read(file, at, (length - at).min(C::PREFIX_BYTES as u64))?;
        // A block after it proves that this is not a footer: one flipped bit can turn a block's magic into a
        // footer's.
        if codec.is_footer(&prefix) && find(codec, &read(file, at, length - at)?).is_none() {
            scan.end = at;
            return Ok(scan);
        }
        // A record without its block is the rest of a lost one.
        let is_behind_block =
            |(begin, header): &(u64, C::Header)| begin + codec.block_bytes(header) == at;
        if scan.blocks.last().is_some_and(is_behind_block) {
            let behind = behind_record(codec, file, at, length)?;
            if behind > at {
                at = behind;
                continue;
            }
        }
        let found = match header(codec, file, &prefix, at, length)? {
            Some(header) => Some((at, header)),
            None => {
                // If the previous block is missing bytes, its length covers the following blocks.
                let before = pop_damaged(codec, file, &mut scan.blocks)?;
                let from = before.unwrap_or(at) + 1;
                let next = find(codec, &read(file, from, length - from)?);
                scan.damaged += u64::from(next.is_some());
                next.map(|(skipped, header)| (from + skipped as u64, header))
            }
        };
        let Some((begin, header)) = found else {
            scan.is_torn = true;
            break;
        };
        at = begin + codec.block_bytes(&header);
        scan.blocks.push((begin, header));
    }
    // Only the last group of writes can be torn.
    while pop_damaged(codec, file, &mut scan.blocks)?.is_some() {
        scan.is_torn = true;
    }
    let last = scan.blocks.last();
    let end = last.map_or(from, |(at, header)| at + codec.block_bytes(header));
    scan.end = behind_record(codec, file, end, length)?;
    Ok(scan)
}

/// Returns the end of the record at `at`, or `at` if there is no intact record.
pub(crate) fn behind_record<C: BlockCodec>(
    codec: &C,
    file: &File,
    at: u64,
    length: u64,
) -> io::Result<u64> {
    let prefix = read(file, at, (length - at).min(C::PREFIX_BYTES as u64))?;
    let bytes = codec.record_bytes(&prefix).map(|bytes| bytes as u64);
    let Some(bytes) = bytes.filter(|bytes| at + bytes <= length) else {
        return Ok(at);
    };
    match codec.is_record(&read(file, at, bytes)?) {
        true => Ok(at + bytes),
        false => Ok(at),
    }
}

/// Reads the header at `at` if it is complete.
fn header<C: BlockCodec>(
    codec: &C,
    file: &File,
    prefix: &[u8],
    at: u64,
    length: u64,
) -> io::Result<Option<C::Header>> {
    let bytes = codec.header_bytes(prefix).map(|bytes| bytes as u64);
    let Some(bytes) = bytes.filter(|bytes| at + bytes <= length) else {
        return Ok(None);
    };
    let header = match prefix.len() as u64 >= bytes {
        true => codec.header(prefix),
        false => codec.header(&read(file, at, bytes)?),
    };
    Ok(header.filter(|header| at + codec.block_bytes(header) <= length))
}

/// Removes the last block if its body is damaged; returns its offset.
fn pop_damaged<C: BlockCodec>(
    codec: &C,
    file: &File,
    blocks: &mut Vec<(u64, C::Header)>,
) -> io::Result<Option<u64>> {
    let Some((at, header)) = blocks.last() else {
        return Ok(None);
    };
    let block = read(file, *at, codec.block_bytes(header))?;
    if codec.is_whole(header, &block) {
        return Ok(None);
    }
    Ok(blocks.pop().map(|(at, _)| at))
}

/// Reads a range of a file, which must exist.
pub(crate) fn read(file: &File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Finds the first complete block in these bytes.
fn find<C: BlockCodec>(codec: &C, bytes: &[u8]) -> Option<(usize, C::Header)> {
    (0..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        codec.header_bytes(rest)?;
        let header = codec.header(rest)?;
        (codec.block_bytes(&header) <= rest.len() as u64).then_some((at, header))
    })
}

#[derive(Debug)]
pub(crate) struct Block<'a, H> {
    pub(crate) at: usize,
    pub(crate) header: H,
    pub(crate) bytes: &'a [u8],
    /// Whether the body matches the header's checksums.
    pub(crate) is_whole: bool,
}

/// Returns the blocks in these bytes, skipping damage between them.
pub(crate) fn blocks<'a, C: BlockCodec + 'a>(
    codec: C,
    bytes: &'a [u8],
) -> impl Iterator<Item = Block<'a, C::Header>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let (skipped, header) = find(&codec, &bytes[next..])?;
        let at = next + skipped;
        let end = at + codec.block_bytes(&header) as usize;
        let bytes = &bytes[at..end];
        let is_whole = codec.is_whole(&header, bytes);
        // The length of a block with missing bytes covers the following blocks.
        next = if is_whole { end } else { at + 1 };
        Some(Block {
            at,
            header,
            bytes,
            is_whole,
        })
    })
}
