//! The columns and shapes of a segment; names, resources, scopes and values are separate lists (`lists`).
//!
//! A column is an attribute key with one value type. A shape is the ordered list of a span's columns, stored
//! as a tree of prefixes: each shape is a parent shape plus one column; shape 0 is the empty list.

use super::super::dictionary::ValueList;
use super::super::limits::LIST_ENTRIES_MAX;
use super::header::PartKind;
use crate::store::bytes::{Reader, put_bytes, put_varint};

/// The value type of a column. The numbers are part of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Text with repeating values, as dictionary numbers.
    Dictionary = 0,
    /// Text whose values rarely repeat.
    Literal = 1,
    Int = 2,
    Double = 3,
    Bool = 4,
    /// Lists, maps and bytes: encoded `AnyValue`s.
    Encoded = 5,
    /// No value.
    Empty = 6,
}

impl ColumnKind {
    pub(crate) const COUNT: usize = 7;

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Dictionary,
            1 => Self::Literal,
            2 => Self::Int,
            3 => Self::Double,
            4 => Self::Bool,
            5 => Self::Encoded,
            6 => Self::Empty,
            _ => return None,
        })
    }
}

/// Written to a footer for a column type that was lost with a damaged block.
const KIND_LOST: u64 = 255;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnDef {
    pub(crate) key: u32,
    /// `None` if it was lost with a damaged block.
    pub(crate) kind: Option<ColumnKind>,
}

/// A shape other than the empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShapeDef {
    /// The shape without its last column. A parent greater than the shape itself marks one lost with a
    /// damaged block.
    pub(crate) parent: u32,
    pub(crate) column: u32,
}

/// The attribute columns of a segment; bounded to a few MiB whatever is sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    pub(crate) keys: ValueList,
    pub(crate) columns: Vec<ColumnDef>,
    /// Shape `n` is at index `n - 1`.
    pub(crate) shapes: Vec<ShapeDef>,
}

impl Schema {
    /// The dictionary parts of a schema, in the order of a footer.
    pub(crate) const PARTS: [PartKind; 3] =
        [PartKind::NewKeys, PartKind::NewColumns, PartKind::NewShapes];

    /// Adds the contents of a dictionary part; parts of lists are ignored.
    pub(crate) fn absorb(&mut self, kind: PartKind, encoded: &[u8]) -> Option<()> {
        match kind {
            PartKind::NewKeys => self.keys.absorb(encoded),
            PartKind::NewColumns => {
                let lost = ColumnDef {
                    key: u32::MAX,
                    kind: None,
                };
                absorb_pairs(&mut self.columns, encoded, lost, |key, kind| {
                    if u64::from(kind) == KIND_LOST {
                        return Some(lost);
                    }
                    let kind = ColumnKind::from_number(u8::try_from(kind).ok()?)?;
                    Some(ColumnDef {
                        key,
                        kind: Some(kind),
                    })
                })
            }
            PartKind::NewShapes => {
                let lost = ShapeDef {
                    parent: u32::MAX,
                    column: 0,
                };
                absorb_pairs(&mut self.shapes, encoded, lost, |parent, column| {
                    Some(ShapeDef { parent, column })
                })
            }
            _ => None,
        }
    }

    /// Appends everything in the order of a footer, after the lists.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut part = Vec::new();
        self.keys.encode_from(0, &mut part);
        put_bytes(out, &part);
        part.clear();
        encode_columns(&self.columns, 0, &mut part);
        put_bytes(out, &part);
        part.clear();
        encode_shapes(&self.shapes, 0, &mut part);
        put_bytes(out, &part);
    }

    /// Returns a shape's columns in order; `None` if some were lost with a damaged block.
    pub(crate) fn shape_columns(&self, mut shape: u32) -> Option<Vec<u32>> {
        let mut columns = Vec::new();
        while shape != 0 {
            let def = self.shapes.get(shape as usize - 1)?;
            let known = self.columns.get(def.column as usize)?.kind.is_some();
            if def.parent >= shape || !known {
                return None;
            }
            columns.push(def.column);
            shape = def.parent;
        }
        columns.reverse();
        Some(columns)
    }

    /// Counts per shape how many of `columns` it has; empty if one of `shapes` was lost with a damaged block.
    pub(crate) fn shapes_with(&self, shapes: &[u64], columns: &[u32]) -> Vec<u8> {
        let mut counts: Vec<u8> = Vec::new();
        let mut known: Vec<bool> = Vec::new();
        for &shape in shapes {
            let shape = shape as usize;
            if shape > self.shapes.len() {
                return Vec::new();
            }
            if known.len() <= shape {
                known.resize(shape + 1, false);
                counts.resize(shape + 1, 0);
            }
            if !std::mem::replace(&mut known[shape], true) {
                let Some(list) = self.shape_columns(shape as u32) else {
                    return Vec::new();
                };
                let count = list
                    .iter()
                    .filter(|column| columns.contains(column))
                    .count();
                counts[shape] = count.min(usize::from(u8::MAX)) as u8;
            }
        }
        counts
    }

    pub(crate) fn columns_of(&self, key: &str) -> Vec<(u32, ColumnKind)> {
        let Some(key) = self.keys.find(key.as_bytes()) else {
            return Vec::new();
        };
        let columns = self.columns.iter().enumerate();
        columns
            .filter(|(_, column)| column.key == key)
            .filter_map(|(id, column)| Some((id as u32, column.kind?)))
            .collect()
    }

    pub(crate) fn memory(&self) -> usize {
        self.keys.memory() + (self.columns.len() + self.shapes.len()) * 8
    }
}

pub(crate) fn encode_columns(columns: &[ColumnDef], first: usize, out: &mut Vec<u8>) {
    put_varint(out, first as u64);
    put_varint(out, (columns.len() - first) as u64);
    for column in &columns[first..] {
        put_varint(out, u64::from(column.key));
        put_varint(out, column.kind.map_or(KIND_LOST, |kind| kind as u64));
    }
}

pub(crate) fn encode_shapes(shapes: &[ShapeDef], first: usize, out: &mut Vec<u8>) {
    put_varint(out, first as u64);
    put_varint(out, (shapes.len() - first) as u64);
    for shape in &shapes[first..] {
        put_varint(out, u64::from(shape.parent));
        put_varint(out, u64::from(shape.column));
    }
}

/// Appends pairs of numbers; those lost with a damaged block become `lost`.
fn absorb_pairs<T: Copy>(
    list: &mut Vec<T>,
    encoded: &[u8],
    lost: T,
    make: impl Fn(u32, u32) -> Option<T>,
) -> Option<()> {
    let mut reader = Reader::new(encoded);
    let first = usize::try_from(reader.varint()?).ok()?;
    let count = reader.varint()?;
    if first < list.len() || first > LIST_ENTRIES_MAX {
        return None;
    }
    list.resize(first, lost);
    for _ in 0..count {
        list.push(make(reader.varint_u32()?, reader.varint_u32()?)?);
    }
    reader.is_empty().then_some(())
}
