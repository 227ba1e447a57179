//! Reads a block's parts from its file, each on demand, each checked before it is used.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::header::{BlockHeader, PartEntry, PartKind, SpanCodec};
use super::{Blobs, Sparse, ints};
use crate::log::BlockCodec;
use crate::store::StoreError;
use crate::store::bytes::Reader;

thread_local! {
    /// A context costs more to make than a small part costs to inflate.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Inflates bytes to exactly that length.
pub(crate) fn inflate(stored: &[u8], raw: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(zstd::bulk::Decompressor::new().ok()?);
        }
        let inflated = slot.as_mut()?.decompress(stored, raw).ok()?;
        (inflated.len() == raw).then_some(inflated)
    })
}

/// What is known of a block without reading it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockMeta {
    /// Where it begins in its file.
    pub(crate) offset: u64,
    /// Bytes of its header.
    pub(crate) header_bytes: u32,
    /// Rows.
    pub(crate) rows: u32,
    /// Earliest start.
    pub(crate) min_start: u64,
    /// Latest start.
    pub(crate) max_start: u64,
}

impl BlockMeta {
    /// Returns the part of a header that is kept in memory.
    pub(crate) fn new(offset: u64, header: &BlockHeader) -> Self {
        Self {
            offset,
            header_bytes: header.header_bytes,
            rows: header.rows,
            min_start: header.min_start,
            max_start: header.max_start,
        }
    }
}

/// A block in its file.
#[derive(Debug)]
pub(crate) struct BlockReader<'a> {
    file: &'a File,
    path: &'a Path,
    offset: u64,
    /// Its header.
    pub(crate) header: BlockHeader,
}

impl<'a> BlockReader<'a> {
    /// Reads the header of the block that begins there.
    pub(crate) fn open(
        file: &'a File,
        path: &'a Path,
        offset: u64,
        header_bytes: u32,
    ) -> Result<Self, StoreError> {
        let mut bytes = vec![0; header_bytes as usize];
        file.read_exact_at(&mut bytes, offset)
            .map_err(|error| StoreError::io("read", path, error))?;
        let header = SpanCodec
            .header(&bytes)
            .ok_or_else(|| StoreError::damaged(path, "block header"))?;
        Ok(Self::new(file, path, offset, header))
    }

    /// Makes the reader of a block whose header is read.
    pub(crate) fn new(file: &'a File, path: &'a Path, offset: u64, header: BlockHeader) -> Self {
        Self {
            file,
            path,
            offset,
            header,
        }
    }

    /// Reads a part; empty where the block has none of that kind.
    pub(crate) fn part(&self, kind: PartKind, column: u32) -> Result<Vec<u8>, StoreError> {
        let mut parts = self.header.parts.iter();
        match parts.find(|part| part.kind == kind && part.column == column) {
            Some(part) => self.read(part),
            None => Ok(Vec::new()),
        }
    }

    /// Reads that part.
    pub(crate) fn read(&self, part: &PartEntry) -> Result<Vec<u8>, StoreError> {
        let stored = self.stored(part)?;
        if part.stored == part.raw {
            return Ok(stored);
        }
        inflate(&stored, part.raw).ok_or_else(|| StoreError::damaged(self.path, "compressed part"))
    }

    /// Reads a part as it is stored and checks it.
    fn stored(&self, part: &PartEntry) -> Result<Vec<u8>, StoreError> {
        let mut stored = vec![0; part.stored];
        self.file
            .read_exact_at(&mut stored, self.offset + part.offset)
            .map_err(|error| StoreError::io("read", self.path, error))?;
        if crc32fast::hash(&stored) != part.crc {
            return Err(StoreError::damaged(self.path, "checksum of a part"));
        }
        Ok(stored)
    }

    /// Reads a column of numbers.
    pub(crate) fn numbers(&self, kind: PartKind, column: u32) -> Result<Vec<u64>, StoreError> {
        let raw = self.part(kind, column)?;
        if raw.is_empty() {
            return Ok(Vec::new());
        }
        ints::decode(&mut Reader::new(&raw))
            .ok_or_else(|| StoreError::damaged(self.path, "column of numbers"))
    }

    /// Reads a column of numbers that every row has.
    pub(crate) fn row_numbers(&self, kind: PartKind) -> Result<Vec<u64>, StoreError> {
        let numbers = self.numbers(kind, 0)?;
        if numbers.len() != self.header.rows as usize {
            return Err(StoreError::damaged(self.path, "length of a column"));
        }
        Ok(numbers)
    }

    /// Reads a column of byte strings.
    pub(crate) fn blobs(&self, column: u32) -> Result<Blobs, StoreError> {
        let raw = self.part(PartKind::Literals, column)?;
        if raw.is_empty() {
            return Ok(Blobs::default());
        }
        Blobs::decode(&raw).ok_or_else(|| StoreError::damaged(self.path, "column of texts"))
    }

    /// Reads a column that few rows have.
    pub(crate) fn sparse(&self, kind: PartKind) -> Result<Sparse, StoreError> {
        let raw = self.part(kind, 0)?;
        if raw.is_empty() {
            return Ok(Sparse::default());
        }
        Sparse::decode(&raw).ok_or_else(|| StoreError::damaged(self.path, "column of few rows"))
    }

    /// Reads ids of that many bytes.
    pub(crate) fn ids<const N: usize>(&self, kind: PartKind) -> Result<Vec<[u8; N]>, StoreError> {
        let raw = self.part(kind, 0)?;
        let (ids, rest) = raw.as_chunks::<N>();
        if !rest.is_empty() {
            return Err(StoreError::damaged(self.path, "column of ids"));
        }
        Ok(ids.to_vec())
    }

    /// Reads the distinct trace ids and, per row, which of them.
    pub(crate) fn traces(&self) -> Result<(Vec<u128>, Vec<u64>), StoreError> {
        let ids: Vec<u128> = self
            .ids::<16>(PartKind::TraceIds)?
            .into_iter()
            .map(u128::from_be_bytes)
            .collect();
        let index = self.row_numbers(PartKind::TraceIndex)?;
        if index.iter().any(|&trace| trace >= ids.len() as u64) {
            return Err(StoreError::damaged(self.path, "trace of a row"));
        }
        Ok((ids, index))
    }

    /// Returns an error that names the file.
    pub(crate) fn damage(&self, what: &str) -> StoreError {
        StoreError::damaged(self.path, what)
    }
}
