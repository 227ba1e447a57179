//! Reads a block's parts from its file, each on demand, each checked before it is used.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::header::{BlockHeader, PartEntry, PartKind, SpanCodec};
use super::ints;
use super::part_stream::{PartStream, Planes, StoredBytes, gather};
use crate::log::BlockCodec;
use crate::store::StoreError;
use crate::store::bytes::Reader;
use crate::store::cancel;

/// The facts of a block that are known without reading it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockMeta {
    pub(crate) offset: u64,
    pub(crate) header_bytes: u32,
    pub(crate) rows: u32,
    pub(crate) min_start: u64,
    pub(crate) max_start: u64,
}

impl BlockMeta {
    /// Extracts the part of a header that is kept in memory.
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

#[derive(Debug)]
pub(crate) struct BlockReader<'a> {
    file: &'a File,
    path: &'a Path,
    offset: u64,
    pub(crate) header: BlockHeader,
    /// Whether the checksums of its parts were verified before.
    is_checked: bool,
}

impl<'a> BlockReader<'a> {
    pub(crate) fn open(
        file: &'a File,
        path: &'a Path,
        offset: u64,
        header_bytes: u32,
    ) -> Result<Self, StoreError> {
        cancel::check()?;
        let mut bytes = vec![0; header_bytes as usize];
        file.read_exact_at(&mut bytes, offset)
            .map_err(|error| StoreError::io("read", path, error))?;
        let header = SpanCodec
            .header(&bytes)
            .ok_or_else(|| StoreError::damaged(path, "block header"))?;
        Ok(Self::of(file, path, offset, header, false))
    }

    /// Returns a reader of a block whose header was read before; `is_checked` tells whether its checksums
    /// were verified too.
    pub(crate) fn of(
        file: &'a File,
        path: &'a Path,
        offset: u64,
        header: BlockHeader,
        is_checked: bool,
    ) -> Self {
        Self {
            file,
            path,
            offset,
            header,
            is_checked,
        }
    }

    /// Reads a part; empty if the block has none of that kind.
    pub(crate) fn part(&self, kind: PartKind, column: u32) -> Result<Vec<u8>, StoreError> {
        let mut parts = self.header.parts.iter();
        match parts.find(|part| part.kind == kind && part.column == column) {
            Some(part) => self.read(part),
            None => Ok(Vec::new()),
        }
    }

    pub(crate) fn read(&self, part: &PartEntry) -> Result<Vec<u8>, StoreError> {
        self.bytes_of(part).read(self.file, self.path)
    }

    fn bytes_of(&self, part: &PartEntry) -> StoredBytes {
        StoredBytes {
            offset: self.offset + part.offset,
            stored: part.stored,
            raw: part.raw,
            crc: (!self.is_checked).then_some(part.crc),
        }
    }

