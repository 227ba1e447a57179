//! A query compiled for one segment, and the rows of a block that match it.
//!
//! Every condition becomes a mask over the rows of a block, computed from the columns that it needs; no span
//! is decoded. Dictionaries are checked before a block is read: a segment that does not know the service,
//! operation or value is skipped.

mod columns;

use std::fs::File;
use std::sync::Arc;

use fusebox::semconv::{BREAKER_NAME, BREAKER_OUTCOME, FALLBACK_OUTCOME};

use super::super::block::attributes::{StoredResource, StoredScope, decode_attributes, service_of};
use super::super::block::schema::Schema;
use super::super::block::{BlockReader, PartKind, ints, unpack};
use super::super::lists::List;
use super::super::segment::Segment;
use crate::codec::otlp::decode::{event_attributes, event_head, link_attributes, value_of_view};
use crate::codec::otlp::{AttributeView, ValueView};
use crate::model::{
    Condition, EVENT_NAME, Place, SCOPE_NAME, SCOPE_VERSION, Test, TimeRange, TraceQuery, UnixNanos,
};
use crate::store::StoreError;
use crate::store::bytes::Reader;
use columns::ColumnTest;

#[derive(Debug)]
pub(crate) struct SegmentQuery {
    schema: Arc<Schema>,
    file: Option<Arc<File>>,
    /// Masks of all conditions, cheapest first.
    masks: Vec<Mask>,
}

/// Restrictions on the spans of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matching {
    pub(crate) starts: TimeRange,
    /// The block was written until then, Unix nanoseconds.
    pub(crate) arrived_by: u64,
}

/// Selects the rows that meet a condition.
#[derive(Debug)]
enum Mask {
    /// By a number that every row has.
    Row(PartKind, RowTest),
    /// By the values of an attribute column.
    Column(u32, ColumnTest, Test),
    /// By attributes beyond the column limits.
    Overflow(String, Test),
    Text(PartKind, Test),
    /// By the attributes of events or links.
    Items(PartKind, String, Test),
    Any(Vec<Mask>),
}

#[derive(Debug)]
enum RowTest {
    Is(u64),
    Among(Vec<bool>),
    Bits { mask: u64, value: u64 },
    Duration { min: u64, max: u64 },
}

/// The segment for which a query is compiled.
struct Compiler<'a> {
    segment: &'a Segment,
    schema: &'a Schema,
}

/// The block that a query is evaluated on.
struct Block<'a> {
    reader: BlockReader<'a>,
    schema: &'a Schema,
}

/// A block, its matching rows, and the starts of all.
struct Found<'a> {
    block: Block<'a>,
    rows: Vec<u32>,
    starts: Vec<u64>,
}

impl SegmentQuery {
    /// Compiles a query; `None` if no span of the segment can match.
    pub(crate) fn compile(
        query: &TraceQuery,
        segment: &Segment,
    ) -> Result<Option<Self>, StoreError> {
        let schema = segment.schema()?;
        let compiler = Compiler {
            segment,
            schema: &schema,
        };
        let mut masks = Vec::with_capacity(query.conditions.len());
        for condition in &query.conditions {
            let Some(mask) = compiler.mask(condition)? else {
                return Ok(None);
            };
            masks.push(mask);
        }
        masks.sort_by_key(|mask| !matches!(mask, Mask::Row(..)));
        Ok(Some(Self {
            schema,
            file: None,
            masks,
        }))
    }

    /// Opens the segment's file once per query.
    pub(crate) fn file(&mut self, segment: &Segment) -> Result<Arc<File>, StoreError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let file = segment.file()?;
        self.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Returns the traces with a matching span in a block, each with the latest start of such a span.
    pub(crate) fn matching_traces(
        &self,
        segment: &Segment,
        file: &File,
        block: u32,
        matching: Matching,
    ) -> Result<Vec<(u128, u64)>, StoreError> {
        let Some(found) = self.matching(segment, file, block, matching)? else {
            return Ok(Vec::new());
        };
        let (ids, index) = found.block.reader.traces()?;
        let mut latest: Vec<Option<u64>> = vec![None; ids.len()];
        for row in found.rows {
            let latest = &mut latest[index[row as usize] as usize];
            *latest = (*latest).max(Some(found.starts[row as usize]));
        }
        let traces = ids.into_iter().zip(latest);
        Ok(traces
            .filter_map(|(id, latest)| Some((id, latest?)))
            .collect())
    }

    pub(crate) fn matching_rows(
        &self,
        segment: &Segment,
        file: &File,
        block: u32,
        matching: Matching,
    ) -> Result<Vec<u32>, StoreError> {
        let found = self.matching(segment, file, block, matching)?;
        Ok(found.map_or_else(Vec::new, |found| found.rows))
    }

