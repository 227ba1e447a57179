//! The walk over an `ExportTraceServiceRequest`: resources, scopes and spans in the order a visitor needs.
//!
//! Protobuf fields may be in any order, so the resource is read before its scopes are walked, and a scope before its
//! spans: a pass over the top level of each message, which only skips from length to length.

use super::resource::{ResourceScratch, ScopeScratch};
use super::span::SpanScratch;
use super::wire::{Malformed, Reader, length_key};
use super::{Accepted, DecodeError, Limits, ScopeView, SpanRejection, SpanVisitor};
use crate::model::DAY_NANOS;

const RESOURCE_SPANS: u32 = length_key(1);
const REQUEST_FIELDS: u32 = 0b10;

/// Fields of `ResourceSpans` and of `ScopeSpans`, which have the same shape: the head, the body, the schema URL.
const HEAD: u32 = length_key(1);
const BODY: u32 = length_key(2);
const SCHEMA_URL: u32 = length_key(3);
const SHARED_FIELDS: u32 = 0b1110;

/// How far in the future a span may be: clocks of phones and laptops are off by hours when their time zone is wrong,
/// rarely by more. The past is not bounded here, as retention is up to the store.
pub const MAX_FUTURE_NANOS: u64 = DAY_NANOS;

/// Visits every span of an `ExportTraceServiceRequest`.
///
/// A span is rejected alone, without the others, when
/// - its trace id is not 16 bytes or all zero, or its span id is not 8 bytes or all zero;
/// - its start is 0, or its start or end lies more than a day after `now`; an end before the start
///   is accepted as it is;
/// - a name, key or string in it, in its events and links, or in its resource or scope, is not UTF-8.
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
    let mut walk = Walk {
        limits,
        latest: now.saturating_add(MAX_FUTURE_NANOS),
        visitor,
        span: SpanScratch::default(),
        accepted: 0,
        rejected: [0; REJECTIONS.len()],
        truncated: 0,
    };
    walk.request(Reader::new(request))?;
    Ok(walk.accepted())
}

/// Every reason, in the order in which they are counted and reported.
const REJECTIONS: [SpanRejection; 4] = [
    SpanRejection::InvalidTraceId,
    SpanRejection::InvalidSpanId,
    SpanRejection::InvalidUtf8,
    SpanRejection::TimeOutOfRange,
];

struct Walk<'a, 'w, V> {
    limits: &'w Limits,
    latest: u64,
    visitor: &'w mut V,
    span: SpanScratch<'a>,
    accepted: u64,
    rejected: [u64; REJECTIONS.len()],
    truncated: u64,
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
        let cut = &mut self.truncated;
        if !read_head(message, |head| resource.read(head, limits, cut))? {
            return Ok(());
        }
        if !resource.invalid_utf8 {
            self.visitor.resource(&resource.view(limits));
        }
        each_body(message, |body| {
            self.scope_spans(body, resource.invalid_utf8)
        })
    }

    fn scope_spans(&mut self, message: Reader<'a>, mut refused: bool) -> Result<(), Malformed> {
        let mut scope = ScopeScratch::default();
        let limits = self.limits;
        let cut = &mut self.truncated;
        if !read_head(message, |head| scope.read(head, limits, cut))? {
            return Ok(());
        }
        refused |= scope.invalid_utf8;
        if !refused {
            let view: ScopeView<'_> = scope.view();
            self.visitor.scope(&view);
        }
        each_body(message, |body| self.one_span(body, refused))
    }

    fn one_span(&mut self, message: Reader<'a>, refused: bool) -> Result<(), Malformed> {
        self.span.read(message, self.limits)?;
        let visitor = &mut *self.visitor;
        let visited = if refused {
            Err(SpanRejection::InvalidUtf8)
        } else {
            self.span.visit(self.latest, |view| visitor.span(view))
        };
        match visited {
            Ok(()) => {
                self.accepted += 1;
                self.truncated += self.span.cut;
            }
            Err(rejection) => self.rejected[rejection as usize] += 1,
        }
        Ok(())
    }

    fn accepted(&self) -> Accepted {
        Accepted {
            spans: self.accepted,
            rejected: REJECTIONS
                .into_iter()
                .zip(self.rejected)
                .filter(|(_, count)| *count > 0)
                .collect(),
            truncated: self.truncated,
        }
    }
}

/// Reads the resource or scope of a message, wherever in it; returns whether anything is below it.
fn read_head<'a>(
    mut message: Reader<'a>,
    mut read: impl FnMut(Reader<'a>) -> Result<(), Malformed>,
) -> Result<bool, Malformed> {
    let mut any_body = false;
    while let Some(key) = message.key()? {
        match key {
            HEAD => read(message.message()?)?,
            BODY => {
                any_body = true;
                message.skip(key)?;
            }
            SCHEMA_URL => message.skip(key)?,
            _ => message.skip_unknown(key, SHARED_FIELDS)?,
        }
    }
    Ok(any_body)
}

/// Walks the scopes of a resource or the spans of a scope.
fn each_body<'a>(
    mut message: Reader<'a>,
    mut walk: impl FnMut(Reader<'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    while let Some(key) = message.key()? {
        match key {
            BODY => walk(message.message()?)?,
            _ => message.skip(key)?,
        }
    }
    Ok(())
}
