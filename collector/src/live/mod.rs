//! What is happening now, kept in memory and updated in the same pass as the store: circuits, rate, errors and
//! duration per operation, dependency links, instances. It never decides what is stored.

pub mod circuits;

use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};

/// Rate, errors, duration, links and instances; cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {}

impl Live {
    /// Returns a tap for one ingest shard.
    pub fn span_tap(&self) -> SpanTap {
        todo!()
    }
}

/// Gathers the figures of the requests since the last `publish`, for one shard.
#[derive(Debug)]
pub struct SpanTap {}

impl SpanTap {
    /// Marks the begin of a request, to which `rollback_request` returns.
    pub fn begin_request(&mut self) {}

    /// Forgets every span visited since `begin_request`.
    pub fn rollback_request(&mut self) {}

    /// Adds what was gathered to the shared figures; called once the spans are durable.
    pub fn publish(&mut self, _now_unix_nanos: u64) {}
}

impl SpanVisitor for SpanTap {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, _span: &SpanView<'_>) {}
}