    /// Finds the matching rows of a block; `None` if no row matches.
    fn matching<'a>(
        &'a self,
        segment: &'a Segment,
        file: &'a File,
        block: u32,
        matching: Matching,
    ) -> Result<Option<Found<'a>>, StoreError> {
        let blocks = segment.blocks();
        let Some(meta) = blocks.get(block as usize) else {
            return Ok(None);
        };
        let path = &segment.place().path;
        let block = Block {
            reader: BlockReader::open(file, path, meta.offset, meta.header_bytes)?,
            schema: &self.schema,
        };
        if block.reader.header.written > matching.arrived_by {
            return Ok(None);
        }
        let mut rows = vec![true; meta.rows as usize];
        for mask in &self.masks {
            mask.keep(&block, &mut rows)?;
            if !rows.contains(&true) {
                return Ok(None);
            }
        }
        let starts = block.reader.row_numbers(PartKind::Starts)?;
        let is_in = |row: &u32| {
            let row = *row as usize;
            rows[row] && matching.starts.contains(UnixNanos::new(starts[row]))
        };
        let rows = (0..meta.rows).filter(is_in).collect();
        Ok(Some(Found {
            block,
            rows,
            starts,
        }))
    }
}

impl Compiler<'_> {
    /// Compiles a condition; `None` if no span of the segment can meet it.
    fn mask(&self, condition: &Condition) -> Result<Option<Mask>, StoreError> {
        let row = |part, test| Some(Mask::Row(part, test));
        Ok(match condition {
            Condition::Service(test) => self.resources(|r| test.matches_text(service_of(r)))?,
            Condition::Operation(test) => self.operation(test)?,
            Condition::Kind(kind) => row(
                PartKind::KindStatus,
                RowTest::Bits {
                    mask: 15,
                    value: u64::from(kind.as_otlp()),
                },
            ),
            Condition::Status(code) => row(
                PartKind::KindStatus,
                RowTest::Bits {
                    mask: !15,
                    value: u64::from(code.as_otlp()) << 4,
                },
            ),
            Condition::StatusMessage(test) => {
                Some(Mask::Text(PartKind::StatusMessages, test.clone()))
            }
            Condition::TraceState(test) => Some(Mask::Text(PartKind::TraceStates, test.clone())),
            Condition::Duration { min, max } => row(
                PartKind::Durations,
                RowTest::Duration {
                    min: *min,
                    max: *max,
                },
            ),
            Condition::Attribute { places, key, test } => self.attribute(places, key, test)?,
            Condition::Circuit(name) => self.on_span(BREAKER_NAME, name)?,
            Condition::Outcome(outcome) => self.on_span(BREAKER_OUTCOME, outcome.as_str())?,
            Condition::FallbackSucceeded => self.on_span(FALLBACK_OUTCOME, "success")?,
            Condition::Any(conditions) => {
                let mut masks = Vec::new();
                for condition in conditions {
                    masks.extend(self.mask(condition)?);
                }
                any_of(masks)
            }
        })
    }

    /// Selects the rows whose resource passes.
    fn resources(&self, passes: impl Fn(&[u8]) -> bool) -> Result<Option<Mask>, StoreError> {
        self.among(PartKind::Resources, List::Resources, passes)
    }

    fn operation(&self, test: &Test) -> Result<Option<Mask>, StoreError> {
        if let Test::Equals(name) = test {
            let name = self.segment.find(List::Names, name.as_bytes())?;
            let is = |name| Mask::Row(PartKind::Names, RowTest::Is(u64::from(name)));
            return Ok(name.map(is));
        }
        self.among(PartKind::Names, List::Names, |name| {
            test.matches_text(std::str::from_utf8(name).unwrap_or_default())
        })
    }

    fn on_span(&self, key: &str, text: &str) -> Result<Option<Mask>, StoreError> {
        self.attribute(&[Place::Span], key, &Test::Equals(text.to_owned()))
    }

    fn attribute(
        &self,
        places: &[Place],
        key: &str,
        test: &Test,
    ) -> Result<Option<Mask>, StoreError> {
        let mut masks = Vec::new();
        for place in places {
            match place {
                Place::Span => self.add_columns(key, test, &mut masks)?,
                Place::Resource => masks.extend(self.resources(|encoded| {
                    let resource = StoredResource::decode(encoded);
                    any_matches(resource.view().attributes.iter().copied(), key, test)
                })?),
                Place::Scope => masks.extend(self.scope(key, test)?),
                Place::Event => {
                    masks.push(Mask::Items(PartKind::Events, key.to_owned(), test.clone()))
                }
                Place::Link => {
                    masks.push(Mask::Items(PartKind::Links, key.to_owned(), test.clone()))
                }
            }
        }
        Ok(any_of(masks))
    }

    /// Adds a mask for each column of a key, and one for attributes beyond the column limits.
    fn add_columns(&self, key: &str, test: &Test, masks: &mut Vec<Mask>) -> Result<(), StoreError> {
        for (column, kind) in self.schema.columns_of(key) {
            if let Some(compiled) = ColumnTest::compile(kind, column, test, self.segment)? {
                masks.push(Mask::Column(column, compiled, test.clone()));
            }
        }
        if self.segment.totals().overflow_rows > 0 {
            masks.push(Mask::Overflow(key.to_owned(), test.clone()));
        }
        Ok(())
    }

    fn scope(&self, key: &str, test: &Test) -> Result<Option<Mask>, StoreError> {
        self.among(PartKind::Scopes, List::Scopes, |encoded| {
            let stored = StoredScope::decode(encoded);
            let scope = stored.view();
            let is_attribute = any_matches(scope.attributes.iter().copied(), key, test);
            is_attribute
                || match key {
                    SCOPE_NAME => test.matches_given(scope.name),
                    SCOPE_VERSION => test.matches_given(scope.version),
                    _ => false,
                }
        })
    }

    /// Selects the rows whose number passes; `None` if no number does.
    fn among(
        &self,
        part: PartKind,
        list: List,
        passes: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Mask>, StoreError> {
        let passing = self.segment.passing(list, passes)?;
        let any = passing.contains(&true);
        Ok(any.then_some(Mask::Row(part, RowTest::Among(passing))))
    }
}