    /// Opens a part as a stream after verifying its checksum; `None` if the block has none of that kind.
    pub(crate) fn stream(
        &self,
        kind: PartKind,
        column: u32,
    ) -> Result<Option<PartStream<'_>>, StoreError> {
        let mut parts = self.header.parts.iter();
        let part = parts.find(|part| part.kind == kind && part.column == column);
        part.map(|part| self.bytes_of(part).stream(self.file, self.path))
            .transpose()
    }

    /// Reads a column of numbers without decoding it.
    pub(crate) fn planes(&self, kind: PartKind, column: u32) -> Result<Planes, StoreError> {
        match self.stream(kind, column)? {
            Some(mut part) => {
                Planes::read(&mut part).ok_or_else(|| self.damage("column of numbers"))
            }
            None => Ok(Planes::default()),
        }
    }

    /// As `planes`, for a column that has a value in every row.
    pub(crate) fn row_planes(&self, kind: PartKind) -> Result<Planes, StoreError> {
        let planes = self.planes(kind, 0)?;
        if planes.len() != self.header.rows as usize {
            return Err(self.damage("length of a column"));
        }
        Ok(planes)
    }

    /// Reads the numbers of a column at the given places, in ascending order.
    pub(crate) fn gather(
        &self,
        kind: PartKind,
        column: u32,
        places: &[u32],
    ) -> Result<Vec<u64>, StoreError> {
        match self.stream(kind, column)? {
            Some(mut part) => {
                gather(&mut part, places).ok_or_else(|| self.damage("column of numbers"))
            }
            None => Ok(vec![0; places.len()]),
        }
    }

    /// Reads the ids at the given places, in ascending order. With `count`, the column must have exactly that
    /// many ids.
    pub(crate) fn gather_ids<const N: usize>(
        &self,
        kind: PartKind,
        places: &[u32],
        count: Option<u32>,
    ) -> Result<Vec<[u8; N]>, StoreError> {
        let part = self.header.parts.iter().find(|part| part.kind == kind);
        let bytes = part.map_or(0, |part| part.raw);
        let damage = || self.damage("column of ids");
        if bytes % N != 0 || count.is_some_and(|count| bytes / N != count as usize) {
            return Err(damage());
        }
        let Some(mut stream) = self.stream(kind, 0)? else {
            return if places.is_empty() {
                Ok(Vec::new())
            } else {
                Err(damage())
            };
        };
        let (mut ids, mut at) = (Vec::with_capacity(places.len()), 0);
        for &place in places {
            let mut id = [0; N];
            let between = u64::from(place) - at;
            stream.skip(between * N as u64).ok_or_else(damage)?;
            stream.fill(&mut id).ok_or_else(damage)?;
            ids.push(id);
            at = u64::from(place) + 1;
        }
        Ok(ids)
    }

    pub(crate) fn rows_of(&self, id: u128) -> Result<Vec<u32>, StoreError> {
        let Some(mut ids) = self.stream(PartKind::TraceIds, 0)? else {
            return Ok(Vec::new());
        };
        let mut place = 0;
        let mut next = [0; 16];
        loop {
            if ids.is_at_end() {
                return Ok(Vec::new());
            }
            ids.fill(&mut next)
                .ok_or_else(|| self.damage("column of ids"))?;
            if u128::from_be_bytes(next) == id {
                break;
            }
            place += 1;
        }
        let index = self.row_planes(PartKind::TraceIndex)?;
        let rows = (0..).zip(index.iter());
        Ok(rows
            .filter(|(_, trace)| *trace == place)
            .map(|(row, _)| row)
            .collect())
    }

    pub(crate) fn rows_of_any(&self, wanted: &HashSet<u128>) -> Result<Vec<u32>, StoreError> {
        let Some(mut ids) = self.stream(PartKind::TraceIds, 0)? else {
            return Ok(Vec::new());
        };
        let mut is_wanted = Vec::new();
        let mut next = [0; 16];
        while !ids.is_at_end() {
            ids.fill(&mut next)
                .ok_or_else(|| self.damage("column of ids"))?;
            is_wanted.push(wanted.contains(&u128::from_be_bytes(next)));
        }
        let index = self.row_planes(PartKind::TraceIndex)?;
        let rows = (0..).zip(index.iter());
        Ok(rows
            .filter(|(_, trace)| is_wanted.get(*trace as usize) == Some(&true))
            .map(|(row, _)| row)
            .collect())
    }

    pub(crate) fn numbers(&self, kind: PartKind, column: u32) -> Result<Vec<u64>, StoreError> {
        let raw = self.part(kind, column)?;
        if raw.is_empty() {
            return Ok(Vec::new());
        }
        ints::decode(&mut Reader::new(&raw))
            .ok_or_else(|| StoreError::damaged(self.path, "column of numbers"))
    }

    pub(crate) fn row_numbers(&self, kind: PartKind) -> Result<Vec<u64>, StoreError> {
        let numbers = self.numbers(kind, 0)?;
        if numbers.len() != self.header.rows as usize {
            return Err(StoreError::damaged(self.path, "length of a column"));
        }
        Ok(numbers)
    }

    /// Visits the byte strings of a column at the given places (ascending; `None` for all): at most the first
    /// `bytes_max` bytes of each, and whether there are more. Stops when `visit` returns false.
    pub(crate) fn visit_blobs(
        &self,
        column: u32,
        places: Option<&[u32]>,
        bytes_max: usize,
        visit: impl FnMut(&[u8], bool) -> bool,
    ) -> Result<(), StoreError> {
        let Some(mut part) = self.stream(PartKind::Literals, column)? else {
            return Ok(());
        };
        let mut visit = visit;
        let mut stopped = Ok(());
        let visit = |value: &[u8], is_cut| {
            stopped = cancel::spend(value.len());
            stopped.is_ok() && visit(value, is_cut)
        };
        let read = || {
            let lengths = Planes::read(&mut part)?;
            match places {
                Some(places) => {
                    part.visit_texts(&lengths, places.iter().copied(), bytes_max, visit)
                }
                None => part.visit_texts(&lengths, 0..lengths.len() as u32, bytes_max, visit),
            }
        };
        read().ok_or_else(|| self.damage("column of texts"))?;
        stopped
    }

    /// Visits the wanted rows of a sparse column: row, at most the first `bytes_max` bytes of the value, and
    /// whether there are more. Stops when `visit` returns false.
    pub(crate) fn visit_sparse(
        &self,
        kind: PartKind,
        mut is_wanted: impl FnMut(u32) -> bool,
        bytes_max: usize,
        mut visit: impl FnMut(u32, &[u8], bool) -> bool,
    ) -> Result<(), StoreError> {
        let Some(mut part) = self.stream(kind, 0)? else {
            return Ok(());
        };
        let mut stopped = Ok(());
        let mut read = || {
            let rows = Planes::read(&mut part)?;
            let lengths = Planes::read(&mut part)?;
            let wanted: Vec<u32> = (0..rows.len() as u32)
                .filter(|place| is_wanted(rows.get(*place as usize) as u32))
                .collect();
            let mut next = wanted.iter().map(|place| rows.get(*place as usize) as u32);
            part.visit_texts(
                &lengths,
                wanted.iter().copied(),
                bytes_max,
                |value, is_cut| {
                    stopped = cancel::spend(value.len());
                    let row = next.next().filter(|_| stopped.is_ok());
                    row.is_some_and(|row| visit(row, value, is_cut))
                },
            )
        };
        read().ok_or_else(|| self.damage("column of few rows"))?;
        stopped
    }

    /// Returns the rows that have a value in a sparse column.
    pub(crate) fn sparse_rows(&self, kind: PartKind) -> Result<Vec<u32>, StoreError> {
        Ok(self.planes(kind, 0)?.iter().map(|row| row as u32).collect())
    }

    /// Reads ids of `N` bytes.
    pub(crate) fn ids<const N: usize>(&self, kind: PartKind) -> Result<Vec<[u8; N]>, StoreError> {
        let raw = self.part(kind, 0)?;
        let (ids, rest) = raw.as_chunks::<N>();
        if !rest.is_empty() {
            return Err(StoreError::damaged(self.path, "column of ids"));
        }
        Ok(ids.to_vec())
    }

    /// Reads the distinct trace ids, and per row the index of its trace.
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

    pub(crate) fn damage(&self, what: &str) -> StoreError {
        StoreError::damaged(self.path, what)
    }
}
