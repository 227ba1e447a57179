//! The errors of policies: invalid settings and refused calls.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::time::Duration;

use thiserror::Error;

use super::event::Kind;
use crate::error_type::as_error;
use crate::name::{MAX_NAME_BYTES, Name};

/// An invalid setting of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{} setting {field} {problem}", .policy.noun())]
pub struct SettingsError {
    /// The kind of the policy.
    pub policy: Kind,
    /// Name of the setting.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// Why a policy could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A setting is invalid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("name of a policy is longer than {MAX_NAME_BYTES} bytes")]
    NameTooLong,
    /// The name belongs to a cache with other types.
    #[error("cache {0} exists with other types")]
    OtherTypes(String),
    /// A policy of this kind and name was built with other settings.
    #[error("{} {name} exists with other settings", .policy.noun())]
    Conflict {
        /// The kind of the policy.
        policy: Kind,
        /// The name.
        name: String,
    },
}

/// A rate limiter refused the call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("rate limiter {name}: no permit within the time that a call may wait")]
pub struct RateLimited {
    /// The name of the rate limiter.
    pub name: Name,
    /// The time after which a call can get a permit without waiting.
    pub retry_after: Duration,
}

/// A bulkhead refused the call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bulkhead {name}: no slot free, {limit} calls are running")]
pub struct BulkheadFull {
    /// The name of the bulkhead.
    pub name: Name,
    /// The number of slots, all of which are in use.
    pub limit: u32,
}

/// A call did not end in time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("time limiter {name}: no answer within {limit:?}")]
pub struct TimedOut {
    /// The name of the time limiter.
    pub name: Name,
    /// The timeout.
    pub limit: Duration,
}

/// The error of a call through a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyError<E> {
    /// A rate limiter refused the call.
    RateLimited(RateLimited),
    /// A bulkhead refused the call.
    BulkheadFull(BulkheadFull),
    /// The call did not end in time.
    TimedOut(TimedOut),
    /// The call itself failed.
    Failed(E),
}

impl<E> PolicyError<E> {
    /// Converts the error of the call itself; refusals and timeouts stay as they are.
    pub fn map_failed<F>(self, convert: impl FnOnce(E) -> F) -> PolicyError<F> {
        match self {
            Self::RateLimited(refusal) => PolicyError::RateLimited(refusal),
            Self::BulkheadFull(refusal) => PolicyError::BulkheadFull(refusal),
            Self::TimedOut(end) => PolicyError::TimedOut(end),
            Self::Failed(error) => PolicyError::Failed(convert(error)),
        }
    }

    /// Returns the error of the call itself.
    pub fn into_failed(self) -> Option<E> {
        match self {
            Self::Failed(error) => Some(error),
            Self::RateLimited(_) | Self::BulkheadFull(_) | Self::TimedOut(_) => None,
        }
    }
}

impl<E> PolicyError<PolicyError<E>> {
    /// Merges the errors of two nested policies.
    pub fn flatten(self) -> PolicyError<E> {
        match self {
            Self::RateLimited(refusal) => PolicyError::RateLimited(refusal),
            Self::BulkheadFull(refusal) => PolicyError::BulkheadFull(refusal),
            Self::TimedOut(end) => PolicyError::TimedOut(end),
            Self::Failed(inner) => inner,
        }
    }
}

impl<E: Display> Display for PolicyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RateLimited(refusal) => Display::fmt(refusal, f),
            Self::BulkheadFull(refusal) => Display::fmt(refusal, f),
            Self::TimedOut(end) => Display::fmt(end, f),
            Self::Failed(error) => Display::fmt(error, f),
        }
    }
}

impl<E: Debug + Display + 'static> Error for PolicyError<E> {
    /// Returns the cause of the call's own error if `E` is a boxed error; use [`into_failed`](Self::into_failed) for a
    /// typed one.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => as_error(error)?.source(),
            Self::RateLimited(_) | Self::BulkheadFull(_) | Self::TimedOut(_) => None,
        }
    }
}
