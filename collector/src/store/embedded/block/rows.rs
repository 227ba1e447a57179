//! Reads rows of a block back as the views that the writer once received.
//!
//! Parts are streamed (`part_stream`): only values of the requested rows are held, and of each no more than
//! `Extent` says.

mod attribute_rows;

use super::super::lists::{Lent, List, Lists};
use super::attributes::{StoredResource, StoredScope, readable_attributes};
use super::decode::BlockReader;
use super::header::PartKind;
use super::schema::Schema;
use super::{Sparse, ints};
use crate::codec::otlp::{AttributeView, SpanView, SpanVisitor, ValueView};
use crate::model::{Dropped, SHORTENED};
use crate::store::StoreError;
use crate::store::bytes::Reader;
use attribute_rows::AttributeRows;

/// How much of a row is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Whole,
    /// Everything, but of each text, list, map, and list of events or links at most the first `bytes_max`
    /// bytes.
    Values {
        /// Bytes per value.
        bytes_max: usize,
    },
    /// No attributes, events and links.
    Bare,
}

/// The columns that are read of rows; what else a row has reads as its default. Ids, times, kind and status are always read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    pub(crate) parents: bool,
    pub(crate) names: bool,
    pub(crate) resources: bool,
    pub(crate) scopes: bool,
    pub(crate) status_messages: bool,
    /// Keys of attributes.
    pub(crate) keys: Vec<String>,
}

/// Bytes of a status message or trace state in a row without details.
const BARE_BYTES_MAX: usize = 64;

impl Extent {
    fn bytes_max(self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::Values { bytes_max } => bytes_max,
            Self::Bare => BARE_BYTES_MAX,
        }
    }
}

#[derive(Debug, Default)]
struct SparseRows {
    values: Sparse,
    cut: Vec<u32>,
}

impl SparseRows {
    fn read(
        reader: &BlockReader<'_>,
        kind: PartKind,
        rows: &[u32],
        bytes_max: usize,
    ) -> Result<Self, StoreError> {
        let mut read = Self::default();
        let mut wanted = rows.iter().copied().peekable();
        let is_wanted = |row| {
            while wanted.next_if(|wanted| *wanted < row).is_some() {}
            wanted.peek() == Some(&row)
        };
        reader.visit_sparse(kind, is_wanted, bytes_max, |row, value, is_cut| {
            read.values.push(row, value);
            if is_cut {
                read.cut.push(row);
            }
            true
        })?;
        Ok(read)
    }

    fn get(&self, row: u32) -> Option<&[u8]> {
        self.values.get(row)
    }

    fn is_cut(&self, row: u32) -> bool {
        self.cut.binary_search(&row).is_ok()
    }
}

#[derive(Debug)]
pub(crate) struct RowReader {
    name_texts: Lent,
    resource_texts: Lent,
    scope_texts: Lent,
    rows: Vec<u32>,
    trace_ids: Vec<[u8; 16]>,
    span_ids: Vec<[u8; 8]>,
    parent_ids: Vec<[u8; 8]>,
    starts: Vec<u64>,
    durations: Vec<u64>,
    names: Vec<u64>,
    kind_status: Vec<u64>,
    resources: Vec<u64>,
    scopes: Vec<u64>,
    flags: Vec<u64>,
    trace_states: SparseRows,
    status_messages: SparseRows,
    events: SparseRows,
    links: SparseRows,
    dropped: SparseRows,
    overflow: SparseRows,
    attributes: AttributeRows,
    extent: Extent,
}

