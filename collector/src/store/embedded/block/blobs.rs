//! Columns of byte strings: dense, one for every row (`Blobs`), or for few rows of a block (`Sparse`).

use super::ints;
use crate::store::bytes::Reader;

#[derive(Debug, Clone, Default)]
pub(crate) struct Blobs {
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Blobs {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Appends all values of another column.
    pub(crate) fn append(&mut self, other: &Self) {
        let begin = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| begin + end));
    }

    pub(crate) fn pop(&mut self) {
        self.ends.pop();
        self.bytes
            .truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// Keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
        self.bytes.clear();
    }

    /// Returns a value; empty if there is none.
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else {
            return &[];
        };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..end as usize]
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut start = 0;
        let lengths: Vec<u32> = self
            .ends
            .iter()
            .map(|&end| end - std::mem::replace(&mut start, end))
            .collect();
        ints::encode(out, &lengths, u64::from);
        out.extend_from_slice(&self.bytes);
    }

    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        Self::take(&mut reader)
    }

    fn take(reader: &mut Reader<'_>) -> Option<Self> {
        let lengths = ints::decode(reader)?;
        let mut end = 0u64;
        let mut ends = Vec::with_capacity(lengths.len());
        for length in lengths {
            end = end.checked_add(length)?;
            ends.push(u32::try_from(end).ok()?);
        }
        let bytes = reader.take(end as usize)?.to_vec();
        reader.is_empty().then_some(Self { ends, bytes })
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Sparse {
    rows: Vec<u32>,
    values: Blobs,
}

impl Sparse {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a value to `row`, which must be the newest.
    pub(crate) fn push(&mut self, row: u32, value: &[u8]) {
        self.rows.push(row);
        self.values.push(value);
    }

    /// Removes the values of `row` and later ones.
    pub(crate) fn truncate(&mut self, row: u32) {
        while self.rows.last().is_some_and(|&last| last >= row) {
            self.rows.pop();
            self.values.pop();
        }
    }

    /// Keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.values.clear();
    }

    pub(crate) fn get(&self, row: u32) -> Option<&[u8]> {
        let index = self.rows.binary_search(&row).ok()?;
        Some(self.values.get(index))
    }

    /// Returns the values with their rows.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.rows
            .iter()
            .enumerate()
            .map(|(index, &row)| (row, self.values.get(index)))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        ints::encode(out, &self.rows, u64::from);
        self.values.encode(out);
    }

    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let rows = ints::decode(&mut reader)?;
        let rows: Option<Vec<u32>> = rows.into_iter().map(|row| row.try_into().ok()).collect();
        let (rows, values) = (rows?, Blobs::take(&mut reader)?);
        (rows.len() == values.len()).then_some(Self { rows, values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_values_come_back_and_can_be_taken_back() {
        let mut column = Sparse::default();
        for row in [2u32, 5, 9] {
            column.push(row, format!("row {row}").as_bytes());
        }
        column.truncate(9);
        assert_eq!(column.get(5), Some(&b"row 5"[..]));
        assert_eq!(column.get(9), None);
        assert_eq!(column.iter().count(), 2);
    }
}
