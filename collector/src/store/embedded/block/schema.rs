//! What the numbers of columns and shapes mean; names, resources, scopes and values are lists of their own (`lists`).
//!
//! A column is an attribute key with one type of value; a shape is the ordered list of a span's columns, kept as
//! a tree of prefixes: each shape is a shorter shape and one column more, shape 0 is the empty list.

use super::super::dictionary::ValueList;
use super::super::limits::LIST_ENTRIES_MAX;
use super::header::PartKind;
use crate::store::bytes::{Reader, put_bytes, put_varint};

/// The type of a column. Numbers are the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnKind {
    /// Text that repeats: numbers of a dictionary.
    Dictionary = 0,
    /// Text that does not.
    Literal = 1,
    /// Whole numbers.
    Int = 2,
    /// Floating-point numbers.
    Double = 3,
    /// Booleans.
    Bool = 4,
    /// Lists, maps and bytes: encoded `AnyValue`s.
    Encoded = 5,
    /// No value at all.
    Empty = 6,
}

impl ColumnKind {
    /// How many kinds there are.
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

/// Stands in a footer for the type of a column that a damaged block took away.
const KIND_LOST: u64 = 255;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColumnDef {
    /// Number of its key.
    pub(crate) key: u32,
    /// Its type; `None` where a damaged block took it away.
    pub(crate) kind: Option<ColumnKind>,
}

/// A shape other than the empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShapeDef {
    /// The shape without its last column; greater than itself where a damaged block took it away.
    pub(crate) parent: u32,
    /// Its last column.
    pub(crate) column: u32,
}

/// The attribute columns of a segment: at most a few MiB, whatever senders send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Schema {
    /// Attribute keys.
    pub(crate) keys: ValueList,
    /// Columns.
    pub(crate) columns: Vec<ColumnDef>,
    /// Shape `n` stands at `n - 1`.
    pub(crate) shapes: Vec<ShapeDef>,
}

impl Schema {
    /// The dictionary parts that it is made of, in the order of a footer.
    pub(crate) const PARTS: [PartKind; 3] =
        [PartKind::NewKeys, PartKind::NewColumns, PartKind::NewShapes];

    /// Adds what a block's dictionary part brings; lists are kept elsewhere.
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

    /// Appends everything, as a footer carries it behind the lists.
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

    /// Returns a shape's columns in order; `None` where a damaged block took part of it away.
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

    /// Counts, by shape, how often those columns stand in it; nothing where damage lost one of `shapes`.
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

    /// Returns the memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.keys.memory() + (self.columns.len() + self.shapes.len()) * 8
    }
}

/// Writes the columns from that number on.
pub(crate) fn encode_columns(columns: &[ColumnDef], first: usize, out: &mut Vec<u8>) {
    put_varint(out, first as u64);
    put_varint(out, (columns.len() - first) as u64);
    for column in &columns[first..] {
        put_varint(out, u64::from(column.key));
        put_varint(out, column.kind.map_or(KIND_LOST, |kind| kind as u64));
    }
}

/// Writes the shapes from that number on.
pub(crate) fn encode_shapes(shapes: &[ShapeDef], first: usize, out: &mut Vec<u8>) {
    put_varint(out, first as u64);
    put_varint(out, (shapes.len() - first) as u64);
    for shape in &shapes[first..] {
        put_varint(out, u64::from(shape.parent));
        put_varint(out, u64::from(shape.column));
    }
}

/// Appends pairs of numbers, filling with `lost` what a damaged block took away.
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
