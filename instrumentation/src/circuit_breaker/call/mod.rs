//! The ways to put a call behind a breaker: the handle that callers hold, and the command with timeout, bulkhead and
//! fallback. Both make a protected call (a span, the permit and its outcome), which is added to the log of the request.

mod attempt;
pub(crate) mod cached;
pub(crate) mod command;
pub(crate) mod composition;
mod deadline;
pub(crate) mod errors;
pub(crate) mod execution;
pub(crate) mod fallback;
pub(crate) mod foreign;
pub(crate) mod handle;
pub(crate) mod in_pool;
mod observation;
pub(crate) mod permit;
mod plan;
pub(crate) mod pool;
pub(crate) mod pooled;
pub(crate) mod protected;
mod repeat;
pub mod request_log;
#[cfg(feature = "http")]
pub(crate) mod seen;
