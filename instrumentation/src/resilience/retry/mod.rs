//! Makes a call again that has failed.

mod settings;

pub use settings::{MAX_ATTEMPTS, RetrySettings};
