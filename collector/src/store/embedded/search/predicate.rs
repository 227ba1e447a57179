//! A query in the numbers of one segment, and the rows of a block that it matches.
//!
//! Whatever a dictionary can answer is answered before a block is read: a service, operation or value that the
//! segment's dictionaries do not know skips the segment.

use std::fs::File;
use std::sync::Arc;

use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use super::super::block::attributes::{StoredResource, decode_attributes, service_of};
use super::super::block::{BlockReader, PartKind, ValueSource, ints};
use super::super::bytes::Reader;

use super::super::schema::{ColumnKind, Schema};
use super::super::segment::Segment;
use crate::codec::otlp::decode::value_of_view;
use crate::codec::otlp::{AttributeView, ValueView};
use crate::model::TraceQuery;
use crate::store::StoreError;

/// A query in the numbers of one segment.
#[derive(Debug)]
pub(crate) struct SegmentQuery {
    schema: Arc<Schema>,
    file: Option<Arc<File>>,
    /// Which resources belong to the service.
    resources: Option<Vec<bool>>,
    name: Option<u32>,
    failed: bool,
    durations: Option<(u64, u64)>,
    attributes: Vec<AttributeQuery>,
    /// Whether some rows of the segment keep their attributes as blobs.
    overflow: bool,
}

/// One attribute that a span or its resource must have.
#[derive(Debug)]
struct AttributeQuery {
    key: String,
    text: String,
    /// Which resources have it.
    resources: Option<Vec<bool>>,
    columns: Vec<(u32, ColumnTest)>,
}

/// How a column's values are compared.
#[derive(Debug)]
enum ColumnTest {
    /// With a number: of a value in the dictionary, of an int, a bool or the bits of a double.
    Number(PartKind, u64),
    /// With any NaN.
    NotANumber,
    /// With a text.
    Text,
    /// With what a list or map prints.
    Printed,
    /// Every occurrence matches.
    Always,
}

impl SegmentQuery {
    /// Translates a query; `None` when no span of the segment can match.
    pub(crate) fn compile(
        query: &TraceQuery,
        segment: &Segment,
    ) -> Result<Option<Self>, StoreError> {
        let schema = segment.schema()?;
        let mut compiled = Self {
            file: None,
            resources: None,
            name: None,
            failed: query.error == Some(true),
            durations: None,
            attributes: Vec::new(),
            overflow: segment.totals().overflow_rows > 0,
            schema,
        };
        let schema = Arc::clone(&compiled.schema);
        if let Some(service) = &query.service {
            let resources = schema.resources.iter();
            let found: Vec<bool> = resources.map(|r| service_of(r) == service).collect();
            if !found.contains(&true) {
                return Ok(None);
            }
            compiled.resources = Some(found);
        }
        if let Some(operation) = &query.operation {
            compiled.name = schema.names.find(operation.as_bytes());
            if compiled.name.is_none() {
                return Ok(None);
            }
        }
        if query.min_duration_nanos.is_some() || query.max_duration_nanos.is_some() {
            let min = query.min_duration_nanos.unwrap_or(0);
            compiled.durations = Some((min, query.max_duration_nanos.unwrap_or(u64::MAX)));
        }
        for (key, text, on_resource) in wanted_attributes(query) {
            let attribute = AttributeQuery::compile(key, text, on_resource, &schema, segment)?;
            if !attribute.can_match() && !compiled.overflow {
                return Ok(None);
            }
            compiled.attributes.push(attribute);
        }
        Ok(Some(compiled))
    }

    /// Opens the segment's file once for the whole query.
    pub(crate) fn file(&mut self, segment: &Segment) -> Result<Arc<File>, StoreError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = segment.file()?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Returns the traces that have a matching span in a block, each with the earliest start of those spans.
    pub(crate) fn matching_traces(
        &self,
        segment: &Segment,
        file: &File,
        block: u32,
    ) -> Result<Vec<(u128, u64)>, StoreError> {
        let blocks = segment.blocks();
        let Some(meta) = blocks.get(block as usize) else {
            return Ok(Vec::new());
        };
        let path = &segment.place().path;
        let reader = BlockReader::open(file, path, meta.offset, meta.header_bytes)?;
        let mut rows = vec![true; meta.rows as usize];
        self.keep_columns(&reader, &mut rows)?;
        for attribute in &self.attributes {
            if rows.contains(&true) {
                attribute.keep(&reader, self, &mut rows)?;
            }
        }
        if !rows.contains(&true) {
            return Ok(Vec::new());
        }
        let (ids, index) = reader.traces()?;
        let starts = reader.row_numbers(PartKind::Starts)?;
        let mut earliest = vec![u64::MAX; ids.len()];
        let mut found = vec![false; ids.len()];
        for row in (0..rows.len()).filter(|&row| rows[row]) {
            let trace = index[row] as usize;
            found[trace] = true;
            earliest[trace] = earliest[trace].min(starts[row]);
        }
        let traces = ids.into_iter().zip(earliest).zip(found);
        Ok(traces
            .filter(|(_, found)| *found)
            .map(|(trace, _)| trace)
            .collect())
    }

