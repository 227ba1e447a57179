//! Access for benchmarks; not part of the public interface.

use std::sync::Arc;

use super::BlockEncoder;
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::model::Span;
use crate::store::influxdb::names::Names;

/// An encoder of blocks, for benchmarks.
#[derive(Debug)]
pub struct Encoder(BlockEncoder);

impl Default for Encoder {
    fn default() -> Self {
        Self(BlockEncoder::new("a1b2c3", Arc::new(Names::default())))
    }
}

impl Encoder {
    /// Starts a block whose first row has the time `base`.
    pub fn begin(&mut self, base: u64) {
        self.0.begin(base);
    }

    /// Returns the lines of each batch.
    pub fn batches(&mut self) -> impl Iterator<Item = String> {
        std::iter::from_fn(|| Some(self.0.next_batch()?.lines))
    }
}

impl SpanVisitor for Encoder {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.0.resource(resource);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.0.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.0.span(span);
    }
}

/// Decodes the text of a `span` point; `None` if it is malformed.
pub fn decode(text: &str) -> Option<Vec<Span>> {
    super::decode(text)
}
