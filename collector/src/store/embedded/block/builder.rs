//! The open block: spans as they arrive, split into columns, without an allocation per span.
//!
//! Dictionaries live as long as the segment, rows as long as the block. A malformed request is rolled back to
//! its begin, dictionaries included.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::dictionary::Dictionary;
use super::attributes::{encode_attributes, encode_resource, encode_scope};
use super::column::ColumnData;
use super::columns::AttributeColumns;
use super::{BlockValues, ColumnValues, Sparse};
use crate::codec::otlp::{
    AttributeView, ResourceView, ScopeView, SpanView, SpanVisitor, ValueView,
};
use crate::model::Dropped;
use crate::store::bytes::{Reader, put_bytes, put_varint};
use crate::store::hash::Seed;
use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, BREAKER_STATE, FALLBACK_OUTCOME};

/// Rows of the open block; each list has one entry per span.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) trace_index: Vec<u32>,
    pub(crate) span_ids: Vec<[u8; 8]>,
    pub(crate) parent_ids: Vec<[u8; 8]>,
    pub(crate) starts: Vec<u64>,
    pub(crate) durations: Vec<i64>,
    pub(crate) names: Vec<u32>,
    pub(crate) kind_status: Vec<u8>,
    pub(crate) resources: Vec<u32>,
    pub(crate) scopes: Vec<u32>,
    pub(crate) shapes: Vec<u32>,
    pub(crate) flags: Vec<u32>,
    pub(crate) trace_states: Sparse,
    pub(crate) status_messages: Sparse,
    pub(crate) events: Sparse,
    pub(crate) links: Sparse,
    pub(crate) dropped: Sparse,
    pub(crate) overflow: Sparse,
    /// Rows that passed a breaker, with the number of the mark.
    pub(crate) marks: Vec<(u32, u32)>,
}

/// The state to which a request is rolled back.
#[derive(Debug, Clone, Copy, Default)]
struct Checkpoint {
    rows: usize,
    traces: usize,
    names: usize,
    resources: usize,
    scopes: usize,
    attributes: usize,
    bytes: usize,
}

/// The resource or scope of the following spans: encoded when it begins, numbered with its first span.
#[derive(Debug, Default)]
struct Current {
    encoded: Vec<u8>,
    id: Option<u32>,
    /// The row that its first span has or will have.
    first_row: usize,
}

impl Current {
    /// Returns its number, interning it once.
    #[inline]
    fn id(&mut self, dictionary: &mut Dictionary) -> u32 {
        match self.id {
            Some(id) => id,
            None => *self.id.insert(dictionary.intern(&self.encoded).0),
        }
    }
}

#[derive(Debug)]
pub(crate) struct BlockBuilder {
    pub(super) names: Dictionary,
    pub(super) resources: Dictionary,
    pub(super) scopes: Dictionary,
    pub(super) attributes: AttributeColumns,
    marks: Dictionary,
    pub(crate) rows: Rows,
    pub(crate) trace_ids: Vec<u128>,
    traces: HashMap<u128, u32, Seed>,
    resource: Current,
    scope: Current,
    scratch: Vec<u8>,
    bytes: usize,
    checkpoint: Checkpoint,
}

impl BlockBuilder {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            names: Dictionary::new(seed),
            resources: Dictionary::new(seed),
            scopes: Dictionary::new(seed),
            attributes: AttributeColumns::new(seed),
            marks: Dictionary::new(seed),
            rows: Rows::default(),
            trace_ids: Vec::new(),
            traces: HashMap::with_hasher(seed),
            resource: Current::default(),
            scope: Current::default(),
            scratch: Vec::new(),
            bytes: 0,
            checkpoint: Checkpoint::default(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.starts.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn dictionary_bytes(&self) -> usize {
        let lists = [&self.names, &self.resources, &self.scopes, &self.marks];
        self.attributes.dictionary_bytes + lists.iter().map(|l| l.list().memory()).sum::<usize>()
    }

    pub(crate) fn marks(&self) -> &super::super::dictionary::ValueList {
        self.marks.list()
    }

    /// Returns the values of the block that are in no dictionary.
    pub(crate) fn values(&self) -> BlockValues<'_> {
        let columns = self.attributes.columns.iter().enumerate();
        let values = columns.filter_map(|(id, column)| {
            let values = match &column.data {
                ColumnData::Literal(texts) => ColumnValues::Texts(Cow::Borrowed(texts)),
                ColumnData::Encoded(blobs) => ColumnValues::Encoded(Cow::Borrowed(blobs)),
                ColumnData::Int(ints) => ColumnValues::Ints(Cow::Borrowed(ints)),
                ColumnData::Double(doubles) => ColumnValues::Doubles(Cow::Borrowed(doubles)),
                ColumnData::Bool(bools) => ColumnValues::Bools(Cow::Borrowed(bools)),
                ColumnData::Dictionary(_) | ColumnData::Empty(_) => return None,
            };
            Some((id as u32, values))
        });
        BlockValues {
            columns: values.collect(),
            events: Cow::Borrowed(&self.rows.events),
            links: Cow::Borrowed(&self.rows.links),
        }
    }

