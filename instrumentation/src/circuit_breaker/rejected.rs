//! What a refused call gets, and the error of a protected call.

use std::time::Duration;

use thiserror::Error;

use super::name::Name;
use super::state::EffectiveState;

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