impl RowReader {
    /// Reads the given rows, in ascending order.
    pub(crate) fn read(
        reader: &BlockReader<'_>,
        schema: &Schema,
        lists: &impl Lists,
        rows: &[u32],
        extent: Extent,
    ) -> Result<Self, StoreError> {
        let numbers = |kind| reader.gather(kind, 0, rows);
        let count = Some(reader.header.rows);
        let sparse = |kind| SparseRows::read(reader, kind, rows, extent.bytes_max());
        let detail = |kind| match extent {
            Extent::Bare => Ok(SparseRows::default()),
            _ => sparse(kind),
        };
        let names = numbers(PartKind::Names)?;
        let resources = numbers(PartKind::Resources)?;
        let scopes = numbers(PartKind::Scopes)?;
        Ok(Self {
            attributes: AttributeRows::read(reader, schema, lists, (rows, None), extent)?,
            name_texts: lists.lend(List::Names, &names)?,
            resource_texts: lists.lend(List::Resources, &resources)?,
            scope_texts: lists.lend(List::Scopes, &scopes)?,
            rows: rows.to_vec(),
            trace_ids: trace_ids(reader, rows)?,
            span_ids: reader.gather_ids(PartKind::SpanIds, rows, count)?,
            parent_ids: reader.gather_ids(PartKind::ParentIds, rows, count)?,
            starts: numbers(PartKind::Starts)?,
            durations: numbers(PartKind::Durations)?,
            names,
            kind_status: numbers(PartKind::KindStatus)?,
            resources,
            scopes,
            flags: numbers(PartKind::Flags)?,
            trace_states: sparse(PartKind::TraceStates)?,
            status_messages: sparse(PartKind::StatusMessages)?,
            events: detail(PartKind::Events)?,
            links: detail(PartKind::Links)?,
            dropped: SparseRows::read(reader, PartKind::Dropped, rows, usize::MAX)?,
            overflow: detail(PartKind::Overflow)?,
            extent,
        })
    }

    /// Reads some columns of the given rows, in ascending order.
    pub(crate) fn read_columns(
        reader: &BlockReader<'_>,
        schema: &Schema,
        lists: &impl Lists,
        rows: &[u32],
        columns: &Columns,
    ) -> Result<Self, StoreError> {
        let extent = Extent::Whole;
        let count = Some(reader.header.rows);
        let numbers = |kind| reader.gather(kind, 0, rows);
        let some = |is_wanted, kind| match is_wanted {
            true => numbers(kind),
            false => Ok(vec![0; rows.len()]),
        };
        let texts = |is_wanted, list, numbers: &[u64]| match is_wanted {
            true => lists.lend(list, numbers),
            false => Ok(Lent::default()),
        };
        let sparse = |is_wanted, kind| match is_wanted {
            true => SparseRows::read(reader, kind, rows, extent.bytes_max()),
            false => Ok(SparseRows::default()),
        };
        let names = some(columns.names, PartKind::Names)?;
        let resources = some(columns.resources, PartKind::Resources)?;
        let scopes = some(columns.scopes, PartKind::Scopes)?;
        let attributes = match columns.keys.as_slice() {
            [] => AttributeRows::default(),
            keys => AttributeRows::read(reader, schema, lists, (rows, Some(keys)), extent)?,
        };
        let parent_ids = match columns.parents {
            true => reader.gather_ids(PartKind::ParentIds, rows, count)?,
            false => vec![[0; 8]; rows.len()],
        };
        Ok(Self {
            name_texts: texts(columns.names, List::Names, &names)?,
            resource_texts: texts(columns.resources, List::Resources, &resources)?,
            scope_texts: texts(columns.scopes, List::Scopes, &scopes)?,
            rows: rows.to_vec(),
            trace_ids: trace_ids(reader, rows)?,
            span_ids: reader.gather_ids(PartKind::SpanIds, rows, count)?,
            parent_ids,
            starts: numbers(PartKind::Starts)?,
            durations: numbers(PartKind::Durations)?,
            names,
            kind_status: numbers(PartKind::KindStatus)?,
            resources,
            scopes,
            flags: vec![0; rows.len()],
            trace_states: SparseRows::default(),
            status_messages: sparse(columns.status_messages, PartKind::StatusMessages)?,
            events: SparseRows::default(),
            links: SparseRows::default(),
            dropped: SparseRows::default(),
            overflow: sparse(!columns.keys.is_empty(), PartKind::Overflow)?,
            attributes,
            extent,
        })
    }

