//! Streams a part: a block may have 64 MiB of text, and a reader of a few rows should hold only what it
//! keeps.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use zstd::stream::read::Decoder;

use super::inflate::inflate;
use crate::store::StoreError;
use crate::store::bytes::varint_of;

/// Parts up to this size are inflated at once: creating a decoder costs more.
const WHOLE_BYTES_MAX: usize = 256 << 10;
/// The damage reported for a wrong checksum.
const CHECKSUM: &str = "checksum of a part";
/// Bytes read from the file at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Largest accepted zstd window: ours are 512 KiB (level 1), and a damaged frame must not demand more memory.
const WINDOW_LOG_MAX: u32 = 20;

pub(crate) struct PartStream<'a>(Source<'a>);

enum Source<'a> {
    Whole(Cursor<Vec<u8>>),
    Plain(BufReader<Stored<'a>>),
    Compressed(BufReader<Decoder<'static, BufReader<Stored<'a>>>>),
}

#[derive(Debug, Clone)]
struct Stored<'a> {
    file: &'a File,
    at: u64,
    left: usize,
}

impl<'a> Stored<'a> {
    /// Starts `length` bytes at offset `at`.
    fn new(file: &'a File, at: u64, length: usize) -> Self {
        let left = length;
        Self { file, at, left }
    }

    fn checksum(mut self) -> io::Result<u32> {
        let mut hasher = crc32fast::Hasher::new();
        let mut piece = vec![0; PIECE_BYTES.min(self.left)];
        while self.left > 0 {
            let length = piece.len().min(self.left);
            self.read_exact(&mut piece[..length])?;
            hasher.update(&piece[..length]);
        }
        Ok(hasher.finalize())
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = out.len().min(self.left);
        let read = self.file.read_at(&mut out[..length], self.at)?;
        self.at += read as u64;
        self.left -= read;
        Ok(read)
    }
}

/// Place and expected checksum of stored bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoredBytes {
    pub(crate) offset: u64,
    /// Stored bytes; equal to `raw` if not compressed.
    pub(crate) stored: usize,
    /// Inflated bytes.
    pub(crate) raw: usize,
    /// CRC-32 of the stored bytes; `None` if already verified.
    pub(crate) crc: Option<u32>,
}

impl StoredBytes {
    /// Reads and inflates them at once.
    pub(crate) fn read(&self, file: &File, path: &Path) -> Result<Vec<u8>, StoreError> {
        let mut stored = vec![0; self.stored];
        file.read_exact_at(&mut stored, self.offset)
            .map_err(|error| StoreError::io("read", path, error))?;
        if self.crc.is_some_and(|crc| crc32fast::hash(&stored) != crc) {
            return Err(StoreError::damaged(path, CHECKSUM));
        }
        if self.stored == self.raw {
            return Ok(stored);
        }
        inflate(&stored, self.raw).ok_or_else(|| StoreError::damaged(path, "compressed part"))
    }

    /// Verifies the checksum, then opens a stream.
    pub(crate) fn stream<'a>(
        &self,
        file: &'a File,
        path: &Path,
    ) -> Result<PartStream<'a>, StoreError> {
        if self.raw <= WHOLE_BYTES_MAX {
            return Ok(PartStream::whole(self.read(file, path)?));
        }
        let failed = |error| StoreError::io("read", path, error);
        let stored = Stored::new(file, self.offset, self.stored);
        if let Some(crc) = self.crc
            && stored.clone().checksum().map_err(failed)? != crc
        {
            return Err(StoreError::damaged(path, CHECKSUM));
        }
        match self.stored == self.raw {
            true => Ok(PartStream::plain(stored)),
            false => PartStream::compressed(stored).map_err(failed),
        }
    }
}

