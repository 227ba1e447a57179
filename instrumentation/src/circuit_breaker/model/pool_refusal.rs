//! The errors of calls in a pool.

use std::fmt;
use std::time::Duration;

use super::refusal::Rejected;
use crate::name::Name;

/// The pool refused the call: no worker was free and its queue was full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFull {
    /// The key of the pool.
    pub pool: Name,
    /// The number of workers, all of which were running calls.
    pub workers: u32,
    /// The capacity of the queue, which was full.
    pub queue: u32,
}

impl fmt::Display for PoolFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pool,
            workers,
            queue,
        } = self;
        write!(
            f,
            "pool {pool} is full: {workers} calls are running and {queue} waiting"
        )
    }
}

impl std::error::Error for PoolFull {}

/// The runtime on which the pool ran the call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLost;

impl fmt::Display for PoolLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the runtime of the call ended before the call did")
    }
}

impl std::error::Error for PoolLost {}

/// Why a pool returned no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolRunError {
    /// The pool refused the call.
    #[error(transparent)]
    Full(#[from] PoolFull),
    /// The runtime of the call ended.
    #[error(transparent)]
    Lost(#[from] PoolLost),
}

/// Why a call through a breaker and a pool returned no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PooledError<E> {
    /// The breaker refused the call.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The pool refused the call.
    #[error(transparent)]
    Full(#[from] PoolFull),
    /// The call did not end within this time, which includes the wait for a worker.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The runtime of the call ended.
    #[error(transparent)]
    Lost(#[from] PoolLost),
    /// The call failed.
    #[error("{0}")]
    Failed(E),
}

impl<E> From<PoolRunError> for PooledError<E> {
    fn from(error: PoolRunError) -> Self {
        match error {
            PoolRunError::Full(full) => Self::Full(full),
            PoolRunError::Lost(lost) => Self::Lost(lost),
        }
    }
}
