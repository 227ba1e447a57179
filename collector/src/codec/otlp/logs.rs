//! Decodes an `ExportLogsServiceRequest` to log records, limited like spans and with secrets redacted.
//!
//! The request has the shape of a traces request, so resources and scopes are read by the same walk. Events of
//! circuits are separated from the other records, and not redacted: they are values that the circuits parse.

use std::sync::Arc;

use fusebox::semconv;
use opentelemetry::{SpanId, TraceId};

use super::repairs::replace_ill_formed;
use super::resource::{ResourceScratch, ScopeScratch};
use super::span::id;
use super::value::{Fault, KnownKeys, attribute, text, value};
use super::walk::{MAX_FUTURE_NANOS, each_body, read_head, repaired_head};
use super::wire::{Malformed, Reader, fixed32_key, fixed64_key, length_key, varint_key};
use super::{AttributeView, DecodeError, Limits, ValueView, decode, schema};
use crate::codec::redact;
use crate::model::{EVENT_NAME_KEY, LogRecord, Resource, Scope, Severity, UnixNanos, Value, cut};

const RESOURCE_LOGS: u32 = length_key(1);
const REQUEST_FIELDS: u32 = 0b10;

const TIME: u32 = fixed64_key(1);
const SEVERITY: u32 = varint_key(2);
const SEVERITY_TEXT: u32 = length_key(3);
const BODY: u32 = length_key(5);
const ATTRIBUTES: u32 = length_key(6);
const DROPPED_ATTRIBUTES: u32 = varint_key(7);
const FLAGS: u32 = fixed32_key(8);
const TRACE_ID: u32 = length_key(9);
const SPAN_ID: u32 = length_key(10);
const OBSERVED_TIME: u32 = fixed64_key(11);
const EVENT_NAME: u32 = length_key(12);
const RECORD_FIELDS: u32 = 0b1_1111_1110_1110;

/// Bytes of a record's body and attributes: a body and a stack trace at their limits.
const RECORD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the sender's severity text: syslog's longest has 13.
const SEVERITY_BYTES_MAX: usize = 64;

/// The names of records that are events of circuits.
const CIRCUIT_EVENTS: [&str; 3] = [
    semconv::EVENT_TRANSITION,
    semconv::EVENT_SETTINGS,
    semconv::EVENT_ENDED,
];

/// The log records of a request.
#[derive(Debug, Default)]
pub struct LogsRead {
    /// The records, in the order of the request, without events of circuits.
    pub records: Vec<LogRecord>,
    /// The events of circuits, in the order of the request, with the time that their instance gave them.
    pub events: Vec<LogRecord>,
    /// Number of records whose time is more than a day ahead; they are rejected.
    pub refused: u64,
    /// Number of texts, attributes and ids that a limit cut or dropped.
    pub truncated: u64,
    /// Number of strings in which ill-formed text was replaced by U+FFFD.
    pub replaced: u64,
}

/// Decodes every record of a request that arrived at `now`.
///
/// A record without a time gets the time of its observation, or of its arrival. A trace or span id of the
/// wrong length is removed. What exceeds `limits` is cut or dropped and counts as truncated. In text that is not
/// UTF-8, ill-formed sequences are replaced by U+FFFD and counted.
///
/// # Errors
/// `DecodeError::Protobuf` if the bytes are not such a message.
pub fn read_logs(request: &[u8], limits: &Limits, now: UnixNanos) -> Result<LogsRead, DecodeError> {
    let mut walk = Walk {
        limits,
        now,
        read: LogsRead::default(),
    };
    let mut reader = Reader::new(request);
    while let Some(key) = reader.key()? {
        match key {
            RESOURCE_LOGS => walk.resource_logs(reader.message()?)?,
            _ => reader.skip_unknown(key, REQUEST_FIELDS)?,
        }
    }
    Ok(walk.read)
}

struct Walk<'w> {
    limits: &'w Limits,
    now: UnixNanos,
    read: LogsRead,
}