impl<'a> PartStream<'a> {
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        Self(Source::Whole(Cursor::new(bytes)))
    }

    fn plain(stored: Stored<'a>) -> Self {
        Self(Source::Plain(BufReader::with_capacity(PIECE_BYTES, stored)))
    }

    fn compressed(stored: Stored<'a>) -> io::Result<Self> {
        let stored = BufReader::with_capacity(PIECE_BYTES, stored);
        let mut decoder = Decoder::with_buffer(stored)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        let inflated = BufReader::with_capacity(PIECE_BYTES, decoder);
        Ok(Self(Source::Compressed(inflated)))
    }

    fn source(&mut self) -> &mut dyn BufRead {
        match &mut self.0 {
            Source::Whole(bytes) => bytes,
            Source::Plain(bytes) => bytes,
            Source::Compressed(bytes) => bytes,
        }
    }

    pub(crate) fn skip(&mut self, mut length: u64) -> Option<()> {
        let source = self.source();
        while length > 0 {
            let here = source.fill_buf().ok()?.len();
            if here == 0 {
                return None;
            }
            let passed = here.min(usize::try_from(length).unwrap_or(usize::MAX));
            source.consume(passed);
            length -= passed as u64;
        }
        Some(())
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let source = self.source();
        let byte = *source.fill_buf().ok()?.first()?;
        source.consume(1);
        Some(byte)
    }

    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Option<()> {
        self.source().read_exact(out).ok()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut taken = Vec::new();
        self.take_into(length, &mut taken)?;
        Some(taken)
    }

    /// Replaces `taken` with the next `length` bytes. Memory grows with what is read, not with what a damaged
    /// part claims.
    pub(crate) fn take_into(&mut self, length: usize, taken: &mut Vec<u8>) -> Option<()> {
        taken.clear();
        let mut limited = self.source().take(length as u64);
        limited.read_to_end(taken).ok()?;
        (taken.len() == length).then_some(())
    }

    /// Visits byte strings of the given lengths at the given places (ascending): at most the first
    /// `bytes_max` bytes of each, and whether there are more. Missing ones are empty. Stops when `visit`
    /// returns false.
    pub(crate) fn visit_texts(
        &mut self,
        lengths: &Planes,
        places: impl IntoIterator<Item = u32>,
        bytes_max: usize,
        mut visit: impl FnMut(&[u8], bool) -> bool,
    ) -> Option<()> {
        let (mut at, mut text) = (0, Vec::new());
        for place in places {
            let place = place as usize;
            let between = (at..place.min(lengths.len())).map(|index| lengths.get(index));
            self.skip(between.fold(0, u64::saturating_add))?;
            let length = lengths.get(place);
            let kept = usize::try_from(length).ok()?.min(bytes_max);
            let is_cut = (kept as u64) < length;
            // Nearly every text is in the buffer: copying each took half the time of a search.
            let (goes_on, rest) = match self.source().fill_buf().ok()?.get(..kept) {
                Some(text) => (visit(text, is_cut), length),
                None => {
                    self.take_into(kept, &mut text)?;
                    (visit(&text, is_cut), length - kept as u64)
                }
            };
            self.skip(rest)?;
            if !goes_on {
                break;
            }
            at = place + 1;
        }
        Some(())
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        varint_of(|| self.byte())
    }

    pub(crate) fn is_at_end(&mut self) -> bool {
        self.source().fill_buf().is_ok_and(<[u8]>::is_empty)
    }
}

impl std::fmt::Debug for PartStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartStream").finish_non_exhaustive()
    }
}

/// A column of integers, undecoded.
#[derive(Debug, Default)]
pub(crate) struct Planes {
    min: u64,
    count: usize,
    bytes: Vec<u8>,
}

impl Planes {
    pub(crate) fn read(stream: &mut PartStream<'_>) -> Option<Self> {
        let Some((count, width, min)) = head(stream)? else {
            return Some(Self::default());
        };
        let bytes = stream.take(count * width)?;
        Some(Self { min, count, bytes })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Returns a number; zero past the end.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> u64 {
        if index >= self.count {
            return 0;
        }
        let planes = self.bytes.iter().skip(index).step_by(self.count);
        let shifted = planes
            .zip((0..).step_by(8))
            .map(|(byte, shift): (_, u32)| u64::from(*byte) << shift);
        shifted.fold(self.min, u64::wrapping_add)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.count).map(|index| self.get(index))
    }
}

/// Reads the numbers at the given places, in ascending order; zero past the end.
pub(crate) fn gather(stream: &mut PartStream<'_>, places: &[u32]) -> Option<Vec<u64>> {
    let Some((count, width, min)) = head(stream)? else {
        return Some(vec![0; places.len()]);
    };
    let there = places.partition_point(|&place| (place as usize) < count);
    let mut values = vec![min; there];
    for plane in 0..width {
        let mut at = 0;
        for (value, &place) in values.iter_mut().zip(places) {
            stream.skip(u64::from(place) - at)?;
            *value = value.wrapping_add(u64::from(stream.byte()?) << (plane * 8));
            at = u64::from(place) + 1;
        }
        stream.skip(count as u64 - at)?;
    }
    values.resize(places.len(), 0);
    Some(values)
}

/// Reads the header of the planes: count, width in bytes and minimum; `Some(None)` for an empty column.
#[expect(clippy::option_option, reason = "damaged and empty are two things")]
fn head(stream: &mut PartStream<'_>) -> Option<Option<(usize, usize, u64)>> {
    let count = usize::try_from(stream.varint()?).ok()?;
    if count == 0 {
        return Some(None);
    }
    let (width, min) = (stream.byte()?, stream.varint()?);
    let is_sound = count <= super::super::limits::LIST_ENTRIES_MAX && width <= 8;
    is_sound.then_some(Some((count, usize::from(width), min)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ints;
    use super::*;

    proptest! {
        #[test]
        fn numbers_are_found_at_their_places(
            values in proptest::collection::vec(any::<i64>(), 0..200),
            small in proptest::collection::vec(-3i64..300, 0..200),
            chosen in proptest::collection::btree_set(0u32..210, 0..50),
        ) {
            for values in [values, small] {
                let mut out = Vec::new();
                ints::encode(&mut out, &values, ints::ordered);
                let stream = || PartStream::whole(out.clone());
                let places: Vec<u32> = chosen.iter().copied().collect();
                let wanted = |place: &u32| values.get(*place as usize).map_or(0, |v| ints::ordered(*v));
                let wanted: Vec<u64> = places.iter().map(wanted).collect();
                prop_assert_eq!(gather(&mut stream(), &places).unwrap(), wanted);
                let planes = Planes::read(&mut stream()).unwrap();
                prop_assert_eq!(planes.iter().map(ints::from_ordered).collect::<Vec<_>>(), values);
            }
        }

        #[test]
        fn damaged_columns_are_refused_or_read(bytes: Vec<u8>) {
            gather(&mut PartStream::whole(bytes.clone()), &[0, 5]);
            Planes::read(&mut PartStream::whole(bytes));
        }
    }
}
