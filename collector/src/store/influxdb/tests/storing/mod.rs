//! What was stored and is read back: the suites of all stores, and the way of spans from the journal to the server.

mod contract;
mod filters;
mod journal;
mod logs;
mod measure;
mod pausing;
mod support;
