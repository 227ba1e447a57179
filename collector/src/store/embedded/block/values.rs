//! The values of a block that are in no dictionary, from the open block or from a file.

use std::borrow::Cow;

use super::schema::{ColumnKind, Schema};
use super::{Blobs, BlockReader, PartKind, Sparse, ints};
use crate::store::StoreError;

#[derive(Debug)]
pub(crate) enum ColumnValues<'a> {
    Texts(Cow<'a, Blobs>),
    Encoded(Cow<'a, Blobs>),
    Ints(Cow<'a, [i64]>),
    Doubles(Cow<'a, [f64]>),
    Bools(Cow<'a, [bool]>),
}

#[derive(Debug)]
pub(crate) struct BlockValues<'a> {
    pub(crate) columns: Vec<(u32, ColumnValues<'a>)>,
    /// Of the rows with events.
    pub(crate) events: Cow<'a, Sparse>,
    /// Of the rows with links.
    pub(crate) links: Cow<'a, Sparse>,
}

impl BlockValues<'static> {
    /// Reads the values of the columns that the schema knows.
    pub(crate) fn read(reader: &BlockReader<'_>, schema: &Schema) -> Result<Self, StoreError> {
        let mut columns = Vec::new();
        for part in &reader.header.parts {
            let def = schema.columns.get(part.column as usize);
            let Some(kind) = def.and_then(|def| def.kind) else {
                continue;
            };
            if matches!(part.kind, PartKind::Literals | PartKind::Numbers)
                && let Some(values) = read_column(reader, part.column, kind)?
            {
                columns.push((part.column, values));
            }
        }
        Ok(Self {
            columns,
            events: Cow::Owned(read_sparse(reader, PartKind::Events)?),
            links: Cow::Owned(read_sparse(reader, PartKind::Links)?),
        })
    }
}

fn read_column(
    reader: &BlockReader<'_>,
    column: u32,
    kind: ColumnKind,
) -> Result<Option<ColumnValues<'static>>, StoreError> {
    let numbers = || reader.numbers(PartKind::Numbers, column);
    Ok(Some(match kind {
        ColumnKind::Literal => ColumnValues::Texts(Cow::Owned(read_blobs(reader, column)?)),
        ColumnKind::Encoded => ColumnValues::Encoded(Cow::Owned(read_blobs(reader, column)?)),
        ColumnKind::Int => {
            ColumnValues::Ints(numbers()?.into_iter().map(ints::from_ordered).collect())
        }
        ColumnKind::Double => {
            ColumnValues::Doubles(numbers()?.into_iter().map(f64::from_bits).collect())
        }
        ColumnKind::Bool => ColumnValues::Bools(numbers()?.into_iter().map(|n| n != 0).collect()),
        ColumnKind::Dictionary | ColumnKind::Empty => return Ok(None),
    }))
}

fn read_blobs(reader: &BlockReader<'_>, column: u32) -> Result<Blobs, StoreError> {
    let mut blobs = Blobs::default();
    reader.visit_blobs(column, None, usize::MAX, |blob, _| {
        blobs.push(blob);
        true
    })?;
    Ok(blobs)
}

fn read_sparse(reader: &BlockReader<'_>, kind: PartKind) -> Result<Sparse, StoreError> {
    let mut sparse = Sparse::default();
    reader.visit_sparse(
        kind,
        |_| true,
        usize::MAX,
        |row, value, _| {
            sparse.push(row, value);
            true
        },
    )?;
    Ok(sparse)
}
