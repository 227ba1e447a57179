//! Lists of distinct byte strings, numbered in the order in which they were first seen.
//!
//! Readers hold a `ValueList`: values by number. `Dictionary` adds numbers by value for the writer.

use crate::store::bytes::{Reader, put_bytes, put_varint};
use crate::store::hash::Seed;

/// Replaces a text that was lost with a damaged block.
pub(crate) const LOST: &[u8] = b"(lost)";

#[derive(Debug, Clone, Default)]
pub(crate) struct ValueList {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl ValueList {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn memory(&self) -> usize {
        self.bytes.len() + self.ends.len() * 4
    }

    /// Returns a value; empty if the number is unknown.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else {
            return &[];
        };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.bytes[start as usize..end as usize]
    }

    pub(crate) fn text(&self, id: u32) -> &str {
        std::str::from_utf8(self.get(id)).unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len() as u32).map(|id| self.get(id))
    }

    /// Copies values from `first` on: at least one, more while they fit into `bytes_max`.
    pub(crate) fn copy(&self, first: u32, bytes_max: usize) -> Self {
        let mut copied = Self::default();
        for number in first..self.len() as u32 {
            let value = self.get(number);
            if copied.len() > 0 && copied.bytes.len() + value.len() > bytes_max {
                break;
            }
            copied.push(value);
        }
        copied
    }

    /// Finds a number by linear scan: a few nanoseconds a value, and no table to build or keep.
    pub(crate) fn find(&self, value: &[u8]) -> Option<u32> {
        let mut start = 0;
        for (id, &end) in self.ends.iter().enumerate() {
            if (end - start) as usize == value.len()
                && &self.bytes[start as usize..end as usize] == value
            {
                return Some(id as u32);
            }
            start = end;
        }
        None
    }

    pub(crate) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        let end = u32::try_from(self.bytes.len());
        self.ends
            .push(end.expect("segment bounds keep a dictionary under 4 GiB"));
    }

    fn pop(&mut self) {
        self.ends.pop();
        self.bytes
            .truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// Writes the values from `first` on in the format of blocks and footers.
    pub(crate) fn encode_from(&self, first: usize, out: &mut Vec<u8>) {
        put_varint(out, first as u64);
        put_varint(out, (self.len() - first) as u64);
        for id in first..self.len() {
            put_bytes(out, self.get(id as u32));
        }
    }

    /// Appends texts that `encode_from` wrote.
    pub(crate) fn absorb(&mut self, encoded: &[u8]) -> Option<()> {
        self.absorb_behind(LOST, encoded)
    }

    /// Appends values from `encode_from`, preceded by `lost` for each value that was lost with a damaged
    /// block.
    pub(crate) fn absorb_behind(&mut self, lost: &[u8], encoded: &[u8]) -> Option<()> {
        let mut reader = Reader::new(encoded);
        let first = reader.varint()? as usize;
        let count = reader.varint()?;
        if first < self.len() || first > super::limits::LIST_ENTRIES_MAX {
            return None;
        }
        self.fill_up(first, lost);
        for _ in 0..count {
            self.push(reader.bytes()?);
        }
        reader.is_empty().then_some(())
    }

    /// Appends a value until the list has that length.
    pub(crate) fn fill_up(&mut self, length: usize, value: &[u8]) {
        while self.len() < length {
            self.push(value);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Dictionary {
    list: ValueList,
    /// Upper half of each value's hash: rejects most other values without reading their bytes.
    tags: Vec<u32>,
    /// Open addressing with linear probing; 0 is free, otherwise number + 1.
    table: Vec<u32>,
    seed: Seed,
    /// How many values earlier blocks contain.
    flushed: usize,
}

impl Dictionary {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            list: ValueList::default(),
            tags: Vec::new(),
            table: Vec::new(),
            seed,
            flushed: 0,
        }
    }

    pub(crate) fn list(&self) -> &ValueList {
        &self.list
    }

    #[inline]
    pub(crate) fn find(&self, value: &[u8]) -> Option<u32> {
        self.probe(self.seed.hash(value), value).ok()
    }

    /// Returns the number of a value, adding it if needed; the flag says whether it is new.
    #[inline]
    pub(crate) fn intern(&mut self, value: &[u8]) -> (u32, bool) {
        let hash = self.seed.hash(value);
        match self.probe(hash, value) {
            Ok(id) => (id, false),
            Err(slot) => (self.insert(hash, slot, value), true),
        }
    }

    /// As `intern`, but adds a value only if `allow_new`.
    #[inline]
    pub(crate) fn intern_if(&mut self, value: &[u8], allow_new: bool) -> Option<(u32, bool)> {
        let hash = self.seed.hash(value);
        match self.probe(hash, value) {
            Ok(id) => Some((id, false)),
            Err(slot) => allow_new.then(|| (self.insert(hash, slot, value), true)),
        }
    }

    /// Removes the newest value; correct because probing visits values in the order of their numbers.
    pub(crate) fn pop(&mut self) {
        let Some(id) = self.list.len().checked_sub(1) else {
            return;
        };
        let hash = self.seed.hash(self.list.get(id as u32));
        let mask = self.table.len() - 1;
        let mut slot = hash as usize & mask;
        while self.table[slot] != id as u32 + 1 {
            slot = (slot + 1) & mask;
        }
        self.table[slot] = 0;
        self.tags.pop();
        self.list.pop();
    }

    /// Writes the values that no block contains yet; returns whether there are any.
    pub(crate) fn encode_new(&self, out: &mut Vec<u8>) -> bool {
        let any = self.flushed < self.list.len();
        if any {
            self.list.encode_from(self.flushed, out);
        }
        any
    }

    /// Marks every value as contained in a block.
    pub(crate) fn mark_flushed(&mut self) {
        self.flushed = self.list.len();
    }

    #[inline]
    fn probe(&self, hash: u64, value: &[u8]) -> Result<u32, usize> {
        if self.table.is_empty() {
            return Err(0);
        }
        let mask = self.table.len() - 1;
        let tag = (hash >> 32) as u32;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.table[slot];
            if entry == 0 {
                return Err(slot);
            }
            let id = entry - 1;
            if self.tags[id as usize] == tag && self.list.get(id) == value {
                return Ok(id);
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Appends a value and indexes it, growing the table at a load of three quarters.
    fn insert(&mut self, hash: u64, slot: usize, value: &[u8]) -> u32 {
        let id = self.list.len() as u32;
        self.list.push(value);
        self.tags.push((hash >> 32) as u32);
        if (self.list.len() + 1) * 4 > self.table.len() * 3 {
            self.grow();
        } else {
            self.table[slot] = id + 1;
        }
        id
    }

    /// Doubles the table and reinserts every value in the order of their numbers.
    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(16);
        self.table.clear();
        self.table.resize(size, 0);
        for id in 0..self.list.len() as u32 {
            let mut slot = self.seed.hash(self.list.get(id)) as usize & (size - 1);
            while self.table[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            self.table[slot] = id + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_popping_undoes_the_newest() {
        let mut dictionary = Dictionary::new(Seed::random());
        for round in 0..3 {
            for value in 0..1_000u32 {
                let (id, new) = dictionary.intern(value.to_string().as_bytes());
                assert_eq!((id, new), (value, round == 0));
            }
        }
        for _ in 0..400 {
            dictionary.pop();
        }
        for value in 0..1_000u32 {
            let found = dictionary.find(value.to_string().as_bytes());
            assert_eq!(found, (value < 600).then_some(value));
        }
        assert_eq!(dictionary.intern(b"other"), (600, true));
    }

    #[test]
    fn lists_come_back_and_gaps_are_filled() {
        let mut list = ValueList::default();
        for value in ["a", "", "ccc"] {
            list.push(value.as_bytes());
        }
        let mut tail = Vec::new();
        list.encode_from(2, &mut tail);
        let mut read = ValueList::default();
        assert_eq!(read.absorb(&tail), Some(()));
        assert_eq!(read.iter().collect::<Vec<_>>(), [LOST, LOST, b"ccc"]);
        assert_eq!(read.find(b"ccc"), Some(2));
        assert_eq!(read.absorb(&tail), None, "numbers never go back");
    }
}
