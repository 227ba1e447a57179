//! What the calls of one request share: answers that are kept until its end ([`RequestCache`]), and calls that are made
//! together ([`Collapser`]). The scope is a [`RequestContext`], which the application makes for each request and hands on;
//! one that lives as long as the process is a scope for all requests.

mod cache;
mod collapser;
mod context;
#[cfg(test)]
mod tests;

pub use cache::{KEYS_MAX, RequestCache};
pub use collapser::{BATCH_MAX, CollapseError, Collapser, CollapserSettings};
pub use context::RequestContext;
