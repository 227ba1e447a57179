//! A trace for TraceQL: its tree, and the fields of its spans; or spans alone.
//!
//! A child belongs to the span with its parent's id. If two halves of a call share an id (Zipkin), the
//! server's span is a child of the client's, and children belong to the server's. A span that would close a
//! cycle is a root.

use std::collections::HashMap;

use opentelemetry::SpanId;

use super::field::{Field, Intrinsic};
use super::value::Value;
use crate::model::{Place, Span, SpanKind, Trace, UnixNanos, nanos};
use crate::store::StoreError;
use crate::store::cancel;

/// Cost of examining a span, beside the compared values, bytes.
const SPAN_BYTES: usize = 256;

/// Spans whose fields an expression reads.
pub(crate) trait Fields<'t> {
    fn value(&self, at: usize, field: &Field) -> Value<'t>;
}

/// Spans without their traces: fields that depend on other spans have no value.
#[derive(Debug)]
pub(super) struct Alone<'t>(pub(super) &'t [Span]);

impl<'t> Fields<'t> for Alone<'t> {
    fn value(&self, at: usize, field: &Field) -> Value<'t> {
        of_span(&self.0[at], field)
    }
}

#[derive(Debug)]
pub(crate) struct TraceView<'t> {
    pub(crate) trace: &'t Trace,
    parents: Vec<Option<usize>>,
    children: Vec<usize>,
    /// Spans, parents before children.
    order: Vec<usize>,
    /// Left and right numbers of the nested-set encoding, from 1.
    ends: Vec<(i64, i64)>,
    root: Option<usize>,
    start: UnixNanos,
    duration: u64,
}

impl<'t> TraceView<'t> {
    /// Fails when the query was cancelled.
    pub(crate) fn new(trace: &'t Trace) -> Result<Self, StoreError> {
        cancel::spend(trace.spans.len() * SPAN_BYTES)?;
        let mut parents = parents(&trace.spans);
        let (order, ends) = walk(&mut parents);
        let mut children = vec![0; parents.len()];
        for parent in parents.iter().flatten() {
            children[*parent] += 1;
        }
        let start = trace.spans.iter().map(|span| span.start).min();
        let end = trace.spans.iter().map(|span| span.end).max();
        let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
        Ok(Self {
            root: trace
                .spans
                .iter()
                .position(|span| span.parent_span_id.is_none()),
            trace,
            parents,
            children,
            order,
            ends,
            start,
            duration: nanos(end - start),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.trace.spans.len()
    }

    pub(crate) fn span(&self, at: usize) -> &'t Span {
        &self.trace.spans[at]
    }

    pub(super) fn parent(&self, at: usize) -> Option<usize> {
        self.parents[at]
    }

    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Returns the root that starts first.
    pub(crate) fn root(&self) -> Option<&'t Span> {
        self.root.map(|root| self.span(root))
    }

    pub(crate) fn start(&self) -> UnixNanos {
        self.start
    }

    /// Returns the time from the earliest start to the latest end, nanoseconds.
    pub(crate) fn duration_nanos(&self) -> u64 {
        self.duration
    }

    pub(crate) fn value(&self, at: usize, field: &Field) -> Value<'t> {
        use Intrinsic::{
            ChildCount, NestedSetLeft, NestedSetParent, NestedSetRight, RootName, RootService,
            TraceDuration,
        };
        let Field::Intrinsic(intrinsic) = field else {
            return of_span(self.span(at), field);
        };
        let (left, right) = self.ends[at];
        match intrinsic {
            ChildCount => Value::Int(self.children[at] as i64),
            TraceDuration => Value::duration(self.duration),
            RootName => self.of_root(|root| &root.name),
            RootService => self.of_root(Span::service),
            NestedSetLeft => Value::Int(left),
            NestedSetRight => Value::Int(right),
            NestedSetParent => {
                Value::Int(self.parents[at].map_or(-1, |parent| self.ends[parent].0))
            }
            _ => of_span(self.span(at), field),
        }
    }

    fn of_root(&self, text: impl Fn(&'t Span) -> &'t str) -> Value<'t> {
        self.root()
            .map_or(Value::Nil, |root| Value::Text(text(root).into()))
    }
}

impl<'t> Fields<'t> for TraceView<'t> {
    fn value(&self, at: usize, field: &Field) -> Value<'t> {
        self.value(at, field)
    }
}

/// Returns a field of a span; `Nil` for one of its trace.
fn of_span<'t>(span: &'t Span, field: &Field) -> Value<'t> {
    match field {
        Field::Intrinsic(intrinsic) => intrinsic_of_span(span, *intrinsic),
        Field::Attribute {
            place: Some(place),
            key,
        } => attribute(span, *place, key),
        Field::Attribute { place: None, key } => {
            let mut values = Field::ANYWHERE
                .iter()
                .map(|place| attribute(span, *place, key));
            let found = values.find(|value| *value != Value::Nil);
            found.unwrap_or(Value::Nil)
        }
    }
}

