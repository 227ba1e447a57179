//! Where spans and circuits are kept and read back: small traits, each with an embedded back end.

mod assemble;
#[cfg(test)]
pub(crate) mod contract;
pub(crate) mod convert;
pub(crate) mod durable;
pub mod embedded;
pub(crate) mod hash;
pub mod influxdb;
pub(crate) mod matching;
pub(crate) mod merged;
pub mod series;
mod traces;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use opentelemetry::TraceId;

pub(crate) use assemble::assemble;
pub use traces::Traces;

use crate::model::{CircuitKey, TimeRange, Trace, TracePage, TraceQuery};
use series::{SeriesKind, SeriesRecord};

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

/// Reads the records that are no spans. Both functions block the thread.
pub trait SeriesReader: Send + Sync + std::fmt::Debug {
    /// Visits the records of a kind in that range; only of one breaker when given.
    ///
    /// Those of one instance, edge or operation come in the order of their times or of their arrival.
    ///
    /// # Errors
    /// When they cannot be read.
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
    fn latest(&self, kind: SeriesKind) -> Result<Option<u64>, StoreError>;
}

/// Why a store could not do what it was asked. Cheap to clone: everyone who waited for a write gets its error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file holds what no version of this program writes.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A server that stores for us did not do what it was asked.
    #[error("could not {action} {url}: {problem}")]
    Remote {
        /// What was being done.
        action: &'static str,
        /// Its address.
        url: String,
        /// What it or the network said.
        problem: String,
    },
}

impl StoreError {
    /// Makes the error of a file operation.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.display().to_string(),
            source: Arc::new(source),
        }
    }

    /// Makes the error of a file that holds what no version of this program writes.
    pub(crate) fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged {
            path: path.display().to_string(),
            what: what.to_owned(),
        }
    }

    /// Returns whether the disk, or the quota on it, is full.
    pub fn is_disk_full(&self) -> bool {
        let is_full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        matches!(self, Self::Io { source, .. } if is_full(source.kind()))
    }
}
