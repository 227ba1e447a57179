//! The attributes of rows. A column stores its values in the order of their occurrence, so the place of a
//! row's value is the number of occurrences in earlier rows: counted by shape, not by row.

use std::cell::Cell;
use std::rc::Rc;

use super::super::super::lists::{Lent, List, Lists};
use super::super::decode::BlockReader;
use super::super::header::PartKind;
use super::super::schema::{ColumnKind, Schema};
use super::super::{Blobs, ints};
use super::{Extent, readable};
use crate::codec::otlp::{AttributeView, ValueView};
use crate::store::StoreError;

#[derive(Debug)]
enum Values {
    Texts(Vec<u64>, Lent),
    /// With a flag for each cut value.
    Blobs(Blobs, Vec<bool>, ColumnKind),
    Numbers(Vec<u64>, ColumnKind),
    Empty,
}

impl Values {
    /// Reads the values at the given places of a column.
    fn read(
        reader: &BlockReader<'_>,
        column: u32,
        kind: ColumnKind,
        places: &[u32],
        source: &impl Lists,
        bytes_max: usize,
    ) -> Result<Self, StoreError> {
        Ok(match kind {
            ColumnKind::Dictionary => {
                let numbers = reader.gather(PartKind::DictionaryIds, column, places)?;
                let texts = source.lend(List::Values(column), &numbers)?;
                Self::Texts(numbers, texts)
            }
            ColumnKind::Literal | ColumnKind::Encoded => {
                let (blobs, cut) = read_blobs(reader, column, places, bytes_max)?;
                Self::Blobs(blobs, cut, kind)
            }
            ColumnKind::Int | ColumnKind::Double | ColumnKind::Bool => {
                Self::Numbers(reader.gather(PartKind::Numbers, column, places)?, kind)
            }
            ColumnKind::Empty => Self::Empty,
        })
    }

    fn get(&self, index: usize) -> (ValueView<'_>, bool) {
        match self {
            Self::Texts(numbers, texts) => {
                let number = numbers.get(index).map_or(u32::MAX, |&number| number as u32);
                (ValueView::String(texts.text(number)), texts.is_cut(number))
            }
            Self::Blobs(blobs, cut, kind) => {
                let bytes = blobs.get(index);
                let value = match kind {
                    ColumnKind::Encoded => ValueView::Encoded(bytes),
                    _ => ValueView::String(readable(bytes)),
                };
                (value, cut.get(index) == Some(&true))
            }
            Self::Numbers(numbers, kind) => {
                let number = numbers.get(index).copied().unwrap_or_default();
                let value = match kind {
                    ColumnKind::Double => ValueView::Double(f64::from_bits(number)),
                    ColumnKind::Bool => ValueView::Bool(number != 0),
                    _ => ValueView::Int(ints::from_ordered(number)),
                };
                (value, false)
            }
            Self::Empty => (ValueView::Empty, false),
        }
    }
}

/// Reads the byte strings at the given places, and which of them are cut.
fn read_blobs(
    reader: &BlockReader<'_>,
    column: u32,
    places: &[u32],
    bytes_max: usize,
) -> Result<(Blobs, Vec<bool>), StoreError> {
    let (mut blobs, mut cut) = (Blobs::default(), Vec::new());
    reader.visit_blobs(column, Some(places), bytes_max, |value, is_cut| {
        blobs.push(value);
        cut.push(is_cut);
        true
    })?;
    Ok((blobs, cut))
}

#[derive(Debug, Default)]
pub(super) struct AttributeRows {
    /// Columns by row; `None` if lost with a damaged block.
    lists: Vec<Option<Rc<[u32]>>>,
    columns: Vec<Option<Box<Needed>>>,
}

/// A column with values of requested rows.
#[derive(Debug)]
struct Needed {
    key: String,
    kind: ColumnKind,
    passed: usize,
    places: Vec<u32>,
    values: Values,
    next: Cell<usize>,
}

