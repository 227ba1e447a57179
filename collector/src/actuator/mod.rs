//! The actuators of registered instances. Requests go only to addresses that are registered and allowed.

#![cfg_attr(not(test), expect(dead_code, reason = "the checks that send them follow"))]

mod fetch;
mod read;
mod target;

use http::StatusCode;

use self::fetch::FetchError;

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum ActuatorError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("its actuator answered {status} to /{path}")]
    Status { status: StatusCode, path: String },
    #[error("its actuator answered no JSON to /{path}")]
    Json { path: String },
}
