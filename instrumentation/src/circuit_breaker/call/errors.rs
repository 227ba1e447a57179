//! The errors of calls and commands.
//!
//! They implement `Error` for every `E` with `Debug` and `Display`, not only for types that implement `Error`, because
//! boxed errors, which tower's layers use, do not implement `Error`.

use std::error::Error;
use std::fmt::{self, Debug, Display};
use std::time::Duration;

use crate::circuit_breaker::model::pool_refusal::{PoolFull, PoolLost, PoolRunError};
use crate::circuit_breaker::model::refusal::Rejected;
use crate::error_type::as_error;
use crate::resilience::RateLimited;

/// The error of a call through a breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError<E> {
    /// The breaker refused the call; the protected code did not run.
    Rejected(Rejected),
    /// The protected code failed.
    Failed(E),
}

impl<E> From<Rejected> for CallError<E> {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(rejected)
    }
}

impl<E: Display> Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => Display::fmt(rejected, f),
            Self::Failed(error) => Display::fmt(error, f),
        }
    }
}

impl<E: Debug + Display + 'static> Error for CallError<E> {
    /// Returns the cause of the protected code's error if `E` is a boxed error; use [`into_failed`](Self::into_failed)
    /// for a typed one.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(_) => None,
            Self::Failed(error) => as_error(error)?.source(),
        }
    }
}

impl<E> CallError<E> {
    /// Converts the error of the protected code and leaves a refusal as it is.
    pub fn map_failed<F>(self, convert: impl FnOnce(E) -> F) -> CallError<F> {
        match self {
            Self::Rejected(rejected) => CallError::Rejected(rejected),
            Self::Failed(error) => CallError::Failed(convert(error)),
        }
    }

    /// Returns the refusal, if the breaker refused.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            Self::Failed(_) => None,
        }
    }

    /// Returns the error of the protected code, if it ran.
    pub fn into_failed(self) -> Option<E> {
        match self {
            Self::Rejected(_) => None,
            Self::Failed(error) => Some(error),
        }
    }
}

/// Why the protected code returned no value.
#[derive(Debug)]
pub enum Cause<E> {
    /// It failed.
    Failed(E),
    /// It did not finish within this time.
    TimedOut(Duration),
    /// The breaker refused the call.
    Rejected(Rejected),
    /// This many calls were already running.
    BulkheadFull(u32),
    /// The rate limiter of the command refused the call.
    RateLimited(RateLimited),
    /// The pool of the command refused the call.
    PoolFull(PoolFull),
    /// The runtime on which the pool ran the call ended.
    PoolLost(PoolLost),
}

impl<E> From<PoolRunError> for Cause<E> {
    fn from(error: PoolRunError) -> Self {
        match error {
            PoolRunError::Full(full) => Self::PoolFull(full),
            PoolRunError::Lost(lost) => Self::PoolLost(lost),
        }
    }
}

impl<E> Cause<E> {
    /// Returns the refusal, if the breaker refused.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Rejected(rejected) => Some(rejected),
            _ => None,
        }
    }
}

impl<E: Display> Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => Display::fmt(error, f),
            Self::TimedOut(limit) => write!(f, "no answer within {limit:?}"),
            Self::Rejected(rejected) => Display::fmt(rejected, f),
            Self::BulkheadFull(running) => write!(f, "no slot free: {running} calls are running"),
            Self::RateLimited(refusal) => Display::fmt(refusal, f),
            Self::PoolFull(full) => Display::fmt(full, f),
            Self::PoolLost(lost) => Display::fmt(lost, f),
        }
    }
}

impl<E: Debug + Display + 'static> Error for Cause<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => as_error(error)?.source(),
            _ => None,
        }
    }
}

/// Why the fallback did not replace the missing value.
#[derive(Debug)]
pub enum FallbackError<E> {
    /// The command has no fallback.
    Missing,
    /// The fallback is disabled.
    Disabled,
    /// This many fallbacks were already running.
    BulkheadFull(u32),
    /// The fallback failed too.
    Failed(E),
}

impl<E: Display> Display for FallbackError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no fallback"),
            Self::Disabled => f.write_str("fallback disabled"),
            Self::BulkheadFull(running) => {
                write!(f, "no slot free: {running} fallbacks are running")
            }
            Self::Failed(error) => write!(f, "fallback failed: {error}"),
        }
    }
}

impl<E: Debug + Display + 'static> Error for FallbackError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => as_error(error),
            Self::Missing | Self::Disabled | Self::BulkheadFull(_) => None,
        }
    }
}

/// The error of a command.
#[derive(Debug)]
pub enum CommandError<E> {
    /// The caller's fault: the unchanged error of the protected code. The fallback was not called.
    BadRequest(E),
    /// Neither the protected code nor a fallback returned a value.
    Failed {
        /// Why the protected code returned no value.
        cause: Cause<E>,
        /// Why the fallback did not replace the missing value.
        fallback: FallbackError<E>,
    },
}

impl<E: Display> Display for CommandError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadRequest(error) => Display::fmt(error, f),
            Self::Failed { cause, fallback } => write!(f, "{cause} ({fallback})"),
        }
    }
}

impl<E: Debug + Display + 'static> Error for CommandError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::BadRequest(error) => as_error(error)?.source(),
            Self::Failed { cause, .. } => Some(cause),
        }
    }
}

impl<E> CommandError<E> {
    /// Returns the refusal, if the breaker refused.
    pub fn rejected(&self) -> Option<&Rejected> {
        match self {
            Self::Failed { cause, .. } => cause.rejected(),
            Self::BadRequest(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type BoxError = Box<dyn Error + Send + Sync>;

    fn chain(error: &dyn Error) -> Vec<String> {
        let mut texts = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            texts.push(error.to_string());
            cause = error.source();
        }
        texts
    }

    #[test]
    fn boxed_errors_pass_through_the_question_mark_with_their_causes() {
        let call = || -> Result<(), BoxError> {
            Err(CallError::Failed(Box::new(Outer(Inner)) as BoxError))?;
            Ok(())
        };
        assert_eq!(chain(&*call().unwrap_err()), ["outer", "inner"]);
        let command = || -> Result<(), Box<dyn Error>> {
            Err(CommandError::Failed {
                cause: Cause::Failed(BoxError::from("no stock")),
                fallback: FallbackError::<BoxError>::Missing,
            })?;
            Ok(())
        };
        let error = command().unwrap_err();
        assert_eq!(error.to_string(), "no stock (no fallback)");
    }

    /// Guarantees: text and anything else with `Display` is an error too.
    #[test]
    fn texts_are_errors() {
        let call = |text: &'static str| -> Result<(), BoxError> {
            Err(CallError::Failed(text))?;
            Ok(())
        };
        assert_eq!(call("no stock").unwrap_err().to_string(), "no stock");
        let error = CallError::Failed("no stock".to_owned());
        assert_eq!(error.map_failed(|text| text.len()), CallError::Failed(8));
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;
}
