//! Makes model spans from the views that a block lends.

use std::sync::Arc;

use super::fitting::Fitting;
use crate::codec::otlp::decode;
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::model::{Resource, Scope, UnixNanos};

/// Collects the spans of one trace; shared resources and scopes are stored once.
#[derive(Debug, Default)]
pub(crate) struct SpanCollector {
    /// Ends are as received.
    pub(crate) spans: Fitting,
    resource: Arc<Resource>,
    scope: Arc<Scope>,
}

impl SpanCollector {
    pub(crate) fn within(bytes_max: usize) -> Self {
        Self {
            spans: Fitting::new(bytes_max),
            ..Self::default()
        }
    }
}

impl SpanVisitor for SpanCollector {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.resource = self.spans.resource(decode::resource(resource));
        self.scope = Arc::default();
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.scope = self.spans.scope(decode::scope(scope));
    }

    fn span(&mut self, view: &SpanView<'_>) {
        let mut span = decode::span(view, &self.resource, &self.scope);
        // An end before the start is corrected, with a note, when the trace is assembled.
        span.end = UnixNanos::new(view.end);
        self.spans.push(span);
    }
}