    pub(crate) fn visit(&self, visitor: &mut impl SpanVisitor) {
        let mut seen = (u64::MAX, u64::MAX);
        for (index, &row) in self.rows.iter().enumerate() {
            let (resource, scope) = (self.resources[index], self.scopes[index]);
            if seen.0 != resource {
                let stored = StoredResource::decode(self.resource_texts.get(resource as u32));
                visitor.resource(&stored.view());
            }
            if seen != (resource, scope) {
                let stored = StoredScope::decode(self.scope_texts.get(scope as u32));
                visitor.scope(&stored.view());
            }
            seen = (resource, scope);
            self.visit_row(index, row, visitor);
        }
    }

    fn visit_row(&self, index: usize, row: u32, visitor: &mut impl SpanVisitor) {
        let (mut attributes, mut is_cut) = self.attributes.attributes(index);
        if let Some(overflow) = self.overflow.get(row) {
            attributes = readable_attributes(&mut Reader::new(overflow));
        }
        let columns = [&self.overflow, &self.events, &self.links];
        let texts = [&self.status_messages, &self.trace_states];
        let name = self.names[index] as u32;
        is_cut |= columns.into_iter().chain(texts).any(|c| c.is_cut(row))
            || self.name_texts.is_cut(name)
            || self.extent == Extent::Bare;
        if is_cut {
            let (key, value) = (SHORTENED, ValueView::Bool(true));
            attributes.push(AttributeView { key, value });
        }
        let events: Vec<&[u8]> = unpack(self.events.get(row).unwrap_or_default()).collect();
        let links: Vec<&[u8]> = unpack(self.links.get(row).unwrap_or_default()).collect();
        let mut dropped = Reader::new(self.dropped.get(row).unwrap_or_default());
        let mut count = || dropped.varint_u32().unwrap_or_default();
        let [all_attributes, all_events, all_links] = [count(), count(), count()];
        let dropped_here = Dropped {
            attributes: count(),
            events: count(),
            links: count(),
        };
        let start = self.starts[index];
        let duration = ints::from_ordered(self.durations[index]);
        let kind_status = self.kind_status[index] as u8;
        visitor.span(&SpanView {
            trace_id: self.trace_ids[index],
            span_id: self.span_ids[index],
            parent_span_id: self.parent_ids[index],
            trace_state: text(self.trace_states.get(row)),
            flags: self.flags[index] as u32,
            name: self.name_texts.text(name),
            kind: kind_status & 15,
            start,
            end: start.wrapping_add(duration as u64),
            status_code: kind_status >> 4,
            status_message: text(self.status_messages.get(row)),
            attributes: &attributes,
            events: &events,
            links: &links,
            dropped_attributes_count: all_attributes.saturating_sub(dropped_here.attributes),
            dropped_events_count: all_events.saturating_sub(dropped_here.events),
            dropped_links_count: all_links.saturating_sub(dropped_here.links),
            dropped_here,
        });
    }
}

fn trace_ids(reader: &BlockReader<'_>, rows: &[u32]) -> Result<Vec<[u8; 16]>, StoreError> {
    // Decoding the index checks its length; the other columns are checked by their ids.
    let index = reader.row_planes(PartKind::TraceIndex)?;
    let index: Vec<u32> = rows
        .iter()
        .map(|&row| index.get(row as usize) as u32)
        .collect();
    let mut places = index.clone();
    places.sort_unstable();
    places.dedup();
    let ids = reader.gather_ids::<16>(PartKind::TraceIds, &places, None)?;
    let id = |place: &u32| places.binary_search(place).map_or([0; 16], |at| ids[at]);
    Ok(index.iter().map(id).collect())
}

/// Splits length-prefixed messages.
pub(crate) fn unpack(joined: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(joined);
    std::iter::from_fn(move || reader.bytes())
}

/// Reads an optional text that may be cut within a character.
fn text(bytes: Option<&[u8]>) -> &str {
    readable(bytes.unwrap_or_default())
}

/// Returns the longest valid UTF-8 prefix.
fn readable(bytes: &[u8]) -> &str {
    let whole = |error: std::str::Utf8Error| {
        std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
    };
    std::str::from_utf8(bytes).unwrap_or_else(whole)
}
