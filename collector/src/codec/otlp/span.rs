//! One `Span`: its fields are read into reusable scratch space, checked, and passed as a view.

use super::item::{self, Checked, ItemKind};
use super::value::{Fault, KnownKeys, attribute, text};
use super::wire::{Malformed, Reader, fixed32_key, fixed64_key, length_key, varint_key};
use super::{AttributeView, Limits, SpanRejection, SpanView, ValueView};
use crate::model::{ARRIVED, Dropped};

const TRACE_ID: u32 = length_key(1);
const SPAN_ID: u32 = length_key(2);
const TRACE_STATE: u32 = length_key(3);
const PARENT_SPAN_ID: u32 = length_key(4);
const NAME: u32 = length_key(5);
const KIND: u32 = varint_key(6);
const START: u32 = fixed64_key(7);
const END: u32 = fixed64_key(8);
const ATTRIBUTES: u32 = length_key(9);
const DROPPED_ATTRIBUTES: u32 = varint_key(10);
const EVENTS: u32 = length_key(11);
const DROPPED_EVENTS: u32 = varint_key(12);
const LINKS: u32 = length_key(13);
const DROPPED_LINKS: u32 = varint_key(14);
const STATUS: u32 = length_key(15);
const FLAGS: u32 = fixed32_key(16);
const SPAN_FIELDS: u32 = (1 << 17) - 2;

const STATUS_MESSAGE: u32 = length_key(2);
const STATUS_CODE: u32 = varint_key(3);
const STATUS_FIELDS: u32 = 0b1100;

/// The highest numbers of OTLP's `SpanKind` and `StatusCode`; higher ones are read as unset.
const LAST_KIND: u64 = 5;
const LAST_STATUS_CODE: u64 = 2;

#[derive(Debug, Default)]
struct Items<'a> {
    kept: Vec<&'a [u8]>,
    /// Items cut by a limit, by their index in `kept`; rare, so these may allocate.
    rewritten: Vec<(usize, Vec<u8>)>,
    dropped: u32,
}

impl<'a> Items<'a> {
    fn clear(&mut self) {
        self.kept.clear();
        self.rewritten.clear();
        self.dropped = 0;
    }

    fn read(
        &mut self,
        kind: ItemKind,
        max: usize,
        reader: Reader<'a>,
        limits: &Limits,
        (keys, cut): (&mut KnownKeys<'a>, &mut u64),
    ) -> Result<(), Fault> {
        let checked = if self.kept.len() < max {
            item::check(kind, reader, limits, keys)?
        } else {
            Checked::Dropped
        };
        match checked {
            Checked::Whole => self.kept.push(reader.rest()),
            Checked::Cut(bytes) => {
                *cut += 1;
                self.rewritten.push((self.kept.len(), bytes));
                self.kept.push(reader.rest());
            }
            Checked::Dropped => {
                *cut += 1;
                self.dropped = self.dropped.saturating_add(1);
            }
        }
        Ok(())
    }

    /// Returns the items including rewritten ones; `merged` is the buffer for these.
    fn view<'v>(&'v self, merged: &'v mut Vec<&'v [u8]>) -> &'v [&'v [u8]] {
        if self.rewritten.is_empty() {
            return &self.kept;
        }
        merged.extend_from_slice(&self.kept);
        for (index, bytes) in &self.rewritten {
            merged[*index] = bytes;
        }
        merged
    }
}

#[derive(Debug, Default)]
pub(super) struct SpanScratch<'a> {
    fields: Fields<'a>,
    attributes: Vec<AttributeView<'a>>,
    keys: KnownKeys<'a>,
    attributes_over: u32,
    events: Items<'a>,
    links: Items<'a>,
    pub(super) cut: u64,
    /// A string is not UTF-8, so the span must be read again from a repaired copy.
    pub(super) invalid_utf8: bool,
}

/// The fields that occur once; the last of repeated ones wins, as in proto3.
#[derive(Debug, Default)]
struct Fields<'a> {
    trace_id: &'a [u8],
    span_id: &'a [u8],
    parent_span_id: &'a [u8],
    trace_state: &'a str,
    flags: u32,
    name: &'a str,
    kind: u8,
    start: u64,
    end: u64,
    status_code: u8,
    status_message: &'a str,
    dropped_attributes: u32,
    dropped_events: u32,
    dropped_links: u32,
}

