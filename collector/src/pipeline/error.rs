//! Why a request was not taken in.

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
    /// The disk refused; nothing of the request is promised, and sending it again may help.
    #[error("the request could not be stored: {0}")]
    Store(String),
    /// We failed over the request itself (a panic); sending it again would do the same.
    #[error("the request could not be handled: {0}")]
    Internal(String),
    /// The collector is stopping.
    #[error("the collector is stopping")]
    Stopping,
}

impl From<StoreError> for IngestError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}
