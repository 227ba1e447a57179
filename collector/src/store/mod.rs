//! Where spans and circuits are kept and read back: small traits, each with an embedded back end.

#[cfg(test)]
pub(crate) mod contract;
pub mod embedded;
pub mod series;

use std::future::Future;

use opentelemetry::TraceId;

use crate::model::{TimeRange, Trace, TracePage, TraceQuery};

/// Reads traces. Not found is `None`; an empty search is an empty page; both are no errors.
pub trait TraceReader: Send + Sync {
    /// Returns every span of that trace, duplicates removed, sorted by start.
    fn trace(&self, id: TraceId) -> impl Future<Output = Result<Option<Trace>, StoreError>> + Send;
    /// Returns the traces whose low 64 bits are that number (an id given with 16 digits), newest first.
    fn trace_ids_by_low_half(
        &self,
        low: u64,
    ) -> impl Future<Output = Result<Vec<TraceId>, StoreError>> + Send;
    /// Returns one page of the traces that match, newest first.
    fn search(
        &self,
        query: TraceQuery,
    ) -> impl Future<Output = Result<TracePage, StoreError>> + Send;
    /// Returns the names of the services that sent spans in that range, sorted.
    fn services(
        &self,
        range: TimeRange,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;
    /// Returns the span names of a service in that range, sorted, at most 1,000.
    fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file holds what no version of this program writes.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
}
