//! Fits the spans of one trace into a memory budget. Normal traces fit whole. In others, texts are cut
//! shorter step by step, then attributes, events and links are left out, and finally spans. A span, resource
//! or scope that lost something carries the attribute `SHORTENED`.

mod shared;

use std::sync::Arc;

use crate::model::{Event, Link, Resource, SHORTENED, Scope, Span, Trace, Value, cut};
use shared::{Pool, distinct_bytes};

/// Budget of one trace: 50,000 spans of eight short attributes. With the overhead of reading and rendering it
/// stays below the 64 MiB that one request may cost.
pub(crate) const TRACE_BYTES_MAX: usize = 48 << 20;
/// Successive limits of a text's length; at first texts stay whole.
const TEXT_STEPS: [usize; 5] = [usize::MAX, 4 << 10, 1 << 10, 256, 64];
/// Resources and scopes get one eighth of the budget each: spans share them.
const SHARED_PART: usize = 8;
/// Overhead of an allocation, and the unit that its size is rounded up to.
const UNIT_BYTES: usize = 16;

/// The spans of a trace, within a memory budget.
#[derive(Debug)]
pub(crate) struct Fitting {
    spans: Vec<Span>,
    bytes: usize,
    bytes_max: usize,
    resources: Pool<Resource>,
    scopes: Pool<Scope>,
    /// Current limit of a text's length; `None` once spans are kept without details.
    text_bytes: Option<usize>,
    is_full: bool,
}

impl Default for Fitting {
    fn default() -> Self {
        Self::new(TRACE_BYTES_MAX)
    }
}

impl Fitting {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            spans: Vec::new(),
            bytes: 0,
            bytes_max,
            resources: Pool::new(bytes_max / SHARED_PART),
            scopes: Pool::new(bytes_max / SHARED_PART),
            text_bytes: Some(TEXT_STEPS[0]),
            is_full: false,
        }
    }

    /// Returns the current limit of a text's length, so that readers need not read more; `None` once details
    /// are dropped.
    pub(crate) fn text_bytes(&self) -> Option<usize> {
        self.text_bytes
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn into_spans(self) -> Vec<Span> {
        self.spans
    }

    /// Adds a span; a no-op when full.
    pub(crate) fn push(&mut self, mut span: Span) {
        if self.is_full {
            return;
        }
        self.shorten(&mut span);
        self.bytes += span_bytes(&span);
        self.spans.push(span);
        while self.bytes > self.bytes_max && !self.is_full {
            self.next_step();
        }
    }

    /// Returns the resource, cut to fit and deduplicated. Once full, no span needs one.
    pub(crate) fn resource(&mut self, resource: Resource) -> Arc<Resource> {
        if self.is_full {
            return Arc::default();
        }
        let before = self.resources.bytes();
        let shared = self.resources.share(resource, self.text_bytes);
        self.bytes += self.resources.bytes() - before;
        shared
    }

    /// As `resource`.
    pub(crate) fn scope(&mut self, scope: Scope) -> Arc<Scope> {
        if self.is_full {
            return Arc::default();
        }
        let before = self.scopes.bytes();
        let shared = self.scopes.share(scope, self.text_bytes);
        self.bytes += self.scopes.bytes() - before;
        shared
    }

    fn shorten(&self, span: &mut Span) {
        let is_cut = match self.text_bytes {
            Some(bytes) => cut_span(span, bytes),
            None => strip(span),
        };
        if is_cut {
            mark(&mut span.attributes);
        }
    }

    /// Cuts everything to the next limit, or drops the details of the last spans until an eighth is free.
    fn next_step(&mut self) {
        let shorter = |bytes: &usize| self.text_bytes.is_some_and(|now| *bytes < now);
        if let Some(bytes) = TEXT_STEPS.into_iter().find(shorter) {
            self.text_bytes = Some(bytes);
            for index in 0..self.spans.len() {
                self.change(index, |span| cut_span(span, bytes));
            }
            return;
        }
        self.text_bytes = None;
        let before = self.bytes;
        for index in (0..self.spans.len()).rev() {
            if self.bytes <= self.bytes_max - self.bytes_max / 8 {
                break;
            }
            self.change(index, strip);
        }
        self.is_full = self.bytes == before;
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Span) -> bool) {
        let span = &mut self.spans[index];
        let before = span_bytes(span);
        if change(span) {
            mark(&mut span.attributes);
        }
        self.bytes = self.bytes - before + span_bytes(span);
    }
}