fn intrinsic_of_span(span: &Span, intrinsic: Intrinsic) -> Value<'_> {
    use Intrinsic::{
        Duration, EventName, EventTimeSinceStart, InstrumentationName, InstrumentationVersion,
        Kind, LinkSpanId, LinkTraceId, Name, ParentId, SpanId, Status, StatusMessage, TraceId,
    };
    match intrinsic {
        Name => Value::Text((&*span.name).into()),
        Status => Value::Status(span.status.code),
        StatusMessage => Value::Text((&*span.status.message).into()),
        Kind => Value::Kind(span.kind),
        Duration => Value::duration(span.duration_nanos()),
        SpanId => Value::Text(span.span_id.to_string().into()),
        ParentId => match span.parent_span_id {
            Some(id) => Value::Text(id.to_string().into()),
            None => Value::Nil,
        },
        TraceId => Value::Text(span.trace_id.to_string().into()),
        EventName => list(
            span.events
                .iter()
                .map(|event| Value::Text((&*event.name).into())),
        ),
        EventTimeSinceStart => list(span.events.iter().map(|event| {
            let since = |one: UnixNanos, other: UnixNanos| nanos(one - other).cast_signed();
            Value::Duration(since(event.time, span.start) - since(span.start, event.time))
        })),
        LinkTraceId => list(of_links(span, |link| link.trace_id.to_string())),
        LinkSpanId => list(of_links(span, |link| link.span_id.to_string())),
        InstrumentationName => Value::given(&span.scope.name),
        InstrumentationVersion => Value::given(&span.scope.version),
        _ => Value::Nil,
    }
}

fn of_links(
    span: &Span,
    text: impl Fn(&crate::model::Link) -> String,
) -> impl Iterator<Item = Value<'static>> {
    span.links
        .iter()
        .map(move |link| Value::Text(text(link).into()))
}

/// Returns an attribute of a span in a place; for events and links, all values of that key.
fn attribute<'t>(span: &'t Span, place: Place, key: &str) -> Value<'t> {
    type Attributes = [(String, crate::model::Value)];
    let find = |attributes: &'t Attributes| {
        let found = attributes.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| Value::of_attribute(value))
    };
    match place {
        Place::Span => find(&span.attributes).unwrap_or(Value::Nil),
        Place::Resource => find(&span.resource.attributes).unwrap_or(Value::Nil),
        Place::Scope => find(&span.scope.attributes).unwrap_or(Value::Nil),
        Place::Event => list(
            span.events
                .iter()
                .filter_map(|event| find(&event.attributes)),
        ),
        Place::Link => list(span.links.iter().filter_map(|link| find(&link.attributes))),
    }
}

/// Combines values to one; without values it is `Nil`.
fn list<'t>(values: impl Iterator<Item = Value<'t>>) -> Value<'t> {
    let mut values: Vec<_> = values.collect();
    match values.len() {
        0 => Value::Nil,
        1 => values.remove(0),
        _ => Value::List(values),
    }
}

fn parents(spans: &[Span]) -> Vec<Option<usize>> {
    let mut clients: HashMap<SpanId, usize> = HashMap::new();
    let mut servers: HashMap<SpanId, usize> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        let is_server = matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
        let halves = if is_server {
            &mut servers
        } else {
            &mut clients
        };
        halves.entry(span.span_id).or_insert(at);
    }
    let parent = |(at, span): (usize, &Span)| {
        let client = clients
            .get(&span.span_id)
            .filter(|_| servers.get(&span.span_id) == Some(&at));
        let of_other = || {
            let id = span.parent_span_id?;
            servers.get(&id).or_else(|| clients.get(&id))
        };
        client
            .or_else(of_other)
            .copied()
            .filter(|parent| *parent != at)
    };
    spans.iter().enumerate().map(parent).collect()
}

/// Walks the tree; returns the spans in preorder, and the numbers at which each is entered and left. Spans in
/// a cycle come last, and the cycle is cut there.
fn walk(parents: &mut [Option<usize>]) -> (Vec<usize>, Vec<(i64, i64)>) {
    let count = parents.len();
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            below[*parent].push(at);
        }
    }
    let (mut order, mut ends, mut clock) = (Vec::with_capacity(count), vec![(0, 0); count], 0);
    let roots = (0..count).filter(|at| parents[*at].is_none());
    let starts: Vec<usize> = roots.chain(0..count).collect();
    for start in starts {
        if ends[start].0 != 0 {
            continue;
        }
        parents[start] = None;
        let mut path = vec![(start, 0)];
        while let Some((at, next)) = path.last_mut() {
            if *next == 0 {
                clock += 1;
                ends[*at].0 = clock;
                order.push(*at);
            }
            let child = below[*at].get(*next).copied();
            *next += 1;
            match child {
                Some(child) if ends[child].0 == 0 => path.push((child, 0)),
                Some(_) => {}
                None => {
                    clock += 1;
                    ends[*at].1 = clock;
                    path.pop();
                }
            }
        }
    }
    (order, ends)
}
