//! Circuits now and over the week: from metrics and events to the wall.

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
};

use crate::model::{CircuitKey, CircuitTransition, CircuitView, TimeRange};
use crate::query::{CircuitHistory, CircuitWall};
use crate::store::StoreError;

/// The circuits; cheap to clone.
#[derive(Debug, Clone)]
pub struct Circuits {}

/// What just changed.
#[derive(Debug, Clone)]
pub enum CircuitChange {
    /// A breaker changed state.
    Transition(CircuitTransition),
    /// New samples came in for at least one breaker (at most one of these a second).
    Samples,
}

impl Circuits {
    /// Takes in a metrics request; returns once its circuit points are durable.
    pub async fn ingest_metrics(
        &self,
        _request: ExportMetricsServiceRequest,
        _now_unix_nanos: u64,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Takes in a logs request; returns once its circuit events are durable.
    pub async fn ingest_logs(
        &self,
        _request: ExportLogsServiceRequest,
        _now_unix_nanos: u64,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Returns the wall now, or as it was at that time.
    pub async fn wall(&self, _at_unix_nanos: Option<u64>) -> Result<CircuitWall, StoreError> {
        todo!()
    }

    /// Returns one breaker now, or as it was at that time.
    pub async fn circuit(
        &self,
        _key: &CircuitKey,
        _at_unix_nanos: Option<u64>,
    ) -> Result<Option<CircuitView>, StoreError> {
        todo!()
    }

    /// Returns transitions, newest first; of one breaker or of all.
    pub async fn transitions(
        &self,
        _key: Option<&CircuitKey>,
        _range: TimeRange,
        _limit: usize,
    ) -> Result<Vec<CircuitTransition>, StoreError> {
        todo!()
    }

    /// Returns one breaker over a range in equal slices.
    pub async fn history(
        &self,
        _key: &CircuitKey,
        _range: TimeRange,
        _buckets: usize,
    ) -> Result<CircuitHistory, StoreError> {
        todo!()
    }

    /// Returns a receiver of changes as they happen.
    pub fn subscribe(&self) -> tokio::sync::broadcast::Receiver<CircuitChange> {
        todo!()
    }
}