impl Walk<'_> {
    fn resource_logs(&mut self, message: Reader<'_>) -> Result<(), Malformed> {
        let mut scratch = ResourceScratch::default();
        let (limits, mut cut) = (self.limits, 0);
        let head = read_head(message, |head| scratch.read(head, limits, &mut cut))?;
        let Some(schema_url) = head else {
            return Ok(());
        };
        scratch.set_schema_url(schema_url, limits, &mut cut);
        let mut resource = match scratch.invalid_utf8 {
            true => self.repaired_resource(message, schema_url)?,
            false => {
                self.read.truncated += cut;
                decode::resource(&scratch.view(limits))
            }
        };
        redact::attributes(&mut resource.attributes);
        let resource = Arc::new(resource);
        each_body(message, |body| self.scope_logs(body, &resource))
    }

    #[cold]
    fn repaired_resource(
        &mut self,
        message: Reader<'_>,
        url: &[u8],
    ) -> Result<Resource, Malformed> {
        let replaced = &mut self.read.replaced;
        let (head, url) = repaired_head(message, url, &schema::RESOURCE, replaced)?;
        let mut scratch = ResourceScratch::default();
        let (limits, cut) = (self.limits, &mut self.read.truncated);
        scratch.read(Reader::new(&head), limits, cut)?;
        scratch.set_schema_url(url.as_bytes(), limits, cut);
        Ok(decode::resource(&scratch.view(limits)))
    }

    fn scope_logs(
        &mut self,
        message: Reader<'_>,
        resource: &Arc<Resource>,
    ) -> Result<(), Malformed> {
        let mut scratch = ScopeScratch::default();
        let (limits, mut cut) = (self.limits, 0);
        let head = read_head(message, |head| scratch.read(head, limits, &mut cut))?;
        let Some(schema_url) = head else {
            return Ok(());
        };
        scratch.set_schema_url(schema_url, limits, &mut cut);
        let mut scope = match scratch.invalid_utf8 {
            true => self.repaired_scope(message, schema_url)?,
            false => {
                self.read.truncated += cut;
                decode::scope(&scratch.view())
            }
        };
        redact::attributes(&mut scope.attributes);
        let scope = Arc::new(scope);
        each_body(message, |body| self.record(body, resource, &scope))
    }

    #[cold]
    fn repaired_scope(&mut self, message: Reader<'_>, url: &[u8]) -> Result<Scope, Malformed> {
        let replaced = &mut self.read.replaced;
        let (head, url) = repaired_head(message, url, &schema::SCOPE, replaced)?;
        let mut scratch = ScopeScratch::default();
        let (limits, cut) = (self.limits, &mut self.read.truncated);
        scratch.read(Reader::new(&head), limits, cut)?;
        scratch.set_schema_url(url.as_bytes(), limits, cut);
        Ok(decode::scope(&scratch.view()))
    }

    fn record(
        &mut self,
        message: Reader<'_>,
        resource: &Arc<Resource>,
        scope: &Arc<Scope>,
    ) -> Result<(), Malformed> {
        let mut fields = Fields::default();
        fields.read(message, self.limits)?;
        if !fields.invalid_utf8 {
            self.take(fields, resource, scope);
            return Ok(());
        }
        let mut copy = Vec::new();
        self.read.replaced += replace_ill_formed(message.rest(), &schema::LOG_RECORD, &mut copy);
        let mut fields = Fields::default();
        fields.read(Reader::new(&copy), self.limits)?;
        self.take(fields, resource, scope);
        Ok(())
    }

    fn take(&mut self, fields: Fields<'_>, resource: &Arc<Resource>, scope: &Arc<Scope>) {
        let is_event = CIRCUIT_EVENTS.contains(&fields.event());
        let latest = self.now.get().saturating_add(MAX_FUTURE_NANOS);
        // The circuits themselves decide what they believe of the clock of an instance.
        if !is_event && fields.time.max(fields.observed) > latest {
            self.read.refused += 1;
            return;
        }
        self.read.truncated += fields.cut;
        let mut record = fields.into_record(self.now, resource, scope);
        if is_event {
            self.read.events.push(record);
            return;
        }
        redact::value(&mut record.body);
        redact::attributes(&mut record.attributes);
        self.read.records.push(record);
    }
}

/// A `LogRecord` being read; the last of repeated fields wins, as in proto3.
#[derive(Debug, Default)]
struct Fields<'a> {
    time: u64,
    observed: u64,
    severity: u64,
    severity_text: &'a str,
    event_name: &'a str,
    body: Option<Reader<'a>>,
    attributes: Vec<AttributeView<'a>>,
    dropped_attributes: u32,
    dropped_here: u32,
    flags: u32,
    trace_id: &'a [u8],
    span_id: &'a [u8],
    keys: KnownKeys<'a>,
    bytes: usize,
    cut: u64,
    body_value: Value,
    /// A text is not UTF-8, so the record must be read again from a repaired copy.
    invalid_utf8: bool,
}

