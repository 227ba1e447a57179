//! The errors of calls and commands.

use std::time::Duration;

use thiserror::Error;

use crate::circuit_breaker::model::refusal::Rejected;

/// The error of a call through a breaker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError<E> {
    /// The breaker refused the call; the protected code did not run.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The protected code failed.
    #[error(transparent)]
    Failed(E),
}

impl<E> CallError<E> {
    /// Returns the refusal, if the breaker refused.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Failed(_) => None,
        }
    }

    /// Returns the error of the protected code, if it ran.
    pub fn into_failed(self) -> Option<E> {
        match self {
            Self::Rejected(_) => None,
            Self::Failed(error) => Some(error),
        }
    }
}

/// Why the protected code gave no value.
#[derive(Debug, Error)]
pub enum Cause<E> {
    /// It failed.
    #[error(transparent)]
    Failed(E),
    /// It did not finish within this time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The breaker refused the call.
    #[error(transparent)]
    Rejected(Rejected),
    /// This many calls were already running.
    #[error("no slot free: {0} calls are running")]
    BulkheadFull(u32),
}

/// Why no fallback replaced the value.
#[derive(Debug, Error)]
pub enum FallbackError<E> {
    /// There is none.
    #[error("no fallback")]
    Missing,
    /// It is disabled.
    #[error("fallback disabled")]
    Disabled,
    /// This many fallbacks were already running.
    #[error("no slot free: {0} fallbacks are running")]
    BulkheadFull(u32),
    /// It failed too.
    #[error("fallback failed: {0}")]
    Failed(#[source] E),
}

/// The error of a command.
#[derive(Debug, Error)]
pub enum CommandError<E> {
    /// The caller's fault: the error as it was; the fallback was not called.
    #[error(transparent)]
    BadRequest(E),
    /// Neither the protected code nor a fallback gave a value.
    #[error("{cause} ({fallback})")]
    Failed {
        /// Why the protected code gave no value.
        #[source]
        cause: Cause<E>,
        /// Why no fallback replaced it.
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