/// Returns the union of masks; `None` without masks.
fn any_of(mut masks: Vec<Mask>) -> Option<Mask> {
    match masks.len() {
        0 | 1 => masks.pop(),
        _ => Some(Mask::Any(masks)),
    }
}

impl RowTest {
    #[inline]
    fn passes(&self, number: u64) -> bool {
        match self {
            Self::Is(wanted) => number == *wanted,
            Self::Among(passing) => passing.get(number as usize) == Some(&true),
            Self::Bits { mask, value } => number & mask == *value,
            Self::Duration { min, max } => {
                let duration = ints::from_ordered(number).max(0) as u64;
                (min..=max).contains(&&duration)
            }
        }
    }
}

impl Mask {
    /// Clears the rows that do not meet the condition.
    fn keep(&self, block: &Block<'_>, rows: &mut [bool]) -> Result<(), StoreError> {
        if let Self::Row(part, test) = self {
            let numbers = block.reader.row_numbers(*part)?;
            for (row, &number) in rows.iter_mut().zip(&numbers) {
                *row &= test.passes(number);
            }
            return Ok(());
        }
        let mut found = vec![false; rows.len()];
        self.mark(block, rows, &mut found)?;
        for (row, found) in rows.iter_mut().zip(found) {
            *row &= found;
        }
        Ok(())
    }

    /// Marks the rows that meet the condition; only rows in `rows` matter.
    fn mark(&self, block: &Block<'_>, rows: &[bool], found: &mut [bool]) -> Result<(), StoreError> {
        match self {
            Self::Row(part, test) => {
                let numbers = block.reader.row_numbers(*part)?;
                for (found, &number) in found.iter_mut().zip(&numbers) {
                    *found |= test.passes(number);
                }
            }
            Self::Column(column, compiled, test) => {
                compiled.mark(&block.reader, block.schema, *column, test, found)?;
            }
            Self::Overflow(key, test) => {
                block.mark_sparse(PartKind::Overflow, rows, found, |blob| {
                    let attributes = decode_attributes(&mut Reader::new(blob)).unwrap_or_default();
                    any_matches(attributes, key, test)
                })?
            }
            Self::Text(part, test) => block.mark_sparse(*part, rows, found, |text| {
                test.matches_given(std::str::from_utf8(text).unwrap_or_default())
            })?,
            Self::Items(part, key, test) => {
                let passes = match part {
                    PartKind::Events => event_matches,
                    _ => link_matches,
                };
                block.mark_sparse(*part, rows, found, |joined| {
                    unpack(joined).any(|message| passes(message, key, test))
                })?;
            }
            Self::Any(masks) => {
                for mask in masks {
                    mask.mark(block, rows, found)?;
                }
            }
        }
        Ok(())
    }
}

impl Block<'_> {
    /// Marks the rows whose value in a sparse column passes.
    fn mark_sparse(
        &self,
        part: PartKind,
        rows: &[bool],
        found: &mut [bool],
        passes: impl Fn(&[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let asked = |row: u32| rows.get(row as usize) == Some(&true);
        self.reader
            .visit_sparse(part, asked, usize::MAX, |row, value, _| {
                let found = &mut found[row as usize];
                *found = *found || passes(value);
                true
            })
    }
}

fn event_matches(message: &[u8], key: &str, test: &Test) -> bool {
    let is_key = |attribute: AttributeView<'_>| attribute.key == key;
    any_matches(event_attributes(message), key, test)
        || (key == EVENT_NAME
            && !event_attributes(message).any(is_key)
            && test.matches_given(event_head(message).1))
}

fn link_matches(message: &[u8], key: &str, test: &Test) -> bool {
    any_matches(link_attributes(message), key, test)
}

fn any_matches<'a>(
    attributes: impl IntoIterator<Item = AttributeView<'a>>,
    key: &str,
    test: &Test,
) -> bool {
    let mut of_key = attributes
        .into_iter()
        .filter(|attribute| attribute.key == key);
    of_key.any(|attribute| match attribute.value {
        ValueView::String(text) => test.matches_text(text),
        value => test.matches(&value_of_view(&value)),
    })
}
