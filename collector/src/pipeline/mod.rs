//! From a request's bytes to durable spans and live figures: a bounded queue, one shard per core, group commit.

use std::time::Duration;

use crate::codec::otlp::DecodeError;
use crate::store::StoreError;

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The bytes could not be read; sending them again will not help.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue stayed full for as long as a sender is kept waiting.
    #[error("the collector is full; try again in {} s", retry_after.as_secs())]
    Full {
        /// When to try again (1 to 3 s: several SDKs drop a batch at once when told to wait longer).
        retry_after: Duration,
    },
    /// The disk refused; nothing of the request is promised.
    #[error("the request could not be stored: {0}")]
    Store(String),
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopping,
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Takes requests in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ingest {}

impl Ingest {
    /// Takes in an `ExportTraceServiceRequest` (protobuf, inflated); returns once its spans are durable.
    pub async fn spans(
        &self,
        _request: bytes::Bytes,
    ) -> Result<crate::codec::otlp::WalkReport, IngestError> {
        todo!()
    }

    /// Takes in an `ExportMetricsServiceRequest` (protobuf, inflated); returns once its circuit points are durable.
    pub async fn metrics(&self, _request: bytes::Bytes) -> Result<(), IngestError> {
        todo!()
    }

    /// Takes in an `ExportLogsServiceRequest` (protobuf, inflated); returns once its circuit events are durable.
    pub async fn logs(&self, _request: bytes::Bytes) -> Result<(), IngestError> {
        todo!()
    }
}
