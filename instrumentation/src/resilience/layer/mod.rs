//! Policies as tower layers. Each puts its policy around any service; a retry and a hedge also need to know how to
//! repeat a request.
//!
//! In a stack that is read from the outside in, resilience4j's order is [`RetryLayer`], the breaker's layer,
//! [`PolicyLayer`]s with a rate limiter and a time limiter, and [`BulkheadLayer`]. The layers clone their services,
//! because a waiting call cannot borrow them, and box their futures. A refusal is an error of the call, never of
//! `poll_ready`.

mod bulkhead;
mod cache;
mod hedge;
mod policy;
mod repeat;
mod requests;
mod retry;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;

use tower_service::Service;

pub use crate::body::{AnyResponses, HttpResponses, ResponseBody};
pub use bulkhead::{BulkheadLayer, BulkheadService};
pub use cache::{CacheLayer, CacheService};
pub use hedge::{HedgeLayer, HedgeService};
pub use policy::{PolicyLayer, PolicyService};
pub use repeat::{RepeatLayer, RepeatService};
pub use requests::{CloneRequests, IdempotentRequests, Requests};
pub use retry::{RetryLayer, RetryService};

/// The future of a layer.
pub type PolicyFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Takes the instance that `poll_ready` made ready, and leaves a clone in its place.
fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    std::mem::replace(service, clone)
}

/// Waits until a service is ready.
async fn ready<S: Service<Request>, Request>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}
