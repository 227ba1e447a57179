//! The columns of a log block: deduplicated resources, scopes and words, then one column per field in row
//! order.
//!
//! Narrow columns come first, so that a search selects rows by times, severities and ids before building
//! records. Invalid bytes end the reading and never panic.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use crate::codec::otlp::decode;
use crate::codec::otlp::encode::protobuf;
use crate::model::{LogRecord, Resource, Scope, Severity, UnixNanos, Value};
use crate::store::bytes::{Reader, put_bytes, put_varint};
use crate::store::hash::Seed;

/// Rows that a block may claim; writers stay far below.
const ROWS_MAX: usize = 1 << 16;
/// Shared values that a block may claim: at most three per row.
const SHARED_MAX: usize = 4 * ROWS_MAX;

/// Hash of a record's content, which identifies a record that was sent again.
pub(super) fn content_hash(record: &LogRecord) -> u64 {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, record.service().as_bytes());
    put_bytes(&mut bytes, record.resource.instance_id.as_bytes());
    put_bytes(&mut bytes, record.scope.name.as_bytes());
    put_bytes(&mut bytes, record.event_name.as_bytes());
    bytes.extend(trace_bytes(record.trace_id));
    bytes.extend(span_bytes(record.span_id));
    put_varint(&mut bytes, record.observed.get());
    bytes.push(record.severity.as_otlp());
    put_value(&mut bytes, &record.body);
    put_attributes(&mut bytes, &mut Words::default(), &record.attributes);
    for (key, _) in &record.attributes {
        put_bytes(&mut bytes, key.as_bytes());
    }
    Seed::fixed(1).hash(&bytes)
}

#[derive(Debug, Default)]
struct Words<'a>(HashMap<&'a str, u64>, Vec<&'a str>);

impl<'a> Words<'a> {
    fn number(&mut self, word: &'a str) -> u64 {
        let Self(numbers, words) = self;
        *numbers.entry(word).or_insert_with(|| {
            words.push(word);
            words.len() as u64 - 1
        })
    }
}

/// Deduplicated values; neighbouring records mostly share one.
#[derive(Debug)]
struct Shared<'a, T>(Vec<&'a Arc<T>>);

impl<'a, T: PartialEq> Shared<'a, T> {
    fn number(&mut self, one: &'a Arc<T>) -> u64 {
        let found = self.0.iter().rposition(|other| Arc::ptr_eq(other, one));
        let found = found.or_else(|| {
            // A request has few of them, so compare only with the latest ones.
            let compared = self.0.len().saturating_sub(COMPARED_MAX);
            let place = self.0[compared..].iter().rposition(|other| *other == one);
            place.map(|place| compared + place)
        });
        found.unwrap_or_else(|| {
            self.0.push(one);
            self.0.len() - 1
        }) as u64
    }
}

/// Number of shared values that a new one is compared with.
const COMPARED_MAX: usize = 64;

pub(super) fn encode(records: &[LogRecord]) -> Vec<u8> {
    let mut words = Words::default();
    let (mut resources, mut scopes) = (Shared(Vec::new()), Shared(Vec::new()));
    let mut rows = Vec::new();
    put_heads(&mut rows, records);
    for record in records {
        let observed = zigzag(record.observed.get().wrapping_sub(record.time.get()));
        let numbers = [
            observed,
            resources.number(&record.resource),
            scopes.number(&record.scope),
            words.number(&record.severity_text),
            words.number(&record.event_name),
            u64::from(record.flags),
            u64::from(record.dropped_attributes_count),
            u64::from(record.dropped_here),
        ];
        numbers
            .into_iter()
            .for_each(|number| put_varint(&mut rows, number));
    }
    for record in records {
        let mut details = Vec::new();
        put_value(&mut details, &record.body);
        put_attributes(&mut details, &mut words, &record.attributes);
        put_bytes(&mut rows, &details);
    }
    let mut out = Vec::with_capacity(rows.len() + 1024);
    put_list(&mut out, &resources.0, put_resource);
    put_list(&mut out, &scopes.0, put_scope);
    put_list(&mut out, &words.1, |out, word| {
        put_bytes(out, word.as_bytes())
    });
    out.extend_from_slice(&rows);
    out
}

/// Writes the columns that a search reads first.
fn put_heads(out: &mut Vec<u8>, records: &[LogRecord]) {
    put_varint(out, records.len() as u64);
    let mut before = 0;
    for record in records {
        put_varint(out, zigzag(record.time.get().wrapping_sub(before)));
        before = record.time.get();
    }
    out.extend(records.iter().map(|record| record.severity.as_otlp()));
    out.extend(records.iter().flat_map(|record| record.id.to_le_bytes()));
    out.extend(
        records
            .iter()
            .flat_map(|record| trace_bytes(record.trace_id)),
    );
    out.extend(records.iter().flat_map(|record| span_bytes(record.span_id)));
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_varint(out, items.len() as u64);
    items.iter().for_each(|item| put(out, item));
}

