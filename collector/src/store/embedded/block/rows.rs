//! Reads rows of a block back as the views that the writer once got.
//!
//! Values of a column stand in the order of its occurrences, so a row's place in it is the number of
//! occurrences before the row: counted by shape, not by row.

use std::rc::Rc;
use std::sync::Arc;

use super::super::dictionary::ValueList;
use super::super::schema::{ColumnKind, Schema};
use super::attributes::{StoredResource, decode_attributes, decode_scope};
use super::decode::BlockReader;
use super::header::PartKind;
use super::{Blobs, Sparse, ints};
use crate::codec::otlp::{AttributeView, SpanView, SpanVisitor, ValueView};
use crate::store::StoreError;
use crate::store::bytes::Reader;

/// Lends the values of a segment's dictionary columns.
pub(crate) trait ValueSource {
    /// Returns the values of that column.
    fn values(&self, column: u32) -> Result<Arc<ValueList>, StoreError>;
}

/// The values of one column in one block.
#[derive(Debug)]
enum Values {
    Texts(Vec<u64>, Arc<ValueList>),
    Blobs(Blobs, ColumnKind),
    Numbers(Vec<u64>, ColumnKind),
    Empty,
}

impl Values {
    /// Reads a column.
    fn read(
        reader: &BlockReader<'_>,
        column: u32,
        kind: ColumnKind,
        source: &impl ValueSource,
    ) -> Result<Self, StoreError> {
        Ok(match kind {
            ColumnKind::Dictionary => Self::Texts(
                reader.numbers(PartKind::DictionaryIds, column)?,
                source.values(column)?,
            ),
            ColumnKind::Literal | ColumnKind::Encoded => Self::Blobs(reader.blobs(column)?, kind),
            ColumnKind::Int | ColumnKind::Double | ColumnKind::Bool => {
                Self::Numbers(reader.numbers(PartKind::Numbers, column)?, kind)
            }
            ColumnKind::Empty => Self::Empty,
        })
    }

    /// Returns the value of that occurrence.
    fn get(&self, index: usize) -> ValueView<'_> {
        match self {
            Self::Texts(ids, values) => {
                let id = ids.get(index).map_or(u32::MAX, |&id| id as u32);
                ValueView::String(values.text(id))
            }
            Self::Blobs(blobs, ColumnKind::Encoded) => ValueView::Encoded(blobs.get(index)),
            Self::Blobs(blobs, _) => {
                ValueView::String(std::str::from_utf8(blobs.get(index)).unwrap_or_default())
            }
            Self::Numbers(numbers, kind) => {
                let number = numbers.get(index).copied().unwrap_or_default();
                match kind {
                    ColumnKind::Double => ValueView::Double(f64::from_bits(number)),
                    ColumnKind::Bool => ValueView::Bool(number != 0),
                    _ => ValueView::Int(ints::from_ordered(number)),
                }
            }
            Self::Empty => ValueView::Empty,
        }
    }
}

/// The attributes of rows in ascending order.
#[derive(Debug)]
struct AttributeRows {
    shapes: Vec<u64>,
    /// By shape: its columns, where the block uses it; empty where a damaged block took them away.
    expanded: Vec<Option<Rc<[u32]>>>,
    /// The columns that rows need: key, how many values were passed, and the values.
    columns: Vec<Option<Box<NeededColumn>>>,
    passed: usize,
}

/// A column that rows need.
#[derive(Debug)]
struct NeededColumn {
    key: String,
    /// How many values belong to rows that were passed.
    passed: usize,
    values: Values,
}

