//! Why a request was refused by the pipeline.

use std::time::Duration;

use crate::codec::otlp::DecodeError;
use crate::store::StoreError;

/// Why a request was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IngestError {
    /// The bytes could not be read; sending them again would fail the same way.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The queue stayed full for as long as a request may wait.
    #[error("the collector is full; try again in {} s", retry_after.as_secs())]
    Full {
        /// When to try again (1 to 3 s: several SDKs drop a batch at once when asked to wait longer).
        retry_after: Duration,
    },
    /// The disk refused; nothing of the request is promised, and sending it again may help.
    #[error("the request could not be stored: {0}")]
    Store(#[from] StoreError),
    /// The shard that held the request ended by a panic; another shard may store it.
    #[error("the request could not be stored: its ingest shard ended")]
    ShardEnded,
    /// Reading the request panicked; sending it again would do the same.
    #[error("the request could not be handled: {0}")]
    Internal(String),
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopping,
}
