//! Caching ([`RequestCache`]) and batching ([`Collapser`]) of the calls of one request. The scope is a
//! [`RequestContext`], which the application creates for each request and passes on; one that lives as long as the
//! process spans all requests.

mod cache;
mod collapser;
mod context;
mod gathering;
#[cfg(test)]
mod tests;

pub use cache::{KEYS_MAX, RequestCache, WAITING_MAX};
pub use collapser::{BATCH_MAX, CollapseError, Collapser, CollapserSettings};
pub use context::RequestContext;
