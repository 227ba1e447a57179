//! Stores spans and circuits and reads them back: small traits, each with an embedded implementation.

mod assemble;
pub(crate) mod bits;
pub(crate) mod bytes;
pub(crate) mod cancel;
mod content;
#[cfg(test)]
pub(crate) mod contract;
pub(crate) mod convert;
pub(crate) mod durable;
pub mod embedded;
pub(crate) mod fitting;
pub(crate) mod frame;
pub(crate) mod fuzz;
pub(crate) mod hash;
pub mod influxdb;
pub mod logs;
pub(crate) mod matching;
pub(crate) mod merged;
mod partial;
pub(crate) mod search;
pub mod series;
mod ship_progress;

use std::future::Future;

use opentelemetry::TraceId;

#[cfg(test)]
pub(crate) use assemble::assemble;
pub(crate) use assemble::{Received, try_assemble};
pub use merged::{Logs, Traces};
pub use partial::{Missing, MissingPart, Partial};
pub(crate) use ship_progress::{Follow, ShipProgress};

pub use crate::log::StoreError;

use crate::model::{
    CircuitKey, LogPage, LogQuery, Span, TimeRange, Trace, TracePage, TraceQuery, UnixNanos,
};
use fitting::TRACE_BYTES_MAX;
use series::{SeriesKind, SeriesRecord};

/// Reads traces. A trace that does not exist is `None`, a search without matches an empty page; neither is an
/// error.
pub trait TraceReader: Send + Sync {
    /// Returns the spans of a trace, deduplicated, sorted by start, fitted into `bytes_max` bytes of memory.
    fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Option<Trace>, StoreError>> + Send;
    /// Returns a trace fitted into `TRACE_BYTES_MAX`.
    fn trace(&self, id: TraceId) -> impl Future<Output = Result<Option<Trace>, StoreError>> + Send {
        self.trace_within(id, TRACE_BYTES_MAX)
    }
    /// Returns several traces at once in the order of their ids, without those that do not exist. `None` if
    /// together they do not fit untruncated into `bytes_max`, or if reading them one by one is faster.
    fn traces_within(
        &self,
        _ids: Vec<TraceId>,
        _bytes_max: usize,
    ) -> impl Future<Output = Result<Option<Vec<Trace>>, StoreError>> + Send {
        std::future::ready(Ok(None))
    }
    /// Returns the traces whose id has these low 64 bits (an id given with 16 digits), newest first.
    fn trace_ids_by_low_half(
        &self,
        low: u64,
    ) -> impl Future<Output = Result<Vec<TraceId>, StoreError>> + Send;
    /// Returns one page of matching traces, newest first.
    fn search(
        &self,
        query: TraceQuery,
    ) -> impl Future<Output = Result<TracePage, StoreError>> + Send;
    /// Returns the names of the services with spans in the range, sorted.
    fn services(
        &self,
        range: TimeRange,
    ) -> impl Future<Output = Result<Partial<Vec<String>>, StoreError>> + Send;
    /// Returns the span names of a service in the range, sorted, at most 1,000.
    fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> impl Future<Output = Result<Partial<Vec<String>>, StoreError>> + Send;
}

/// Takes many spans, of which only some columns were read.
pub(crate) trait SpanSink: Send + 'static {
    /// Takes spans, and the latest possible start of all that follow; returns whether it wants more.
    ///
    /// # Errors
    /// When the query was cancelled or its time is over.
    fn take(&mut self, spans: &[Span], latest: UnixNanos) -> Result<bool, StoreError>;
}

/// Reads log records.
pub trait LogReader: Send + Sync {
    /// Returns one page of the records that match, newest first; a search that takes long ends early and says so.
    ///
    /// # Errors
    /// When they cannot be read.
    fn search(&self, query: LogQuery) -> impl Future<Output = Result<LogPage, StoreError>> + Send;
}

/// Reads series records: everything that is not a span. The functions block the thread.
pub trait SeriesReader: Send + Sync + std::fmt::Debug {
    /// Visits the records of a kind in a range, optionally of one breaker only.
    ///
    /// Records of one instance, edge or operation come in the order of their times or of their arrival.
    ///
    /// # Errors
    /// When some could not be read; those already visited are valid.
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError>;

    /// Returns the time of the newest record of a kind.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError>;

    /// Describes what an answer lacks because of this error.
    fn missing(&self, error: StoreError) -> Missing {
        Missing::rest(error)
    }
}