/// Fits a complete trace into `bytes_max`.
pub(crate) fn fitted(mut trace: Trace, bytes_max: usize) -> Trace {
    if bytes_of(&trace.spans) <= bytes_max {
        return trace;
    }
    let mut fitting = Fitting::new(bytes_max);
    for mut span in std::mem::take(&mut trace.spans) {
        span.resource = fitting.resource(Resource::clone(&span.resource));
        span.scope = fitting.scope(Scope::clone(&span.scope));
        fitting.push(span);
    }
    trace.truncated |= fitting.is_full();
    trace.spans = fitting.into_spans();
    trace
}

/// Returns the approximate memory of a trace; shared resources and scopes are counted once.
pub(crate) fn bytes_of(spans: &[Span]) -> usize {
    spans.iter().map(span_bytes).sum::<usize>()
        + distinct_bytes(spans.iter().map(|span| &span.resource))
        + distinct_bytes(spans.iter().map(|span| &span.scope))
}

fn span_bytes(span: &Span) -> usize {
    let texts = [&span.name, &span.trace_state, &span.status.message];
    let event = |event: &Event| {
        size_of::<Event>() + heap(event.name.len()) + pairs_bytes(&event.attributes)
    };
    let link = |link: &Link| {
        size_of::<Link>() + heap(link.trace_state.len()) + pairs_bytes(&link.attributes)
    };
    size_of::<Span>()
        + texts
            .into_iter()
            .map(|text| heap(text.len()))
            .sum::<usize>()
        + pairs_bytes(&span.attributes)
        + span.events.iter().map(event).sum::<usize>()
        + span.links.iter().map(link).sum::<usize>()
}

fn pairs_bytes(pairs: &[(String, Value)]) -> usize {
    let pair = |(key, value): &(String, Value)| {
        size_of::<(String, Value)>() + heap(key.len()) + value_bytes(value)
    };
    pairs.iter().map(pair).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => heap(text.len()),
        Value::Bytes(bytes) => heap(bytes.len()),
        Value::Array(items) => {
            let item = |item| size_of::<Value>() + value_bytes(item);
            items.iter().map(item).sum()
        }
        Value::Map(pairs) => pairs_bytes(pairs),
        Value::Empty | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
    }
}

fn heap(bytes: usize) -> usize {
    bytes.next_multiple_of(UNIT_BYTES)
}

/// Cuts every text of a span; returns whether any was longer.
fn cut_span(span: &mut Span, bytes_max: usize) -> bool {
    let mut is_cut = cut_pairs(&mut span.attributes, bytes_max);
    is_cut |= cut_text(&mut span.status.message, bytes_max);
    is_cut |= cut_text(&mut span.trace_state, bytes_max);
    for event in &mut span.events {
        is_cut |= cut_pairs(&mut event.attributes, bytes_max);
    }
    for link in &mut span.links {
        is_cut |= cut_pairs(&mut link.attributes, bytes_max);
    }
    is_cut
}

/// Drops attributes, events and links, counts them as dropped, and returns whether there were any.
fn strip(span: &mut Span) -> bool {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let kept = |(key, _): &&(String, Value)| key != SHORTENED;
    let attributes = count(span.attributes.iter().filter(kept).count());
    let (events, links) = (count(span.events.len()), count(span.links.len()));
    span.dropped_here.add(attributes, events, links);
    span.attributes = Vec::new();
    span.events = Vec::new();
    span.links = Vec::new();
    let shortest = TEXT_STEPS[TEXT_STEPS.len() - 1];
    cut_text(&mut span.status.message, shortest);
    cut_text(&mut span.trace_state, shortest);
    true
}

fn mark(attributes: &mut Vec<(String, Value)>) {
    if !attributes.iter().any(|(key, _)| key == SHORTENED) {
        attributes.reserve_exact(1);
        attributes.push((SHORTENED.to_owned(), Value::Bool(true)));
    }
}