    /// Returns how many rows store their attributes as one blob.
    pub(crate) fn overflow_rows(&self) -> u64 {
        self.rows.overflow.iter().count() as u64
    }

    /// Returns how many texts met a full dictionary.
    pub(crate) fn refused_values(&self) -> u64 {
        self.attributes.refused_values
    }

    pub(crate) fn begin_request(&mut self) {
        self.checkpoint = Checkpoint {
            rows: self.len(),
            traces: self.trace_ids.len(),
            names: self.names.list().len(),
            resources: self.resources.list().len(),
            scopes: self.scopes.list().len(),
            attributes: self.attributes.checkpoint(),
            bytes: self.bytes,
        };
    }

    /// Undoes everything since `begin_request`.
    pub(crate) fn rollback_request(&mut self) {
        let to = self.checkpoint;
        for row in (to.rows..self.len()).rev() {
            self.attributes.take_back(self.rows.shapes[row]);
        }
        self.attributes.rollback(to.attributes);
        self.rows.truncate(to.rows);
        for trace in self.trace_ids.drain(to.traces..) {
            self.traces.remove(&trace);
        }
        pop_to(&mut self.names, to.names);
        pop_to(&mut self.resources, to.resources);
        pop_to(&mut self.scopes, to.scopes);
        self.resource = Current::default();
        self.scope = Current::default();
        self.bytes = to.bytes;
    }

    /// Ends the block: clears its rows, keeps the dictionaries.
    pub(crate) fn finish_block(&mut self) {
        self.rows.truncate(0);
        self.trace_ids.clear();
        self.traces.clear();
        self.attributes.finish_block();
        self.names.mark_flushed();
        self.resources.mark_flushed();
        self.scopes.mark_flushed();
        self.marks.mark_flushed();
        self.bytes = 0;
        self.begin_request();
    }

    /// Releases the memory of rows; none may be pending.
    pub(crate) fn release_memory(&mut self) {
        self.rows = Rows::default();
        self.trace_ids = Vec::new();
        self.traces = HashMap::with_hasher(*self.traces.hasher());
        self.scratch = Vec::new();
        self.attributes.release_memory();
    }

    /// Stores the attributes, and the breaker mark among them.
    fn shred_attributes(&mut self, row: u32, span: &SpanView<'_>) {
        let mut mark = [""; 4];
        let shape = self.attributes.shred(span.attributes, |role, value| {
            if let ValueView::String(text) = value {
                mark[role as usize - 1] = text;
            }
        });
        if let Some(shape) = shape {
            self.rows.shapes.push(shape);
        } else {
            self.rows.shapes.push(0);
            self.scratch.clear();
            encode_attributes(&mut self.scratch, span.attributes);
            self.rows.overflow.push(row, &self.scratch);
            mark = mark_texts(span.attributes);
        }
        if !mark[0].is_empty() {
            encode_mark(&mut self.scratch, mark);
            let (id, _) = self.marks.intern(&self.scratch);
            self.rows.marks.push((row, id));
        }
    }

    /// Stores the fields that few spans have.
    fn push_rare(&mut self, row: u32, span: &SpanView<'_>) {
        if !span.trace_state.is_empty() {
            self.rows
                .trace_states
                .push(row, span.trace_state.as_bytes());
        }
        if !span.status_message.is_empty() {
            let message = span.status_message.as_bytes();
            self.rows.status_messages.push(row, message);
        }
        if !span.events.is_empty() {
            pack(&mut self.scratch, span.events);
            self.rows.events.push(row, &self.scratch);
        }
        if !span.links.is_empty() {
            pack(&mut self.scratch, span.links);
            self.rows.links.push(row, &self.scratch);
        }
        let here = &span.dropped_here;
        let dropped = [
            span.dropped_attributes_count
                .saturating_add(here.attributes),
            span.dropped_events_count.saturating_add(here.events),
            span.dropped_links_count.saturating_add(here.links),
        ];
        if dropped != [0; 3] {
            self.scratch.clear();
            let mut put = |count: u32| put_varint(&mut self.scratch, u64::from(count));
            dropped.into_iter().for_each(&mut put);
            if *here != Dropped::default() {
                [here.attributes, here.events, here.links]
                    .into_iter()
                    .for_each(put);
            }
            self.rows.dropped.push(row, &self.scratch);
        }
    }
}