fn put_resource(out: &mut Vec<u8>, resource: &&Arc<Resource>) {
    put_bytes(out, resource.service_name.as_bytes());
    put_bytes(out, resource.instance_id.as_bytes());
    put_bytes(out, resource.schema_url.as_bytes());
    put_varint(out, u64::from(resource.dropped_attributes_count));
    put_named(out, &resource.attributes);
    put_list(out, &resource.entities, |out, entity| {
        let mut message = Vec::new();
        protobuf::entity(&mut message, entity);
        put_bytes(out, &message);
    });
}

fn put_scope(out: &mut Vec<u8>, scope: &&Arc<Scope>) {
    put_bytes(out, scope.name.as_bytes());
    put_bytes(out, scope.version.as_bytes());
    put_bytes(out, scope.schema_url.as_bytes());
    put_varint(out, u64::from(scope.dropped_attributes_count));
    put_named(out, &scope.attributes);
}

fn put_named(out: &mut Vec<u8>, attributes: &[(String, Value)]) {
    put_list(out, attributes, |out, (key, value)| {
        put_bytes(out, key.as_bytes());
        put_value(out, value);
    });
}

fn put_attributes<'a>(out: &mut Vec<u8>, words: &mut Words<'a>, attributes: &'a [(String, Value)]) {
    put_varint(out, attributes.len() as u64);
    for (key, value) in attributes {
        put_varint(out, words.number(key));
        put_value(out, value);
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut message = Vec::new();
    protobuf::value(&mut message, value);
    put_bytes(out, &message);
}

fn trace_bytes(id: Option<TraceId>) -> [u8; 16] {
    id.unwrap_or(TraceId::INVALID).to_bytes()
}

fn span_bytes(id: Option<SpanId>) -> [u8; 8] {
    id.unwrap_or(SpanId::INVALID).to_bytes()
}

/// Zigzag encoding of a wrapping difference, so that small ones of either sign take few bytes.
fn zigzag(difference: u64) -> u64 {
    difference << 1 ^ (difference.cast_signed() >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

/// The fields that a search reads before it builds a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) id: u64,
    pub(super) time: UnixNanos,
    pub(super) severity: Severity,
    pub(super) trace_id: Option<TraceId>,
    pub(super) span_id: Option<SpanId>,
}

/// The records of a block, decoded on demand.
#[derive(Debug)]
pub(super) struct Columns<'a> {
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
    words: Vec<&'a str>,
    pub(super) heads: Vec<Head>,
    rest: Reader<'a>,
}

impl<'a> Columns<'a> {
    /// Reads everything before the details of the records.
    pub(super) fn read(columns: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(columns);
        Some(Self {
            resources: list(&mut reader, resource)?,
            scopes: list(&mut reader, scope)?,
            words: list(&mut reader, |reader| reader.text())?,
            heads: heads(&mut reader)?,
            rest: reader,
        })
    }