impl AttributeRows {
    /// Reads the columns that those rows need.
    fn read(
        reader: &BlockReader<'_>,
        schema: &Schema,
        source: &impl ValueSource,
        rows: &[u32],
    ) -> Result<Self, StoreError> {
        let shapes = reader.row_numbers(PartKind::Shapes)?;
        let expanded = expand(&shapes, schema);
        let mut columns: Vec<Option<Box<NeededColumn>>> = Vec::new();
        columns.resize_with(schema.columns.len(), || None);
        for &row in rows {
            let shape = shapes.get(row as usize).copied().unwrap_or_default();
            let Some(Some(list)) = expanded.get(shape as usize) else {
                continue;
            };
            for &column in list.iter() {
                let needed = &mut columns[column as usize];
                if needed.is_none() {
                    let def = schema.columns[column as usize];
                    let kind = def.kind.unwrap_or(ColumnKind::Empty);
                    *needed = Some(Box::new(NeededColumn {
                        key: schema.keys.text(def.key).to_owned(),
                        passed: 0,
                        values: Values::read(reader, column, kind, source)?,
                    }));
                }
            }
        }
        Ok(Self {
            shapes,
            expanded,
            columns,
            passed: 0,
        })
    }

    /// Passes the rows before that one.
    fn advance(&mut self, row: usize) {
        let passing = &self.shapes[self.passed..row];
        self.passed = row;
        if passing.len() < self.expanded.len() {
            for &shape in passing {
                pass(&mut self.columns, &self.expanded, shape as usize, 1);
            }
            return;
        }
        let mut counts = vec![0; self.expanded.len()];
        for &shape in passing {
            if let Some(count) = counts.get_mut(shape as usize) {
                *count += 1;
            }
        }
        for (shape, count) in counts
            .into_iter()
            .enumerate()
            .filter(|(_, count)| *count > 0)
        {
            pass(&mut self.columns, &self.expanded, shape, count);
        }
    }

    /// Returns a row's attributes; rows must be asked for in ascending order.
    fn attributes(&mut self, row: usize) -> Vec<AttributeView<'_>> {
        self.advance(row);
        let Some(Some(list)) = self.expanded.get(self.shapes[row] as usize) else {
            return Vec::new();
        };
        let attribute = |(index, column): (usize, &u32)| {
            let needed = self.columns.get(*column as usize)?.as_ref()?;
            // A key may stand twice in a span: its occurrences follow one another.
            let before = list[..index]
                .iter()
                .filter(|other| *other == column)
                .count();
            Some(AttributeView {
                key: &needed.key,
                value: needed.values.get(needed.passed + before),
            })
        };
        list.iter().enumerate().filter_map(attribute).collect()
    }
}

/// Passes the values of that many rows of a shape.
fn pass(
    columns: &mut [Option<Box<NeededColumn>>],
    expanded: &[Option<Rc<[u32]>>],
    shape: usize,
    rows: usize,
) {
    if let Some(Some(list)) = expanded.get(shape) {
        for column in list.iter() {
            if let Some(Some(needed)) = columns.get_mut(*column as usize) {
                needed.passed += rows;
            }
        }
    }
}

/// Looks up the columns of every shape that a block uses. One lost shape misplaces every later value of the
/// block: then none is believed.
fn expand(shapes: &[u64], schema: &Schema) -> Vec<Option<Rc<[u32]>>> {
    let mut expanded: Vec<Option<Rc<[u32]>>> = Vec::new();
    for &shape in shapes {
        let shape = shape as usize;
        if shape > schema.shapes.len() {
            return Vec::new();
        }
        if expanded.len() <= shape {
            expanded.resize(shape + 1, None);
        }
        if expanded[shape].is_none() {
            let Some(columns) = schema.shape_columns(shape as u32) else {
                return Vec::new();
            };
            expanded[shape] = Some(Rc::from(columns));
        }
    }
    expanded
}

/// Reads rows of one block.
#[derive(Debug)]
pub(crate) struct RowReader {
    schema: Arc<Schema>,
    trace_ids: Vec<u128>,
    trace_index: Vec<u64>,
    span_ids: Vec<[u8; 8]>,
    parent_ids: Vec<[u8; 8]>,
    starts: Vec<u64>,
    durations: Vec<u64>,
    names: Vec<u64>,
    kind_status: Vec<u64>,
    resources: Vec<u64>,
    scopes: Vec<u64>,
    flags: Vec<u64>,
    trace_states: Sparse,
    status_messages: Sparse,
    events: Sparse,
    links: Sparse,
    dropped: Sparse,
    overflow: Sparse,
    attributes: AttributeRows,
}

