//! Makes model spans from the views that a block lends.

use std::sync::Arc;

use super::fitting::Fitting;
use crate::codec::otlp::decode;
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::model::{Resource, Scope, UnixNanos};

/// Resources and scopes that a new one is compared with: a trace has few, and one with many must not cost their square.
const COMPARED_MAX: usize = 256;

/// Collects the spans of one trace; resources and scopes that spans share are kept once.
#[derive(Debug, Default)]
pub(crate) struct SpanCollector {
    /// The spans so far, ends as received.
    pub(crate) spans: Fitting,
    resource: Arc<Resource>,
    scope: Arc<Scope>,
    resources: Vec<Arc<Resource>>,
    scopes: Vec<Arc<Scope>>,
}

impl SpanCollector {
    /// Returns a collector of so many bytes.
    pub(crate) fn within(bytes_max: usize) -> Self {
        Self {
            spans: Fitting::new(bytes_max),
            ..Self::default()
        }
    }
}

impl SpanVisitor for SpanCollector {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        let resource = self.spans.resource(decode::resource(resource));
        let known = self.resources.len();
        self.resource = share(&mut self.resources, resource);
        if self.resources.len() > known {
            self.spans.keep(&self.resource);
        }
        self.scope = Arc::default();
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope = share(&mut self.scopes, decode::scope(scope));
    }

    fn span(&mut self, view: &SpanView<'_>) {
        let mut span = decode::span(view, &self.resource, &self.scope);
        // An end before the start is straightened, with a note, when the trace is put together.
        span.end = UnixNanos::new(view.end);
        self.spans.push(span);
    }
}

/// Returns the shared copy of a value.
fn share<T: PartialEq>(known: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    let recent = known.iter().rev().take(COMPARED_MAX);
    if let Some(found) = recent.into_iter().find(|other| ***other == value) {
        return Arc::clone(found);
    }
    let value = Arc::new(value);
    known.push(Arc::clone(&value));
    value
}
