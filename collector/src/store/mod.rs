//! Where spans and circuits are kept and read back: small traits, each with an embedded back end.

mod assemble;
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

use std::future::Future;

use opentelemetry::TraceId;

#[cfg(test)]
pub(crate) use assemble::assemble;
pub(crate) use assemble::{Received, try_assemble};
pub use merged::Traces;
pub use partial::{Missing, MissingPart, Partial};

pub use crate::log::StoreError;

use crate::model::{CircuitKey, TimeRange, Trace, TracePage, TraceQuery, UnixNanos};
use fitting::TRACE_BYTES_MAX;
use series::{SeriesKind, SeriesRecord};

/// Reads traces. Not found is `None`; an empty search is an empty page; both are no errors.
pub trait TraceReader: Send + Sync {
    /// Returns every span of that trace, duplicates removed, sorted by start, fitted into so many bytes of memory.
    fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> impl Future<Output = Result<Option<Trace>, StoreError>> + Send;
    /// Returns a trace fitted into `TRACE_BYTES_MAX`.
    fn trace(&self, id: TraceId) -> impl Future<Output = Result<Option<Trace>, StoreError>> + Send {
        self.trace_within(id, TRACE_BYTES_MAX)
    }
    /// Returns several traces at once, in the order of their ids, those that are not there left out; `None` where they do not
    /// fit into so many bytes whole and together, or are quicker read one by one.
    fn traces_within(
        &self,
        _ids: Vec<TraceId>,
        _bytes_max: usize,
    ) -> impl Future<Output = Result<Option<Vec<Trace>>, StoreError>> + Send {
        std::future::ready(Ok(None))
    }
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
    ) -> impl Future<Output = Result<Partial<Vec<String>>, StoreError>> + Send;
    /// Returns the span names of a service in that range, sorted, at most 1,000.
    fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> impl Future<Output = Result<Partial<Vec<String>>, StoreError>> + Send;
}

/// Reads the records that are no spans. Both functions block the thread.
pub trait SeriesReader: Send + Sync + std::fmt::Debug {
    /// Visits the records of a kind in that range; only of one breaker when given.
    ///
    /// Those of one instance, edge or operation come in the order of their times or of their arrival.
    ///
    /// # Errors
    /// When they cannot be read, or not all of them: what was visited by then is right.
    fn scan(
        &self,
        kind: SeriesKind,
        range: TimeRange,
        only: Option<&CircuitKey>,
        visit: &mut dyn FnMut(SeriesRecord),
    ) -> Result<(), StoreError>;

    /// Returns the latest time of any record of that kind, Unix nanoseconds.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn latest(&self, kind: SeriesKind) -> Result<Option<UnixNanos>, StoreError>;

    /// Returns what an answer lacks after such an error.
    fn missing(&self, error: StoreError) -> Missing {
        Missing::rest(error)
    }
}
