//! The embedded store: columnar segments of our own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;

use super::{StoreError, TraceReader};
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::counters::Counters;
use crate::model::{TimeRange, Trace, TracePage, TraceQuery};

/// What the embedded store needs to know.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The data directory; segments live under `spans/`.
    pub dir: PathBuf,
    /// Segments whose newest span arrived longer ago are deleted.
    pub retention: Duration,
    /// Oldest segments are deleted beyond this.
    pub disk_budget_bytes: u64,
    /// Writers, one per ingest shard.
    pub shards: usize,
}

/// Opens the store, recovering what a crash left behind, and returns its reader and one writer per shard.
pub fn open(
    _options: EmbeddedOptions,
    _counters: Arc<Counters>,
) -> Result<(EmbeddedStore, Vec<ShardWriter>), StoreError> {
    todo!()
}

/// The reading side; cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {}

/// How much the store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Segments, open ones included.
    pub segments: u64,
    /// Spans.
    pub spans: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Start of the oldest span, Unix nanoseconds.
    pub oldest_unix_nanos: Option<u64>,
}

impl EmbeddedStore {
    /// Returns how much the store holds.
    pub fn stats(&self) -> StoreStats {
        todo!()
    }

    /// Deletes whole segments past the retention or the disk budget.
    pub fn enforce_retention(&self, _now_unix_nanos: u64) -> Result<(), StoreError> {
        todo!()
    }
}

impl TraceReader for EmbeddedStore {
    async fn trace(&self, _id: TraceId) -> Result<Option<Trace>, StoreError> {
        todo!()
    }

    async fn trace_ids_by_low_half(&self, _low: u64) -> Result<Vec<TraceId>, StoreError> {
        todo!()
    }

    async fn search(&self, _query: TraceQuery) -> Result<TracePage, StoreError> {
        todo!()
    }

    async fn services(&self, _range: TimeRange) -> Result<Vec<String>, StoreError> {
        todo!()
    }

    async fn operations(
        &self,
        _service: String,
        _range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        todo!()
    }
}

/// The writing side of one shard.
#[derive(Debug)]
pub struct ShardWriter {}

/// What a commit wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commit {
    /// Spans now durable and visible.
    pub spans: u64,
    /// Bytes written.
    pub bytes: u64,
}

impl ShardWriter {
    /// Marks the begin of a request, to which `rollback_request` returns.
    pub fn begin_request(&mut self) {
        todo!()
    }

    /// Forgets every span visited since `begin_request`.
    pub fn rollback_request(&mut self) {
        todo!()
    }

    /// Returns how many spans wait for the next commit.
    pub fn pending_spans(&self) -> usize {
        todo!()
    }

    /// Returns about how many bytes wait for the next commit.
    pub fn pending_bytes(&self) -> usize {
        todo!()
    }

    /// Compresses, writes and syncs what is pending; once it returns, senders may get their OK and readers see it.
    pub fn commit(&mut self) -> Result<Commit, StoreError> {
        todo!()
    }

    /// Seals a segment that is full or old; called after commits and when idle.
    pub fn maintain(&mut self, _now_unix_nanos: u64) -> Result<(), StoreError> {
        todo!()
    }
}

impl SpanVisitor for ShardWriter {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, _span: &SpanView<'_>) {}
}