impl<'a> SpanScratch<'a> {
    /// Reads a `Span`, replacing the previous one.
    pub(super) fn read(
        &mut self,
        mut reader: Reader<'a>,
        limits: &Limits,
    ) -> Result<(), Malformed> {
        self.clear();
        while let Some(key) = reader.key()? {
            match self.field(key, &mut reader, limits) {
                Ok(()) => {}
                Err(Fault::Malformed(malformed)) => return Err(malformed),
                Err(Fault::InvalidUtf8) => self.invalid_utf8 = true,
                Err(Fault::OverLimit) => {
                    self.cut += 1;
                    self.attributes_over = self.attributes_over.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn field(&mut self, key: u32, reader: &mut Reader<'a>, limits: &Limits) -> Result<(), Fault> {
        let fields = &mut self.fields;
        let cut = &mut self.cut;
        match key {
            ATTRIBUTES if self.attributes.len() >= limits.attributes => {
                reader.skip(key)?;
                return Err(Fault::OverLimit);
            }
            ATTRIBUTES => {
                let attribute = attribute(reader.message()?, limits, &mut self.keys, cut)?;
                self.attributes.push(attribute);
            }
            TRACE_ID => fields.trace_id = reader.bytes()?,
            SPAN_ID => fields.span_id = reader.bytes()?,
            PARENT_SPAN_ID => fields.parent_span_id = reader.bytes()?,
            NAME => fields.name = text(reader.bytes()?, limits.name_bytes, cut)?,
            KIND => fields.kind = small(reader.varint()?, LAST_KIND),
            START => fields.start = reader.fixed64()?,
            END => fields.end = reader.fixed64()?,
            STATUS => fields.status(reader.message()?, limits, cut)?,
            FLAGS => fields.flags = reader.fixed32()?,
            EVENTS => {
                let (events, scratch) = (&mut self.events, (&mut self.keys, cut));
                events.read(
                    item::EVENT,
                    limits.events,
                    reader.message()?,
                    limits,
                    scratch,
                )?;
            }
            LINKS => {
                let (links, scratch) = (&mut self.links, (&mut self.keys, cut));
                links.read(item::LINK, limits.links, reader.message()?, limits, scratch)?;
            }
            TRACE_STATE => fields.trace_state = text(reader.bytes()?, limits.name_bytes, cut)?,
            DROPPED_ATTRIBUTES => fields.dropped_attributes = reader.varint()? as u32,
            DROPPED_EVENTS => fields.dropped_events = reader.varint()? as u32,
            DROPPED_LINKS => fields.dropped_links = reader.varint()? as u32,
            _ => reader.skip_unknown(key, SPAN_FIELDS)?,
        }
        Ok(())
    }

    /// Sets the times of a span without a start, if `arrival` is given: it ends at its arrival, and its end
    /// field is its duration.
    pub(super) fn end_with(&mut self, arrival: Option<u64>, limits: &Limits) {
        let Some(arrival) = arrival.filter(|_| self.fields.start == 0) else {
            return;
        };
        // One longer than the time since 1970 gets no start, and is rejected.
        self.fields.start = arrival.saturating_sub(self.fields.end);
        if self.fields.end > 0 {
            self.fields.end = arrival;
        }
        self.mark_arrived(limits);
    }

    fn mark_arrived(&mut self, limits: &Limits) {
        if self.attributes.len() >= limits.attributes && self.attributes.pop().is_some() {
            self.cut += 1;
            self.attributes_over = self.attributes_over.saturating_add(1);
        }
        self.attributes.push(AttributeView {
            key: ARRIVED,
            value: ValueView::Bool(true),
        });
    }

    /// Calls `visit` with the span, unless it must be rejected.
    pub(super) fn visit(
        &mut self,
        latest: u64,
        visit: impl FnOnce(&SpanView<'_>),
    ) -> Result<(), SpanRejection> {
        let fields = &self.fields;
        let trace_id = id(fields.trace_id).ok_or(SpanRejection::InvalidTraceId)?;
        let span_id = id(fields.span_id).ok_or(SpanRejection::InvalidSpanId)?;
        if fields.start == 0 || fields.start.max(fields.end) > latest {
            return Err(SpanRejection::TimeOutOfRange);
        }
        let parent_span_id = id(fields.parent_span_id).unwrap_or_default();
        // An empty or zero parent id marks a root; any other length counts as truncated.
        if !matches!(fields.parent_span_id.len(), 0 | 8) {
            self.cut += 1;
        }
        let (mut events, mut links) = (Vec::new(), Vec::new());
        visit(&SpanView {
            trace_id,
            span_id,
            parent_span_id,
            trace_state: fields.trace_state,
            flags: fields.flags,
            name: fields.name,
            kind: fields.kind,
            start: fields.start,
            end: fields.end,
            status_code: fields.status_code,
            status_message: fields.status_message,
            attributes: &self.attributes,
            events: self.events.view(&mut events),
            links: self.links.view(&mut links),
            dropped_attributes_count: fields.dropped_attributes,
            dropped_events_count: fields.dropped_events,
            dropped_links_count: fields.dropped_links,
            dropped_here: Dropped {
                attributes: self.attributes_over,
                events: self.events.dropped,
                links: self.links.dropped,
            },
        });
        Ok(())
    }

    fn clear(&mut self) {
        self.fields = Fields::default();
        self.attributes.clear();
        self.attributes_over = 0;
        self.events.clear();
        self.links.clear();
        self.cut = 0;
        self.invalid_utf8 = false;
    }
}

impl<'a> Fields<'a> {
    fn status(
        &mut self,
        mut reader: Reader<'a>,
        limits: &Limits,
        cut: &mut u64,
    ) -> Result<(), Fault> {
        while let Some(key) = reader.key()? {
            match key {
                STATUS_MESSAGE => {
                    self.status_message = text(reader.bytes()?, limits.string_bytes, cut)?;
                }
                STATUS_CODE => self.status_code = small(reader.varint()?, LAST_STATUS_CODE),
                _ => reader.skip_unknown(key, STATUS_FIELDS)?,
            }
        }
        Ok(())
    }
}

/// Returns the id unless its length is wrong or it is all zero.
pub(super) fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let id = <[u8; N]>::try_from(bytes).ok()?;
    (id != [0; N]).then_some(id)
}

/// Returns an enum's number, 0 if unknown.
fn small(number: u64, last: u64) -> u8 {
    if number <= last { number as u8 } else { 0 }
}