impl AttributeRows {
    /// Reads the columns of the given rows, only of these keys if any are given.
    pub(super) fn read(
        reader: &BlockReader<'_>,
        schema: &Schema,
        source: &impl Lists,
        (rows, keys): (&[u32], Option<&[String]>),
        extent: Extent,
    ) -> Result<Self, StoreError> {
        let shapes = reader.row_planes(PartKind::Shapes)?;
        if extent == Extent::Bare {
            return Ok(Self::default());
        }
        let shapes: Vec<u32> = shapes.iter().map(|shape| shape as u32).collect();
        let expanded = expand(&shapes, schema);
        let list = |row: &u32| expanded.get(*shapes.get(*row as usize)? as usize)?.clone();
        let lists: Vec<Option<Rc<[u32]>>> = rows.iter().map(list).collect();
        let mut columns = needed_columns(&lists, schema, keys);
        let mut passed = 0;
        for (&row, list) in rows.iter().zip(&lists) {
            let passing = shapes.get(passed..row as usize).unwrap_or_default();
            pass(&mut columns, &expanded, passing);
            passed = row as usize + 1;
            for &column in list.iter().flat_map(|list| list.iter()) {
                if let Some(Some(needed)) = columns.get_mut(column as usize) {
                    needed.places.push(needed.passed as u32);
                    needed.passed += 1;
                }
            }
        }
        for (column, needed) in columns.iter_mut().enumerate() {
            if let Some(needed) = needed {
                let (column, places) = (column as u32, std::mem::take(&mut needed.places));
                let bytes_max = extent.bytes_max();
                needed.values =
                    Values::read(reader, column, needed.kind, &places, source, bytes_max)?;
            }
        }
        Ok(Self { lists, columns })
    }

    /// Returns the attributes of a row, and whether a value is cut.
    pub(super) fn attributes(&self, index: usize) -> (Vec<AttributeView<'_>>, bool) {
        let Some(Some(list)) = self.lists.get(index) else {
            return (Vec::new(), false);
        };
        let mut any_cut = false;
        let attribute = |column: &u32| {
            let needed = self.columns.get(*column as usize)?.as_ref()?;
            let next = needed.next.get();
            needed.next.set(next + 1);
            let (value, is_cut) = needed.values.get(next);
            any_cut |= is_cut;
            let key = &needed.key;
            Some(AttributeView { key, value })
        };
        let attributes = list.iter().filter_map(attribute).collect();
        (attributes, any_cut)
    }
}

/// Returns the columns in those lists, without values yet.
fn needed_columns(
    lists: &[Option<Rc<[u32]>>],
    schema: &Schema,
    keys: Option<&[String]>,
) -> Vec<Option<Box<Needed>>> {
    let mut columns: Vec<Option<Box<Needed>>> = Vec::new();
    columns.resize_with(schema.columns.len(), || None);
    for &column in lists.iter().flatten().flat_map(|list| list.iter()) {
        if let Some(needed @ None) = columns.get_mut(column as usize) {
            let def = schema.columns[column as usize];
            let key = schema.keys.text(def.key);
            if keys.is_some_and(|keys| keys.iter().all(|wanted| wanted != key)) {
                continue;
            }
            *needed = Some(Box::new(Needed {
                key: key.to_owned(),
                kind: def.kind.unwrap_or(ColumnKind::Empty),
                passed: 0,
                places: Vec::new(),
                values: Values::Empty,
                next: Cell::new(0),
            }));
        }
    }
    columns
}

/// Advances the columns past rows of those shapes.
fn pass(columns: &mut [Option<Box<Needed>>], expanded: &[Option<Rc<[u32]>>], shapes: &[u32]) {
    let mut pass = |shape: usize, rows: usize| {
        for column in expanded
            .get(shape)
            .into_iter()
            .flatten()
            .flat_map(|list| list.iter())
        {
            if let Some(Some(needed)) = columns.get_mut(*column as usize) {
                needed.passed += rows;
            }
        }
    };
    if shapes.len() < expanded.len() {
        shapes.iter().for_each(|&shape| pass(shape as usize, 1));
        return;
    }
    let mut counts = vec![0; expanded.len()];
    for &shape in shapes {
        if let Some(count) = counts.get_mut(shape as usize) {
            *count += 1;
        }
    }
    for (shape, count) in counts
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
    {
        pass(shape, count);
    }
}

/// Resolves the columns of every shape in a block. A lost shape would misplace every later value of the
/// block, so then all are `None`.
fn expand(shapes: &[u32], schema: &Schema) -> Vec<Option<Rc<[u32]>>> {
    let mut expanded: Vec<Option<Rc<[u32]>>> = Vec::new();
    for &shape in shapes {
        let index = shape as usize;
        if index > schema.shapes.len() {
            return Vec::new();
        }
        if expanded.len() <= index {
            expanded.resize(index + 1, None);
        }
        if expanded[index].is_none() {
            let Some(columns) = schema.shape_columns(shape) else {
                return Vec::new();
            };
            expanded[index] = Some(Rc::from(columns));
        }
    }
    expanded
}