    /// Keeps the rows that meet the conditions on what every span has.
    fn keep_columns(&self, reader: &BlockReader<'_>, rows: &mut [bool]) -> Result<(), StoreError> {
        if let Some(wanted) = &self.resources {
            keep(
                rows,
                &reader.row_numbers(PartKind::Resources)?,
                |resource| wanted.get(resource as usize) == Some(&true),
            );
        }
        if let Some(wanted) = self.name {
            keep(rows, &reader.row_numbers(PartKind::Names)?, |name| {
                name == u64::from(wanted)
            });
        }
        if self.failed {
            keep(rows, &reader.row_numbers(PartKind::KindStatus)?, |both| {
                both >> 4 == 2
            });
        }
        if let Some((min, max)) = self.durations {
            keep(
                rows,
                &reader.row_numbers(PartKind::Durations)?,
                |duration| {
                    let duration = ints::from_ordered(duration).max(0) as u64;
                    min <= duration && duration <= max
                },
            );
        }
        Ok(())
    }
}

/// Lists what the query asks of attributes: key, printed value, whether the resource may have it instead.
fn wanted_attributes(query: &TraceQuery) -> impl Iterator<Item = (&str, &str, bool)> {
    let given = query.attributes.iter();
    let circuit = query
        .circuit
        .iter()
        .map(|name| (BREAKER_NAME, name.as_str(), false));
    let outcome = query.outcome.iter().map(|outcome| match outcome.as_str() {
        "fallback" => (FALLBACK_OUTCOME, "success", false),
        outcome => (BREAKER_OUTCOME, outcome, false),
    });
    given
        .map(|(key, text)| (key.as_str(), text.as_str(), true))
        .chain(circuit)
        .chain(outcome)
}

impl AttributeQuery {
    fn compile(
        key: &str,
        text: &str,
        on_resource: bool,
        schema: &Schema,
        segment: &Segment,
    ) -> Result<Self, StoreError> {
        let mut columns = Vec::new();
        for (column, kind) in schema.columns_of(key) {
            if let Some(test) = ColumnTest::compile(kind, column, text, segment)? {
                columns.push((column, test));
            }
        }
        let resources = schema.resources.iter();
        let has = |encoded: &[u8]| {
            let resource = StoredResource::decode(encoded);
            any_matches(resource.view().attributes, key, text)
        };
        let resources: Vec<bool> = resources.map(|r| on_resource && has(r)).collect();
        Ok(Self {
            key: key.to_owned(),
            text: text.to_owned(),
            resources: resources.contains(&true).then_some(resources),
            columns,
        })
    }

    /// Returns whether a span with columns can match.
    fn can_match(&self) -> bool {
        self.resources.is_some() || !self.columns.is_empty()
    }

    /// Keeps the rows that have the attribute.
    fn keep(
        &self,
        reader: &BlockReader<'_>,
        query: &SegmentQuery,
        rows: &mut [bool],
    ) -> Result<(), StoreError> {
        let mut found = vec![false; rows.len()];
        if let Some(wanted) = &self.resources {
            let resources = reader.row_numbers(PartKind::Resources)?;
            for (found, resource) in found.iter_mut().zip(resources) {
                *found = wanted.get(resource as usize) == Some(&true);
            }
        }
        for (column, test) in &self.columns {
            let hits = test.hits(reader, *column, &self.text)?;
            if hits.contains(&true) || matches!(test, ColumnTest::Always) {
                let shapes = reader.row_numbers(PartKind::Shapes)?;
                let counts = shapes_with(&shapes, &query.schema, &[*column]);
                let always = matches!(test, ColumnTest::Always);
                spread(&mut found, &shapes, &counts, &hits, always);
            }
        }
        if query.overflow {
            for (row, blob) in reader.sparse(PartKind::Overflow)?.iter() {
                let attributes = decode_attributes(&mut Reader::new(blob)).unwrap_or_default();
                if let Some(found) = found.get_mut(row as usize) {
                    *found |= any_matches(&attributes, &self.key, &self.text);
                }
            }
        }
        for (row, found) in rows.iter_mut().zip(found) {
            *row &= found;
        }
        Ok(())
    }
}