impl RowReader {
    /// Reads what those rows need, which must ascend.
    pub(crate) fn read(
        reader: &BlockReader<'_>,
        schema: Arc<Schema>,
        source: &impl ValueSource,
        rows: &[u32],
    ) -> Result<Self, StoreError> {
        let (trace_ids, trace_index) = reader.traces()?;
        let read = Self {
            attributes: AttributeRows::read(reader, &schema, source, rows)?,
            schema,
            trace_ids,
            trace_index,
            span_ids: reader.ids(PartKind::SpanIds)?,
            parent_ids: reader.ids(PartKind::ParentIds)?,
            starts: reader.row_numbers(PartKind::Starts)?,
            durations: reader.row_numbers(PartKind::Durations)?,
            names: reader.row_numbers(PartKind::Names)?,
            kind_status: reader.row_numbers(PartKind::KindStatus)?,
            resources: reader.row_numbers(PartKind::Resources)?,
            scopes: reader.row_numbers(PartKind::Scopes)?,
            flags: reader.row_numbers(PartKind::Flags)?,
            trace_states: reader.sparse(PartKind::TraceStates)?,
            status_messages: reader.sparse(PartKind::StatusMessages)?,
            events: reader.sparse(PartKind::Events)?,
            links: reader.sparse(PartKind::Links)?,
            dropped: reader.sparse(PartKind::Dropped)?,
            overflow: reader.sparse(PartKind::Overflow)?,
        };
        let rows = reader.header.rows as usize;
        if read.span_ids.len() != rows || read.parent_ids.len() != rows {
            return Err(reader.damage("column of ids"));
        }
        Ok(read)
    }

    /// Shows a visitor those rows, which must ascend and be among those that were read.
    pub(crate) fn visit(&mut self, rows: &[u32], visitor: &mut impl SpanVisitor) {
        let schema = Arc::clone(&self.schema);
        let mut seen = (u64::MAX, u64::MAX);
        for &row in rows {
            let index = row as usize;
            let (resource, scope) = (self.resources[index], self.scopes[index]);
            if seen.0 != resource {
                let stored = StoredResource::decode(schema.resources.get(resource as u32));
                visitor.resource(&stored.view());
            }
            if seen != (resource, scope) {
                visitor.scope(&decode_scope(schema.scopes.get(scope as u32)));
            }
            seen = (resource, scope);
            self.visit_row(row, &schema, visitor);
        }
    }

    /// Shows a visitor one row.
    fn visit_row(&mut self, row: u32, schema: &Schema, visitor: &mut impl SpanVisitor) {
        let index = row as usize;
        let mut attributes = self.attributes.attributes(index);
        if let Some(overflow) = self.overflow.get(row) {
            attributes = decode_attributes(&mut Reader::new(overflow)).unwrap_or_default();
        }
        let events: Vec<&[u8]> = unpack(self.events.get(row).unwrap_or_default()).collect();
        let links: Vec<&[u8]> = unpack(self.links.get(row).unwrap_or_default()).collect();
        let mut dropped = Reader::new(self.dropped.get(row).unwrap_or_default());
        let mut count = || dropped.varint_u32().unwrap_or_default();
        let start = self.starts[index];
        let duration = ints::from_ordered(self.durations[index]);
        let kind_status = self.kind_status[index] as u8;
        visitor.span(&SpanView {
            trace_id: self.trace_ids[self.trace_index[index] as usize].to_be_bytes(),
            span_id: self.span_ids[index],
            parent_span_id: self.parent_ids[index],
            trace_state: text(self.trace_states.get(row)),
            flags: self.flags[index] as u32,
            name: schema.names.text(self.names[index] as u32),
            kind: kind_status & 15,
            start,
            end: start.wrapping_add(duration as u64),
            status_code: kind_status >> 4,
            status_message: text(self.status_messages.get(row)),
            attributes: &attributes,
            events: &events,
            links: &links,
            dropped_attributes_count: count(),
            dropped_events_count: count(),
            dropped_links_count: count(),
        });
    }
}

/// Splits messages that were joined, each with its length.
pub(crate) fn unpack(joined: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(joined);
    std::iter::from_fn(move || reader.bytes())
}

/// Reads a text that may be missing.
fn text(bytes: Option<&[u8]>) -> &str {
    std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}