fn cut_pairs(pairs: &mut [(String, Value)], bytes_max: usize) -> bool {
    let mut is_cut = false;
    for (_, value) in pairs {
        is_cut |= cut_value(value, bytes_max);
    }
    is_cut
}

/// Cuts a value. A list or map that is larger in total becomes empty: its items may be many and short.
fn cut_value(value: &mut Value, bytes_max: usize) -> bool {
    match value {
        Value::String(text) => cut_text(text, bytes_max),
        Value::Bytes(bytes) if bytes.len() > bytes_max => {
            bytes.truncate(bytes_max);
            bytes.shrink_to_fit();
            true
        }
        Value::Array(_) | Value::Map(_) if value_bytes(value) > bytes_max.max(TEXT_STEPS[1]) => {
            *value = Value::Empty;
            true
        }
        Value::Array(items) => {
            let cuts = items.iter_mut().map(|item| cut_value(item, bytes_max));
            cuts.fold(false, |any, is_cut| any | is_cut)
        }
        Value::Map(pairs) => cut_pairs(pairs, bytes_max),
        _ => false,
    }
}

fn cut_text(text: &mut String, bytes_max: usize) -> bool {
    let kept = cut(text, bytes_max).len();
    let is_cut = kept < text.len();
    if is_cut {
        text.truncate(kept);
        text.shrink_to_fit();
    }
    is_cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::EntityRef;
    use crate::store::embedded::tests::support::span;

    fn large(id: u64, attributes: usize, bytes: usize) -> Span {
        let mut made = span(1, id, "shop");
        let attribute = |n: usize| (format!("key{n}"), Value::String("x".repeat(bytes)));
        made.attributes = (0..attributes).map(attribute).collect();
        made
    }

    fn fitted(bytes_max: usize, spans: impl Iterator<Item = Span>) -> Fitting {
        let mut fitting = Fitting::new(bytes_max);
        for mut span in spans {
            span.resource = fitting.resource(Resource::clone(&span.resource));
            span.scope = fitting.scope(Scope::clone(&span.scope));
            fitting.push(span);
        }
        fitting
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let fitting = fitted(1 << 20, (1..=10).map(|id| large(id, 3, 20_000)));
        let spans = fitting.into_spans();
        assert_eq!(
            spans,
            (1..=10).map(|id| large(id, 3, 20_000)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn texts_are_cut_before_attributes_are_left_out() {
        let fitting = fitted(1 << 20, (1..=40).map(|id| large(id, 50, 30_000)));
        let spans = fitting.into_spans();
        assert_eq!(spans.len(), 40);
        assert!(bytes_of(&spans) <= 1 << 20);
        for span in &spans {
            assert_eq!(span.attributes.len(), 51);
            assert_eq!(
                span.attributes[50],
                (SHORTENED.to_owned(), Value::Bool(true))
            );
            assert_eq!(span.attributes[0].1, Value::String("x".repeat(256)));
        }
    }

    #[test]
    fn spans_stay_when_their_attributes_do_not_fit_and_are_cut_last() {
        let fitting = fitted(256 << 10, (1..=500).map(|id| large(id, 100, 30_000)));
        assert!(!fitting.is_full());
        let spans = fitting.into_spans();
        assert_eq!(spans.len(), 500);
        assert!(bytes_of(&spans) <= 256 << 10);
        let bare = spans.last().unwrap();
        assert_eq!(
            (bare.attributes.len(), bare.dropped_here.attributes),
            (1, 100)
        );
        let fitting = fitted(64 << 10, (1..=500).map(|id| large(id, 100, 30_000)));
        assert!(fitting.is_full());
        assert!((50..500).contains(&fitting.len()), "{}", fitting.len());
    }

    #[test]
    fn lists_and_resources_are_bounded_too() {
        let mut fitting = Fitting::new(64 << 10);
        let many = Value::Array(vec![Value::Int(1); 5_000]);
        let mut made = span(1, 1, "shop");
        made.attributes = vec![("list".to_owned(), many)];
        fitting.push(made);
        let text = |n: usize| (format!("key{n}"), Value::String("x".repeat(1_000)));
        let resource = Resource {
            service_name: "shop".to_owned(),
            attributes: (0..128).map(text).collect(),
            ..Resource::default()
        };
        let kept = fitting.resource(resource);
        assert_eq!(
            (kept.service_name.as_str(), kept.attributes.len()),
            ("shop", 1)
        );
        let spans = fitting.into_spans();
        assert_eq!(spans[0].attributes[0].1, Value::Empty);
        assert_eq!(spans[0].attributes[1].0, SHORTENED);
    }

    fn scope(id: u64, attributes: usize, bytes: usize) -> Scope {
        Scope {
            name: "library".to_owned(),
            attributes: large(id, attributes, bytes).attributes,
            dropped_attributes_count: id as u32,
            ..Scope::default()
        }
    }

    #[test]
    fn scopes_are_counted_and_keep_their_names_when_they_do_not_fit() {
        let mut fitting = Fitting::new(1 << 20);
        for id in 1..=200 {
            let mut made = span(1, id, "shop");
            made.scope = fitting.scope(scope(id, 20, 1_000));
            fitting.push(made);
        }
        let counted = fitting.bytes();
        let spans = fitting.into_spans();
        assert_eq!(spans.len(), 200);
        assert_eq!(*spans[0].scope, scope(1, 20, 1_000));
        let last = &spans[199].scope;
        let marked = vec![(SHORTENED.to_owned(), Value::Bool(true))];
        assert_eq!(
            (last.name.as_str(), &last.attributes, &*last.schema_url),
            ("library", &marked, "")
        );
        let whole = |span: &&Span| span.scope.attributes.len() == 20;
        let wholes = spans.iter().filter(whole).count();
        assert!((1..=6).contains(&wholes), "{wholes}");
        assert!(bytes_of(&spans) <= 1 << 20);
        assert!(counted >= 200 * size_of::<Scope>(), "{counted}");
    }

    #[test]
    fn entities_and_schema_urls_are_counted_and_left_out_when_they_do_not_fit() {
        let entity = EntityRef {
            kind: "host".to_owned(),
            id_keys: vec![String::new(); 500],
            ..EntityRef::default()
        };
        let resource = |number: u32| Resource {
            service_name: "shop".to_owned(),
            dropped_attributes_count: number,
            schema_url: "https://opentelemetry.io/schemas/1.37.0".to_owned(),
            entities: vec![entity.clone(); 16],
            ..Resource::default()
        };
        let mut fitting = Fitting::new(4 << 20);
        let kept: Vec<_> = (0..1_000)
            .map(|number| fitting.resource(resource(number)))
            .collect();
        assert_eq!(*kept[0], resource(0));
        let whole = kept.iter().filter(|one| !one.entities.is_empty()).count();
        // 16 lists of 500 keys of 24 bytes each take 192 KB.
        assert_eq!(whole, (512 << 10) / 195_000);
        let last = &kept[999];
        assert_eq!(
            (last.service_name.as_str(), last.schema_url.as_str()),
            ("shop", "")
        );
        assert_eq!(last.attributes[0].0, SHORTENED);
    }

    #[test]
    fn what_spans_share_is_counted_once() {
        let mut fitting = Fitting::new(1 << 20);
        let first = fitting.scope(scope(1, 20, 1_000));
        let counted = fitting.bytes();
        assert!((20_000..24_000).contains(&counted), "{counted}");
        for _ in 0..1_000 {
            assert!(Arc::ptr_eq(&first, &fitting.scope(scope(1, 20, 1_000))));
        }
        assert_eq!(fitting.bytes(), counted);
        let shared = |id: u64| Span {
            scope: Arc::clone(&first),
            ..span(1, id, "shop")
        };
        let one = bytes_of(&[shared(1)]);
        let many: Vec<_> = (1..=10).map(shared).collect();
        assert!(bytes_of(&many) < one + 20_000);
    }

    #[test]
    fn a_full_trace_keeps_no_more_resources_and_scopes() {
        let mut fitting = fitted(64 << 10, (1..=500).map(|id| large(id, 100, 30_000)));
        let (before, is_full) = (fitting.bytes(), fitting.is_full());
        fitting.resource(Resource {
            service_name: "other".to_owned(),
            ..Resource::default()
        });
        fitting.scope(scope(1, 1, 10));
        assert_eq!((fitting.bytes(), is_full), (before, true));
    }
}
