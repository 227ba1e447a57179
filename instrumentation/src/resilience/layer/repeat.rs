//! The layer of a policy that repeats requests: a retry or a hedge.

use tower_layer::Layer;

use super::requests::IdempotentRequests;

/// Puts a policy `P` that repeats requests around a service: [`RetryLayer`](super::RetryLayer),
/// [`HedgeLayer`](super::HedgeLayer). `R` knows how to repeat a request; one that cannot be repeated is made once.
#[derive(Debug, Clone)]
pub struct RepeatLayer<P, R = IdempotentRequests> {
    policy: P,
    requests: R,
}

impl<P> RepeatLayer<P> {
    /// Creates a layer for HTTP services; see [`IdempotentRequests`].
    pub fn new(policy: P) -> Self {
        Self::with(policy, IdempotentRequests)
    }
}

impl<P, R> RepeatLayer<P, R> {
    /// Creates a layer for requests that `requests` can repeat, for example [`CloneRequests`](super::CloneRequests).
    pub fn with(policy: P, requests: R) -> Self {
        Self { policy, requests }
    }
}

impl<S, P: Clone, R: Clone> Layer<S> for RepeatLayer<P, R> {
    type Service = RepeatService<S, P, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RepeatService {
            inner,
            policy: self.policy.clone(),
            requests: self.requests.clone(),
        }
    }
}

/// A service whose requests are repeated.
#[derive(Debug, Clone)]
pub struct RepeatService<S, P, R> {
    pub(super) inner: S,
    pub(super) policy: P,
    pub(super) requests: R,
}