impl SpanVisitor for BlockBuilder {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.resource.id = None;
        self.resource.encoded.clear();
        encode_resource(&mut self.resource.encoded, resource);
        self.scope(&ScopeView::default());
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope.id = None;
        self.scope.encoded.clear();
        self.scope.first_row = self.len();
        encode_scope(&mut self.scope.encoded, scope);
    }

    const TAKES_SCOPES_AGAIN: bool = true;

    fn scope_again(&mut self, scope: &ScopeView<'_>) {
        let first = self.scope.first_row;
        self.scope(scope);
        if first < self.len() {
            let id = self.scope.id(&mut self.scopes);
            self.rows.scopes[first..].fill(id);
        }
    }

    fn span(&mut self, span: &SpanView<'_>) {
        let row = self.len() as u32;
        let trace_id = u128::from_be_bytes(span.trace_id);
        let next = self.trace_ids.len() as u32;
        let trace = *self.traces.entry(trace_id).or_insert(next);
        if trace == next {
            self.trace_ids.push(trace_id);
        }
        let rows = &mut self.rows;
        rows.trace_index.push(trace);
        rows.span_ids.push(span.span_id);
        rows.parent_ids.push(span.parent_span_id);
        rows.starts.push(span.start);
        rows.durations
            .push(span.end.wrapping_sub(span.start) as i64);
        rows.names.push(self.names.intern(span.name.as_bytes()).0);
        rows.kind_status
            .push(span.kind & 15 | (span.status_code & 15) << 4);
        rows.resources.push(self.resource.id(&mut self.resources));
        rows.scopes.push(self.scope.id(&mut self.scopes));
        rows.flags.push(span.flags);
        self.bytes += 64 + span.name.len() + size(span);
        self.shred_attributes(row, span);
        self.push_rare(row, span);
    }
}

impl Rows {
    /// Removes the rows from `rows` on; attribute columns are truncated by shape.
    fn truncate(&mut self, rows: usize) {
        self.trace_index.truncate(rows);
        self.span_ids.truncate(rows);
        self.parent_ids.truncate(rows);
        self.starts.truncate(rows);
        self.durations.truncate(rows);
        self.names.truncate(rows);
        self.kind_status.truncate(rows);
        self.resources.truncate(rows);
        self.scopes.truncate(rows);
        self.shapes.truncate(rows);
        self.flags.truncate(rows);
        for sparse in [
            &mut self.trace_states,
            &mut self.status_messages,
            &mut self.events,
            &mut self.links,
            &mut self.dropped,
            &mut self.overflow,
        ] {
            if rows == 0 {
                sparse.clear();
            } else {
                sparse.truncate(rows as u32);
            }
        }
        while self
            .marks
            .last()
            .is_some_and(|(row, _)| *row as usize >= rows)
        {
            self.marks.pop();
        }
    }
}

/// Extracts name, state, outcome and fallback of a breaker from a span's attributes; the name is empty
/// without a breaker.
pub(crate) fn mark_texts<'a>(attributes: &[AttributeView<'a>]) -> [&'a str; 4] {
    let keys = [
        BREAKER_NAME,
        BREAKER_STATE,
        BREAKER_OUTCOME,
        FALLBACK_OUTCOME,
    ];
    let mut texts = [""; 4];
    for attribute in attributes {
        let place = keys.iter().position(|key| *key == attribute.key);
        if let (Some(place), ValueView::String(text)) = (place, attribute.value) {
            texts[place] = text;
        }
    }
    texts
}

pub(crate) fn encode_mark(out: &mut Vec<u8>, mark: [&str; 4]) {
    out.clear();
    mark.iter().for_each(|text| put_bytes(out, text.as_bytes()));
}

/// Decodes name, state, outcome and fallback.
pub(crate) fn decode_mark(encoded: &[u8]) -> [&str; 4] {
    let mut reader = Reader::new(encoded);
    std::array::from_fn(|_| reader.text().unwrap_or_default())
}

/// Joins length-prefixed messages.
fn pack(out: &mut Vec<u8>, messages: &[&[u8]]) {
    out.clear();
    messages.iter().for_each(|message| put_bytes(out, message));
}

/// Removes the newest values until `length` are left.
fn pop_to(dictionary: &mut Dictionary, length: usize) {
    while dictionary.list().len() > length {
        dictionary.pop();
    }
}

/// Approximate bytes of a span's variable parts.
#[inline]
fn size(span: &SpanView<'_>) -> usize {
    let attribute_bytes = |value: &ValueView<'_>| match value {
        ValueView::String(text) => text.len(),
        ValueView::Encoded(bytes) => bytes.len(),
        _ => 8,
    };
    let attributes = span.attributes.iter();
    let messages = span.events.iter().chain(span.links);
    attributes
        .map(|a| a.key.len() + attribute_bytes(&a.value))
        .sum::<usize>()
        + messages.map(|message| message.len()).sum::<usize>()
}
