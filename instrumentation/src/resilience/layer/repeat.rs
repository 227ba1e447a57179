//! The layer of a policy that makes requests again: a retry or a hedge.

use tower_layer::Layer;

use super::requests::IdempotentRequests;

/// Puts a policy `P` around a service that makes requests again, as far as `R` knows how: [`RetryLayer`](super::RetryLayer),
/// [`HedgeLayer`](super::HedgeLayer). A request that cannot be made twice is made once.
#[derive(Debug, Clone)]
pub struct RepeatLayer<P, R = IdempotentRequests> {
    policy: P,
    requests: R,
}

impl<P> RepeatLayer<P> {
    /// Creates a layer for services of HTTP; see [`IdempotentRequests`].
    pub fn new(policy: P) -> Self {
        Self::with(policy, IdempotentRequests)
    }
}

impl<P, R> RepeatLayer<P, R> {
    /// Creates a layer for requests that `requests` knows how to repeat, [`CloneRequests`](super::CloneRequests) for example.
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

/// A service whose requests are made again.
#[derive(Debug, Clone)]
pub struct RepeatService<S, P, R> {
    pub(super) inner: S,
    pub(super) policy: P,
    pub(super) requests: R,
}
