//! Makes model spans from the views that a block lends.

use std::sync::Arc;

use crate::codec::otlp::decode;
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::model::{Resource, Scope, Span};

/// Collects the spans of one trace; resources and scopes that spans share are kept once.
#[derive(Debug, Default)]
pub(crate) struct SpanCollector {
    /// The spans so far, ends as received.
    pub(crate) spans: Vec<Span>,
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
}

impl SpanVisitor for SpanCollector {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.resource = share(&mut self.resources, decode::resource(resource));
        self.scope = Arc::default();
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope = share(&mut self.scopes, decode::scope(scope));
    }

    fn span(&mut self, view: &SpanView<'_>) {
        let mut span = decode::span(view, &self.resource, &self.scope);
        // An end before the start is straightened, with a note, when the trace is put together.
        span.end = view.end;
        self.spans.push(span);
    }
}

/// Returns the shared copy of a value.
fn share<T: PartialEq>(known: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    if let Some(found) = known.iter().rev().find(|other| ***other == value) {
        return Arc::clone(found);
    }
    let value = Arc::new(value);
    known.push(Arc::clone(&value));
    value
}
