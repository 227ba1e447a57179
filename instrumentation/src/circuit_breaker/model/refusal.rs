//! The refusal of a call.

use std::time::Duration;

use thiserror::Error;

use crate::circuit_breaker::rules::state::EffectiveState;
use crate::name::Name;

/// The breaker refused the call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("circuit breaker {name} is {}: call refused", .state.as_str())]
pub struct Rejected {
    /// The name of the breaker.
    pub name: Name,
    /// The state in which it refused.
    pub state: EffectiveState,
    /// How long to wait before a retry can succeed.
    pub retry_after: Duration,
}
