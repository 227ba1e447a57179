//! The walk over an `ExportTraceServiceRequest`: resources, scopes and spans in the order that a visitor
//! needs.
//!
//! Protobuf fields may come in any order, so the resource is read before its scopes are walked. This takes an extra pass
//! over the top level of the message, which only skips by lengths. A scope is corrected if more of it follows its spans.

use std::borrow::Cow;

use super::repairs::replace_ill_formed;
use super::resource::{ResourceScratch, ScopeScratch};
use super::schema::{self, Message};
use super::span::SpanScratch;
use super::wire::{Malformed, Reader, length_key};
use super::{Accepted, DecodeError, Limits, Repairs, ScopeView, SpanRejection, SpanVisitor};
use crate::model::{DAY, nanos};

const RESOURCE_SPANS: u32 = length_key(1);
const REQUEST_FIELDS: u32 = 0b10;

/// Fields of `ResourceSpans` and `ScopeSpans`, which have the same shape: head, body, schema URL.
const HEAD: u32 = length_key(1);
const BODY: u32 = length_key(2);
const SCHEMA_URL: u32 = length_key(3);
/// `ResourceSpans.instrumentation_library_spans` of OTLP before 0.15, in the same shape as the body.
const OLD_BODY: u32 = length_key(1000);
const SHARED_FIELDS: u32 = 0b1110;

/// How far in the future a span may be: clocks of phones and laptops with a wrong time zone are off by hours,
/// rarely by more. The past is not limited here, because retention is up to the store.
pub const MAX_FUTURE_NANOS: u64 = nanos(DAY);

/// Visits every span of an `ExportTraceServiceRequest`.
///
/// A span is rejected alone, without the others, when
/// - its trace id is not 16 bytes or all zero, or its span id is not 8 bytes or all zero;
/// - its start is 0, or its start or end lies more than a day after `now`; an end before the start
///   is accepted as it is.
///
/// In a name, key or string that is not UTF-8, ill-formed sequences are replaced by U+FFFD and counted.
///
/// A parent id of a wrong length makes the span a root and counts as truncated. What exceeds `limits` is cut
/// or dropped and counts as truncated; what is cut off or dropped is not checked further.
///
/// # Errors
/// `DecodeError::Protobuf` where the bytes are no such message; the visitor may have seen spans by then.
pub fn walk_traces(
    request: &[u8],
    limits: &Limits,
    now: u64,
    visitor: &mut impl SpanVisitor,
) -> Result<Accepted, DecodeError> {
    walk(request, limits, (now, None), visitor)
}

/// As [`walk_traces`], for senders that may omit times: a span without a start ends at its arrival at `now`,
/// has the attribute `fusebox.arrived`, and its end field is its duration in nanoseconds.
///
/// # Errors
/// As [`walk_traces`].
pub fn walk_timeless(
    request: &[u8],
    limits: &Limits,
    now: u64,
    visitor: &mut impl SpanVisitor,
) -> Result<Accepted, DecodeError> {
    walk(request, limits, (now, Some(now)), visitor)
}

fn walk(
    request: &[u8],
    limits: &Limits,
    (now, arrival): (u64, Option<u64>),
    visitor: &mut impl SpanVisitor,
) -> Result<Accepted, DecodeError> {
    let mut walk = Walk {
        limits,
        latest: now.saturating_add(MAX_FUTURE_NANOS),
        arrival,
        visitor,
        span: SpanScratch::default(),
        accepted: 0,
        rejected: [0; REJECTIONS.len()],
        truncated: 0,
        replaced: 0,
    };
    walk.request(Reader::new(request))?;
    Ok(walk.accepted())
}

/// Every reason, in the order of counting and reporting.
const REJECTIONS: [SpanRejection; 3] = [
    SpanRejection::InvalidTraceId,
    SpanRejection::InvalidSpanId,
    SpanRejection::TimeOutOfRange,
];

struct Walk<'a, 'w, V> {
    limits: &'w Limits,
    latest: u64,
    /// The end of a span without a start; `None` rejects such spans.
    arrival: Option<u64>,
    visitor: &'w mut V,
    span: SpanScratch<'a>,
    accepted: u64,
    rejected: [u64; REJECTIONS.len()],
    truncated: u64,
    replaced: u64,
}

