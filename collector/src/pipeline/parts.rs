//! What the pipeline needs of the store, of the live figures and of the circuits: three small traits, so that tests can
//! use slow or broken implementations.

use futures_util::future::BoxFuture;
use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};

use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::live::SpanTap;
use crate::live::circuits::Circuits;
use crate::store::StoreError;
use crate::store::embedded::{Commit, ShardWriter};

/// The durable log of one shard.
pub(crate) trait SpanLog: SpanVisitor + Send + 'static {
    /// Marks the point to which `rollback_request` returns.
    fn begin_request(&mut self);
    /// Drops every span visited since `begin_request`.
    fn rollback_request(&mut self);
    /// Returns how many spans wait for the next commit.
    fn pending_spans(&self) -> usize;
    /// Returns about how many bytes wait for the next commit.
    fn pending_bytes(&self) -> usize;
    /// Makes what is pending durable and visible.
    fn commit(&mut self) -> Result<Commit, StoreError>;
    /// Seals a segment that is full or old.
    fn maintain(&mut self, now_unix_nanos: u64) -> Result<(), StoreError>;
    /// Seals what is open; called once at the end.
    fn seal(&mut self) -> Result<(), StoreError>;
}

/// The live figures of one shard.
pub(crate) trait LiveTap: SpanVisitor + Send + 'static {
    /// Marks the point to which `rollback_request` returns.
    fn begin_request(&mut self);
    /// Drops every span visited since `begin_request`.
    fn rollback_request(&mut self);
    /// Adds the figures of durable spans to the shared ones.
    fn publish(&mut self, now_unix_nanos: u64);
}

/// How many records became durable.
pub(crate) type Stored<'a> = BoxFuture<'a, Result<usize, StoreError>>;

/// Where decoded metrics and logs go.
pub(crate) trait CircuitSink: Send + Sync {
    /// Stores the circuits of a metrics request durably.
    fn metrics(&self, request: ExportMetricsServiceRequest, now_unix_nanos: u64) -> Stored<'_>;
    /// Stores the circuit events of a logs request durably.
    fn logs(&self, request: ExportLogsServiceRequest, now_unix_nanos: u64) -> Stored<'_>;
}

impl SpanLog for ShardWriter {
    fn begin_request(&mut self) {
        Self::begin_request(self);
    }

    fn rollback_request(&mut self) {
        Self::rollback_request(self);
    }

    fn pending_spans(&self) -> usize {
        Self::pending_spans(self)
    }

    fn pending_bytes(&self) -> usize {
        Self::pending_bytes(self)
    }

    fn commit(&mut self) -> Result<Commit, StoreError> {
        Self::commit(self)
    }

    fn maintain(&mut self, now_unix_nanos: u64) -> Result<(), StoreError> {
        Self::maintain(self, now_unix_nanos)
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        Self::seal(self)
    }
}

impl LiveTap for SpanTap {
    fn begin_request(&mut self) {
        Self::begin_request(self);
    }

    fn rollback_request(&mut self) {
        Self::rollback_request(self);
    }

    fn publish(&mut self, now_unix_nanos: u64) {
        Self::publish(self, now_unix_nanos);
    }
}

impl CircuitSink for Circuits {
    fn metrics(&self, request: ExportMetricsServiceRequest, now_unix_nanos: u64) -> Stored<'_> {
        Box::pin(self.ingest_metrics(request, now_unix_nanos))
    }

    fn logs(&self, request: ExportLogsServiceRequest, now_unix_nanos: u64) -> Stored<'_> {
        Box::pin(self.ingest_logs(request, now_unix_nanos))
    }
}

/// Visits with two visitors.
pub(super) struct Tee<'a, A, B> {
    pub(super) first: &'a mut A,
    pub(super) second: &'a mut B,
}

impl<A: SpanVisitor, B: SpanVisitor> SpanVisitor for Tee<'_, A, B> {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.first.resource(resource);
        self.second.resource(resource);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.first.scope(scope);
        self.second.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.first.span(span);
        self.second.span(span);
    }
}
