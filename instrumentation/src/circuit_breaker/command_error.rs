//! Why a command gave no answer: both causes, where the fallback failed too.

use std::time::Duration;

use thiserror::Error;

use super::rejected::Rejected;

/// Why the protected code gave no answer.
#[derive(Debug, Error)]
pub enum Cause<E> {
    /// It failed.
    #[error(transparent)]
    Failed(E),
    /// It did not answer in this time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The breaker refused it.
    #[error(transparent)]
    Rejected(Rejected),
    /// So many calls were running already.
    #[error("no slot free: {0} calls are running")]
    BulkheadFull(u32),
}

/// Why no fallback answered instead.
#[derive(Debug, Error)]
pub enum FallbackError<E> {
    /// There is none.
    #[error("no fallback")]
    Missing,
    /// It is switched off.
    #[error("fallback disabled")]
    Disabled,
    /// So many fallbacks were running already.
    #[error("no slot free: {0} fallbacks are running")]
    BulkheadFull(u32),
    /// It failed too.
    #[error("fallback failed: {0}")]
    Failed(#[source] E),
}

/// The error of a command.
#[derive(Debug, Error)]
pub enum CommandError<E> {
    /// The caller's own fault: the error as it came, no fallback was asked.
    #[error(transparent)]
    BadRequest(E),
    /// Neither the protected code nor a fallback answered.
    #[error("{cause} ({fallback})")]
    Failed {
        /// Why the protected code gave no answer.
        #[source]
        cause: Cause<E>,
        /// Why no fallback answered.
        fallback: FallbackError<E>,
    },
}

impl<E> CommandError<E> {
    /// Returns the refusal, if the breaker refused.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Failed {
                cause: Cause::Rejected(rejected),
                ..
            } => Some(rejected),
            _ => None,
        }
    }
}