impl<'a, V: SpanVisitor> Walk<'a, '_, V> {
    fn request(&mut self, mut reader: Reader<'a>) -> Result<(), Malformed> {
        let mut resource = ResourceScratch::default();
        while let Some(key) = reader.key()? {
            match key {
                RESOURCE_SPANS => self.resource_spans(reader.message()?, &mut resource)?,
                _ => reader.skip_unknown(key, REQUEST_FIELDS)?,
            }
        }
        Ok(())
    }

    fn resource_spans(
        &mut self,
        message: Reader<'a>,
        resource: &mut ResourceScratch<'a>,
    ) -> Result<(), Malformed> {
        resource.clear();
        let limits = self.limits;
        let mut cut = 0;
        let head = read_head(message, |head| resource.read(head, limits, &mut cut))?;
        let Some(schema_url) = head else {
            return Ok(());
        };
        resource.set_schema_url(schema_url, limits, &mut cut);
        if resource.invalid_utf8 {
            self.repaired_resource(message, schema_url)?;
        } else {
            self.truncated += cut;
            self.visitor.resource(&resource.view(limits));
        }
        each_body(message, |body| self.scope_spans(body))
    }

    fn scope_spans(&mut self, message: Reader<'a>) -> Result<(), Malformed> {
        if V::TAKES_SCOPES_AGAIN {
            self.scope_with_spans(message)
        } else {
            self.scope_before_spans(message)
        }
    }

    fn scope_before_spans(&mut self, message: Reader<'a>) -> Result<(), Malformed> {
        let mut scope = ScopeScratch::default();
        let (limits, mut cut) = (self.limits, 0);
        let head = read_head(message, |head| scope.read(head, limits, &mut cut))?;
        let Some(schema_url) = head else {
            return Ok(());
        };
        self.visit_scope(message, (&mut scope, schema_url), cut, V::scope)?;
        each_body(message, |body| self.one_span(body))
    }

    /// Visits spans in the order in which they stand: the scope before them is nearly always all of it. Where its schema
    /// URL, or more of it, follows, the scope is visited again.
    fn scope_with_spans(&mut self, message: Reader<'a>) -> Result<(), Malformed> {
        let (mut scope, mut schema_url, mut cut) = (ScopeScratch::default(), &[][..], 0);
        let (mut rest, mut is_begun, mut is_whole) = (message, false, true);
        let mut counted = (0, 0);
        while let Some(key) = rest.key()? {
            match key {
                HEAD => scope.read(rest.message()?, self.limits, &mut cut)?,
                SCHEMA_URL => schema_url = rest.bytes()?,
                BODY | OLD_BODY if is_begun => {
                    self.one_span(rest.message()?)?;
                    continue;
                }
                BODY | OLD_BODY if scope.invalid_utf8 => return self.scope_before_spans(message),
                BODY | OLD_BODY => {
                    is_begun = true;
                    let before = (self.truncated, self.replaced);
                    self.visit_scope(message, (&mut scope, schema_url), cut, V::scope)?;
                    counted = (self.truncated - before.0, self.replaced - before.1);
                    self.one_span(rest.message()?)?;
                    continue;
                }
                _ => rest.skip_unknown(key, SHARED_FIELDS)?,
            }
            is_whole &= !is_begun;
        }
        if is_whole {
            return Ok(());
        }
        self.truncated -= counted.0;
        self.replaced -= counted.1;
        self.visit_scope(message, (&mut scope, schema_url), cut, V::scope_again)
    }

    fn visit_scope(
        &mut self,
        message: Reader<'a>,
        (scope, schema_url): (&mut ScopeScratch<'a>, &'a [u8]),
        mut cut: u64,
        visit: fn(&mut V, &ScopeView<'_>),
    ) -> Result<(), Malformed> {
        scope.set_schema_url(schema_url, self.limits, &mut cut);
        if scope.invalid_utf8 {
            return self.repaired_scope(message, schema_url, visit);
        }
        self.truncated += cut;
        visit(self.visitor, &scope.view());
        Ok(())
    }

    fn one_span(&mut self, message: Reader<'a>) -> Result<(), Malformed> {
        self.span.read(message, self.limits)?;
        if self.span.invalid_utf8 {
            return self.repaired_span(message);
        }
        let visitor = &mut *self.visitor;
        self.span.end_with(self.arrival, self.limits);
        let visited = self.span.visit(self.latest, |view| visitor.span(view));
        self.count(visited, self.span.cut, 0);
        Ok(())
    }

    #[cold]
    fn repaired_resource(&mut self, message: Reader<'a>, url: &[u8]) -> Result<(), Malformed> {
        let (head, url) = repaired_head(message, url, &schema::RESOURCE, &mut self.replaced)?;
        let mut resource = ResourceScratch::default();
        let cut = &mut self.truncated;
        resource.read(Reader::new(&head), self.limits, cut)?;
        resource.set_schema_url(url.as_bytes(), self.limits, cut);
        self.visitor.resource(&resource.view(self.limits));
        Ok(())
    }

    #[cold]
    fn repaired_scope(
        &mut self,
        message: Reader<'a>,
        url: &[u8],
        visit: fn(&mut V, &ScopeView<'_>),
    ) -> Result<(), Malformed> {
        let (head, url) = repaired_head(message, url, &schema::SCOPE, &mut self.replaced)?;
        let mut scope = ScopeScratch::default();
        let cut = &mut self.truncated;
        scope.read(Reader::new(&head), self.limits, cut)?;
        scope.set_schema_url(url.as_bytes(), self.limits, cut);
        visit(self.visitor, &scope.view());
        Ok(())
    }

    #[cold]
    fn repaired_span(&mut self, message: Reader<'a>) -> Result<(), Malformed> {
        let mut copy = Vec::new();
        let replaced = replace_ill_formed(message.rest(), &schema::SPAN, &mut copy);
        let mut span = SpanScratch::default();
        span.read(Reader::new(&copy), self.limits)?;
        span.end_with(self.arrival, self.limits);
        let visitor = &mut *self.visitor;
        let visited = span.visit(self.latest, |view| visitor.span(view));
        self.count(visited, span.cut, replaced);
        Ok(())
    }

    fn count(&mut self, visited: Result<(), SpanRejection>, cut: u64, replaced: u64) {
        match visited {
            Ok(()) => {
                self.accepted += 1;
                self.truncated += cut;
                self.replaced += replaced;
            }
            Err(rejection) => self.rejected[rejection as usize] += 1,
        }
    }

    fn accepted(&self) -> Accepted {
        Accepted {
            points_not_kept: 0,
            records_not_kept: 0,
            records_refused: 0,
            spans: self.accepted,
            rejected: REJECTIONS
                .into_iter()
                .zip(self.rejected)
                .filter(|(_, count)| *count > 0)
                .collect(),
            truncated: self.truncated,
            repairs: Repairs {
                replaced: self.replaced,
                ..Repairs::default()
            },
        }
    }
}

/// Reads the resource or scope of a message, wherever it is; returns the schema URL if the message has a
/// body.
pub(super) fn read_head<'a>(
    mut message: Reader<'a>,
    mut read: impl FnMut(Reader<'a>) -> Result<(), Malformed>,
) -> Result<Option<&'a [u8]>, Malformed> {
    let (mut any_body, mut schema_url) = (false, &[][..]);
    while let Some(key) = message.key()? {
        match key {
            HEAD => read(message.message()?)?,
            BODY | OLD_BODY => {
                any_body = true;
                message.skip(key)?;
            }
            SCHEMA_URL => schema_url = message.bytes()?,
            _ => message.skip_unknown(key, SHARED_FIELDS)?,
        }
    }
    Ok(any_body.then_some(schema_url))
}

/// Returns a repaired copy of the resource or scope of a message, merged from its pieces, and its schema URL.
pub(super) fn repaired_head<'u>(
    message: Reader<'_>,
    schema_url: &'u [u8],
    schema: &'static Message,
    replaced: &mut u64,
) -> Result<(Vec<u8>, Cow<'u, str>), Malformed> {
    let mut merged = Vec::new();
    read_head(message, |head| {
        *replaced += replace_ill_formed(head.rest(), schema, &mut merged);
        Ok(())
    })?;
    let url = String::from_utf8_lossy(schema_url);
    *replaced += u64::from(matches!(url, Cow::Owned(_)));
    Ok((merged, url))
}

/// Walks the scopes of a resource or the spans of a scope.
pub(super) fn each_body<'a>(
    mut message: Reader<'a>,
    mut walk: impl FnMut(Reader<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while let Some(key) = message.key()? {
        match key {
            BODY | OLD_BODY => walk(message.message()?)?,
            _ => message.skip(key)?,
        }
    }
    Ok(())
}