    /// Builds the records that `wanted` selects by head and service and passes them to `visit`; `None` if the
    /// bytes are invalid.
    pub(super) fn visit<E>(
        &self,
        wanted: impl Fn(&Head, &str) -> bool,
        mut visit: impl FnMut(LogRecord) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        let mut narrow = self.rest;
        let mut details = self.rest;
        for _ in &self.heads {
            Numbers::read(&mut details)?;
        }
        for head in &self.heads {
            let numbers = Numbers::read(&mut narrow)?;
            let detail = details.bytes()?;
            let resource = self.resources.get(numbers.resource)?;
            if !wanted(head, &resource.service_name) {
                continue;
            }
            let record = self.record(head, &numbers, resource, detail)?;
            if let Err(error) = visit(record) {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }

    fn record(
        &self,
        head: &Head,
        numbers: &Numbers,
        resource: &Arc<Resource>,
        detail: &[u8],
    ) -> Option<LogRecord> {
        let mut detail = Reader::new(detail);
        let word = |number: usize| self.words.get(number).map(|word| (*word).to_owned());
        let body = decode::value(detail.bytes()?);
        let attributes = list(&mut detail, |reader| {
            let key = word(usize::try_from(reader.varint()?).ok()?)?;
            Some((key, decode::value(reader.bytes()?)))
        })?;
        Some(LogRecord {
            id: head.id,
            time: head.time,
            observed: UnixNanos::new(head.time.get().wrapping_add(numbers.observed)),
            severity: head.severity,
            severity_text: word(numbers.severity_text)?,
            body,
            event_name: word(numbers.event_name)?,
            attributes,
            dropped_attributes_count: numbers.dropped,
            dropped_here: numbers.dropped_here,
            flags: numbers.flags,
            trace_id: head.trace_id,
            span_id: head.span_id,
            resource: Arc::clone(resource),
            scope: Arc::clone(self.scopes.get(numbers.scope)?),
        })
    }
}

/// The numbers of a row that are not in its head.
struct Numbers {
    observed: u64,
    resource: usize,
    scope: usize,
    severity_text: usize,
    event_name: usize,
    flags: u32,
    dropped: u32,
    dropped_here: u32,
}

impl Numbers {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let observed = unzigzag(reader.varint()?);
        let mut index = || usize::try_from(reader.varint()?).ok();
        let (resource, scope, severity_text, event_name) = (index()?, index()?, index()?, index()?);
        Some(Self {
            observed,
            resource,
            scope,
            severity_text,
            event_name,
            flags: reader.varint_u32()?,
            dropped: reader.varint_u32()?,
            dropped_here: reader.varint_u32()?,
        })
    }
}

/// Decodes a block's columns and encodes the result again; for the fuzzer.
///
/// # Panics
/// When encoding changes the records.
pub(crate) fn fuzz_block(bytes: &[u8]) {
    let read = |columns: &[u8]| {
        let mut records = Vec::new();
        let visited = Columns::read(columns)?.visit(
            |_, _| true,
            |record| {
                records.push(record);
                Ok::<_, Infallible>(())
            },
        );
        visited.map(|_| records)
    };
    if let Some(records) = read(bytes) {
        let again = read(&encode(&records)).expect("what was written can be read");
        // Compared as text, so that NaN equals itself.
        assert_eq!(format!("{again:?}"), format!("{records:?}"));
    }
}

fn list<'a, T>(
    reader: &mut Reader<'a>,
    mut read: impl FnMut(&mut Reader<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let length = usize::try_from(reader.varint()?).ok()?;
    if length > SHARED_MAX {
        return None;
    }
    (0..length).map(|_| read(reader)).collect()
}

fn heads(reader: &mut Reader<'_>) -> Option<Vec<Head>> {
    let length = usize::try_from(reader.varint()?)
        .ok()
        .filter(|n| *n <= ROWS_MAX)?;
    let mut time = 0_u64;
    let mut times = Vec::new();
    for _ in 0..length {
        time = time.wrapping_add(unzigzag(reader.varint()?));
        times.push(UnixNanos::new(time));
    }
    let severities = reader.take(length)?;
    let (ids, _) = reader.take(8 * length)?.as_chunks::<8>();
    let (traces, _) = reader.take(16 * length)?.as_chunks::<16>();
    let (spans, _) = reader.take(8 * length)?.as_chunks::<8>();
    let head = |row: usize| Head {
        id: u64::from_le_bytes(ids[row]),
        time: times[row],
        severity: Severity::from_otlp(u64::from(severities[row])),
        trace_id: some_trace(traces[row]),
        span_id: some_span(spans[row]),
    };
    Some((0..length).map(head).collect())
}

fn some_trace(bytes: [u8; 16]) -> Option<TraceId> {
    let id = TraceId::from_bytes(bytes);
    (id != TraceId::INVALID).then_some(id)
}

fn some_span(bytes: [u8; 8]) -> Option<SpanId> {
    let id = SpanId::from_bytes(bytes);
    (id != SpanId::INVALID).then_some(id)
}

fn resource(reader: &mut Reader<'_>) -> Option<Arc<Resource>> {
    Some(Arc::new(Resource {
        service_name: reader.text()?.to_owned(),
        instance_id: reader.text()?.to_owned(),
        schema_url: reader.text()?.to_owned(),
        dropped_attributes_count: reader.varint_u32()?,
        attributes: list(reader, named)?,
        entities: list(reader, |reader| Some(decode::entity(reader.bytes()?)))?,
    }))
}

fn scope(reader: &mut Reader<'_>) -> Option<Arc<Scope>> {
    Some(Arc::new(Scope {
        name: reader.text()?.to_owned(),
        version: reader.text()?.to_owned(),
        schema_url: reader.text()?.to_owned(),
        dropped_attributes_count: reader.varint_u32()?,
        attributes: list(reader, named)?,
    }))
}

fn named(reader: &mut Reader<'_>) -> Option<(String, Value)> {
    let key = reader.text()?.to_owned();
    Some((key, decode::value(reader.bytes()?)))
}
