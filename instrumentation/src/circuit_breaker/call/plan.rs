//! What the executions of a command share: its breaker and its policies.

use std::sync::Arc;

use super::attempt::Policies;
use super::handle::CircuitBreaker;

/// A breaker and the policies around it. Each execution takes a clone of its command, which costs one reference count.
#[derive(Debug, Clone)]
pub(super) enum Plan {
    Breaker(CircuitBreaker),
    Policies(Arc<(CircuitBreaker, Policies)>),
}

impl Plan {
    #[inline]
    pub(super) fn breaker(&self) -> &CircuitBreaker {
        match self {
            Self::Breaker(breaker) => breaker,
            Self::Policies(both) => &both.0,
        }
    }

    #[inline]
    pub(super) fn policies(&self) -> &Policies {
        match self {
            Self::Breaker(_) => Policies::NONE,
            Self::Policies(both) => &both.1,
        }
    }

    /// Adds or replaces a policy.
    pub(super) fn change(&mut self, change: impl FnOnce(&mut Policies)) {
        match self {
            Self::Breaker(breaker) => {
                let mut policies = Policies::default();
                change(&mut policies);
                *self = Self::Policies(Arc::new((breaker.clone(), policies)));
            }
            Self::Policies(both) => change(&mut Arc::make_mut(both).1),
        }
    }
}
