//! What the calls of one request share: answers that are kept until its end ([`RequestCache`]). The scope is a
//! [`RequestContext`], which the application makes for each request and hands on; one that lives as long as the process is a
//! scope for all requests.

mod cache;
mod context;

pub use cache::{KEYS_MAX, RequestCache};
pub use context::RequestContext;