impl ColumnTest {
    /// Translates the wanted text for a column; `None` when none of its values can print so.
    fn compile(
        kind: ColumnKind,
        column: u32,
        text: &str,
        segment: &Segment,
    ) -> Result<Option<Self>, StoreError> {
        let number = |number: Option<u64>| number.map(|n| Self::Number(PartKind::Numbers, n));
        Ok(match kind {
            ColumnKind::Dictionary => {
                let found = segment.values(column)?.find(text.as_bytes());
                found.map(|id| Self::Number(PartKind::DictionaryIds, u64::from(id)))
            }
            ColumnKind::Literal => Some(Self::Text),
            ColumnKind::Encoded => Some(Self::Printed),
            ColumnKind::Empty => text.is_empty().then_some(Self::Always),
            ColumnKind::Bool => number(text.parse::<bool>().ok().map(u64::from)),
            ColumnKind::Int => {
                let parsed = text.parse::<i64>().ok();
                number(parsed.filter(|n| n.to_string() == text).map(ints::ordered))
            }
            ColumnKind::Double => match text.parse::<f64>() {
                Ok(double) if double.is_nan() => (text == "NaN").then_some(Self::NotANumber),
                Ok(double) => number((double.to_string() == text).then(|| double.to_bits())),
                Err(_) => None,
            },
        })
    }

    /// Returns, per occurrence in the column, whether it matches.
    fn hits(
        &self,
        reader: &BlockReader<'_>,
        column: u32,
        text: &str,
    ) -> Result<Vec<bool>, StoreError> {
        Ok(match self {
            Self::Number(kind, wanted) => {
                let numbers = reader.numbers(*kind, column)?;
                numbers.iter().map(|number| number == wanted).collect()
            }
            Self::NotANumber => {
                let numbers = reader.numbers(PartKind::Numbers, column)?;
                numbers
                    .iter()
                    .map(|&bits| f64::from_bits(bits).is_nan())
                    .collect()
            }
            Self::Text => {
                let texts = reader.blobs(column)?;
                (0..texts.len())
                    .map(|at| texts.get(at) == text.as_bytes())
                    .collect()
            }
            Self::Printed => {
                let blobs = reader.blobs(column)?;
                let printed = |at| value_of_view(&ValueView::Encoded(blobs.get(at))).to_string();
                (0..blobs.len()).map(|at| printed(at) == text).collect()
            }
            Self::Always => Vec::new(),
        })
    }
}

/// Keeps the rows whose number passes.
fn keep(rows: &mut [bool], numbers: &[u64], passes: impl Fn(u64) -> bool) {
    for (row, &number) in rows.iter_mut().zip(numbers) {
        *row &= passes(number);
    }
}

/// Returns whether an attribute of that key prints that text.
fn any_matches(attributes: &[AttributeView<'_>], key: &str, text: &str) -> bool {
    attributes.iter().any(|attribute| {
        attribute.key == key
            && match attribute.value {
                ValueView::String(other) => other == text,
                other => value_of_view(&other).to_string() == text,
            }
    })
}

/// Counts, by shape, how often those columns stand in it; nothing where damage lost a shape of the block.
pub(crate) fn shapes_with(shapes: &[u64], schema: &Schema, columns: &[u32]) -> Vec<u8> {
    let mut counts: Vec<u8> = Vec::new();
    let mut known: Vec<bool> = Vec::new();
    for &shape in shapes {
        let shape = shape as usize;
        if shape > schema.shapes.len() {
            return Vec::new();
        }
        if known.len() <= shape {
            known.resize(shape + 1, false);
            counts.resize(shape + 1, 0);
        }
        if !std::mem::replace(&mut known[shape], true) {
            let Some(list) = schema.shape_columns(shape as u32) else {
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

/// Carries hits by occurrence to the rows that have the column.
fn spread(found: &mut [bool], shapes: &[u64], counts: &[u8], hits: &[bool], always: bool) {
    let mut at = 0;
    for (found, &shape) in found.iter_mut().zip(shapes) {
        let count = usize::from(counts.get(shape as usize).copied().unwrap_or(0));
        if count > 0 {
            let here = hits.get(at..at + count).unwrap_or_default();
            *found |= always || here.contains(&true);
            at += count;
        }
    }
}
