//! The traces as configured: in the embedded store alone, or in it and InfluxDB.

use opentelemetry::TraceId;

use super::embedded::{EmbeddedStore, StoreStats};
use super::merged::MergedTraces;
use super::{StoreError, TraceReader};
use crate::model::{TimeRange, Trace, TracePage, TraceQuery};

/// The traces; cheap to clone.
#[derive(Debug, Clone)]
pub struct Traces(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Embedded(EmbeddedStore),
    Merged(EmbeddedStore, MergedTraces),
}

impl From<EmbeddedStore> for Traces {
    fn from(store: EmbeddedStore) -> Self {
        Self(Kind::Embedded(store))
    }
}

impl Traces {
    /// Returns the traces of both stores.
    pub(crate) fn merged(local: EmbeddedStore, merged: MergedTraces) -> Self {
        Self(Kind::Merged(local, merged))
    }

    /// Returns how much the embedded store holds.
    pub fn stats(&self) -> StoreStats {
        match &self.0 {
            Kind::Embedded(store) | Kind::Merged(store, _) => store.stats(),
        }
    }
}

impl TraceReader for Traces {
    async fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> Result<Option<Trace>, StoreError> {
        match &self.0 {
            Kind::Embedded(store) => store.trace_within(id, bytes_max).await,
            Kind::Merged(_, store) => store.trace_within(id, bytes_max).await,
        }
    }

    async fn trace_ids_by_low_half(&self, low: u64) -> Result<Vec<TraceId>, StoreError> {
        match &self.0 {
            Kind::Embedded(store) => store.trace_ids_by_low_half(low).await,
            Kind::Merged(_, store) => store.trace_ids_by_low_half(low).await,
        }
    }

    async fn search(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        match &self.0 {
            Kind::Embedded(store) => store.search(query).await,
            Kind::Merged(_, store) => store.search(query).await,
        }
    }

    async fn services(&self, range: TimeRange) -> Result<Vec<String>, StoreError> {
        match &self.0 {
            Kind::Embedded(store) => store.services(range).await,
            Kind::Merged(_, store) => store.services(range).await,
        }
    }

    async fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> Result<Vec<String>, StoreError> {
        match &self.0 {
            Kind::Embedded(store) => store.operations(service, range).await,
            Kind::Merged(_, store) => store.operations(service, range).await,
        }
    }
}
