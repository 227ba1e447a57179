//! Why the pipeline rejected a request.

use std::time::Duration;

use crate::codec::otlp::DecodeError;
use crate::store::StoreError;

/// Why the pipeline rejected a request.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// The bytes are invalid; sending them again would fail the same way.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue was full for as long as a request may wait.
    #[error("the collector is full; try again in {} s", retry_after.as_secs())]
    Full {
        /// Retry delay (1 to 3 s: several SDKs drop a batch at once if the delay is longer).
        retry_after: Duration,
    },
    /// The disk failed; the request may be lost, and sending it again may help.
    #[error("the request could not be stored: {0}")]
    Store(#[from] StoreError),
    /// The shard with the request panicked; another shard may store it.
    #[error("the request could not be stored: its ingest shard ended")]
    ShardEnded,
    /// Decoding the request panicked; sending it again would do the same.
    #[error("the request could not be handled: {0}")]
    Internal(String),
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopping,
}
