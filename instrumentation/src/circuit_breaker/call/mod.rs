//! The ways to put a call behind a breaker: the handle that callers hold, and the command with timeout, bulkhead and
//! fallback. Both run a protected call (a span, the permit and its outcome), which the log of the request lists.

pub(crate) mod command;
pub(crate) mod errors;
pub(crate) mod execution;
pub(crate) mod handle;
pub(crate) mod protected;
pub mod request_log;
