//! The questions, each answered from memory where it can be and from the store where it must.

use opentelemetry::TraceId;

use super::{CircuitHistory, CircuitWall, QueryError};
use crate::live::circuits::CircuitChange;
use crate::model::{
    CircuitKey, CircuitTransition, CircuitView, DependencyLink, ServiceSummary, TimeRange, Trace,
    TracePage, TraceQuery,
};

/// Answers questions; cheap to clone.
#[derive(Debug, Clone)]
pub struct QueryService {}

impl QueryService {
    /// Returns the wall now, or as it was at that time.
    pub async fn circuits(&self, _at_unix_nanos: Option<u64>) -> Result<CircuitWall, QueryError> {
        todo!()
    }

    /// Returns one breaker now, or as it was at that time.
    pub async fn circuit(
        &self,
        _key: &CircuitKey,
        _at_unix_nanos: Option<u64>,
    ) -> Result<Option<CircuitView>, QueryError> {
        todo!()
    }

    /// Returns transitions, newest first; of one breaker or of all.
    pub async fn transitions(
        &self,
        _key: Option<&CircuitKey>,
        _range: TimeRange,
        _limit: usize,
    ) -> Result<Vec<CircuitTransition>, QueryError> {
        todo!()
    }

    /// Returns one breaker over a range in equal slices.
    pub async fn circuit_history(
        &self,
        _key: &CircuitKey,
        _range: TimeRange,
        _buckets: usize,
    ) -> Result<CircuitHistory, QueryError> {
        todo!()
    }

    /// Returns one page of a trace search.
    pub async fn search(&self, _query: TraceQuery) -> Result<TracePage, QueryError> {
        todo!()
    }

    /// Returns a trace.
    pub async fn trace(&self, _id: TraceId) -> Result<Option<Trace>, QueryError> {
        todo!()
    }

    /// Returns the trace of an id of 16 or 32 hex digits in either case; a wrong text is `QueryError::Invalid`.
    pub async fn trace_by_text(&self, _id: &str) -> Result<Option<Trace>, QueryError> {
        todo!()
    }

    /// Returns every service seen within the retention: figures over the last minutes, operations, instances.
    pub async fn services(&self) -> Result<Vec<ServiceSummary>, QueryError> {
        todo!()
    }

    /// Returns one service.
    pub async fn service(&self, _name: &str) -> Result<Option<ServiceSummary>, QueryError> {
        todo!()
    }

    /// Returns the names of all services seen within the retention, sorted.
    pub async fn service_names(&self) -> Result<Vec<String>, QueryError> {
        todo!()
    }

    /// Returns the operations of a service seen within the retention, sorted.
    pub async fn operations(&self, _service: &str) -> Result<Vec<String>, QueryError> {
        todo!()
    }

    /// Returns who called whom in that range.
    pub async fn dependencies(&self, _range: TimeRange) -> Result<Vec<DependencyLink>, QueryError> {
        todo!()
    }

    /// Returns a receiver of circuit changes as they happen.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<CircuitChange> {
        todo!()
    }
}
