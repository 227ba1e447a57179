//! The errors of a call: a refusal, the error of a protected call, and why a command gave no answer.

use std::time::Duration;

use thiserror::Error;

use crate::circuit_breaker::rules::state::EffectiveState;
use crate::circuit_breaker::watch::name::Name;

/// A call that the breaker refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("circuit breaker {name} is {}: call refused", .state.as_str())]
pub struct Rejected {
    /// The breaker.
    pub name: Name,
    /// The state that refused it.
    pub state: EffectiveState,
    /// When it is worth trying again.
    pub retry_after: Duration,
}

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
    /// Returns the refusal, if it was one.
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