impl<'a> Fields<'a> {
    fn read(&mut self, mut reader: Reader<'a>, limits: &Limits) -> Result<(), Malformed> {
        while let Some(key) = reader.key()? {
            match self.field(key, &mut reader, limits) {
                Ok(()) => {}
                Err(Fault::Malformed(malformed)) => return Err(malformed),
                Err(Fault::InvalidUtf8) => self.invalid_utf8 = true,
                Err(Fault::OverLimit) => {
                    self.cut += 1;
                    self.dropped_here = self.dropped_here.saturating_add(1);
                }
            }
        }
        self.check_ids();
        self.read_body(limits)
    }

    fn field(&mut self, key: u32, reader: &mut Reader<'a>, limits: &Limits) -> Result<(), Fault> {
        let cut = &mut self.cut;
        match key {
            ATTRIBUTES => self.attribute(reader.message()?, limits)?,
            TIME => self.time = reader.fixed64()?,
            OBSERVED_TIME => self.observed = reader.fixed64()?,
            SEVERITY => self.severity = reader.varint()?,
            SEVERITY_TEXT => self.severity_text = text(reader.bytes()?, SEVERITY_BYTES_MAX, cut)?,
            EVENT_NAME => self.event_name = text(reader.bytes()?, limits.name_bytes, cut)?,
            BODY => self.body = Some(reader.message()?),
            DROPPED_ATTRIBUTES => self.dropped_attributes = reader.varint()? as u32,
            FLAGS => self.flags = reader.fixed32()?,
            TRACE_ID => self.trace_id = reader.bytes()?,
            SPAN_ID => self.span_id = reader.bytes()?,
            _ => reader.skip_unknown(key, RECORD_FIELDS)?,
        }
        Ok(())
    }

    fn attribute(&mut self, message: Reader<'a>, limits: &Limits) -> Result<(), Fault> {
        let bytes = self.bytes + message.rest().len().min(limits.string_bytes);
        if self.attributes.len() >= limits.attributes || bytes > RECORD_BYTES_MAX {
            return Err(Fault::OverLimit);
        }
        let attribute = attribute(message, limits, &mut self.keys, &mut self.cut)?;
        self.attributes.push(attribute);
        self.bytes = bytes;
        Ok(())
    }

    /// Returns the event's name: a field since OTLP 1.5, an attribute before.
    fn event(&self) -> &'a str {
        let mut attributes = self.attributes.iter();
        let named = attributes.find(|attribute| attribute.key == EVENT_NAME_KEY);
        match named.map(|attribute| attribute.value) {
            Some(ValueView::String(name)) if self.event_name.is_empty() => name,
            _ => self.event_name,
        }
    }

    /// Counts ids of the wrong length as truncated; they are absent from the record, as empty and zero ones are.
    fn check_ids(&mut self) {
        let is_wrong = |id: &[u8], length: usize| !id.is_empty() && id.len() != length;
        self.cut += u64::from(is_wrong(self.trace_id, 16)) + u64::from(is_wrong(self.span_id, 8));
    }

    /// Reads the body; a list or map that is too large is kept as truncated text.
    fn read_body(&mut self, limits: &Limits) -> Result<(), Malformed> {
        let Some(body) = self.body else {
            return Ok(());
        };
        self.body_value = match value(body, limits, &mut self.cut) {
            Ok(view) => decode::value_of_view(&view),
            Err(Fault::Malformed(malformed)) => return Err(malformed),
            Err(Fault::InvalidUtf8) => {
                self.invalid_utf8 = true;
                Value::Empty
            }
            Err(Fault::OverLimit) => {
                self.cut += 1;
                let text = decode::value(body.rest()).to_string();
                Value::String(cut(&text, limits.string_bytes).to_owned())
            }
        };
        Ok(())
    }

    fn into_record(
        self,
        now: UnixNanos,
        resource: &Arc<Resource>,
        scope: &Arc<Scope>,
    ) -> LogRecord {
        let times = [self.time, self.observed, now.get()];
        let time = times.into_iter().find(|time| *time > 0).unwrap_or_default();
        LogRecord {
            id: 0,
            time: UnixNanos::new(time),
            observed: UnixNanos::new(self.observed),
            severity: Severity::from_otlp(self.severity),
            severity_text: self.severity_text.to_owned(),
            body: self.body_value,
            event_name: self.event_name.to_owned(),
            attributes: decode::attributes_to_values(&self.attributes),
            dropped_attributes_count: self.dropped_attributes,
            dropped_here: self.dropped_here,
            flags: self.flags,
            trace_id: id(self.trace_id).map(TraceId::from_bytes),
            span_id: id(self.span_id).map(SpanId::from_bytes),
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
        }
    }
}
