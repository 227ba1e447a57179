//! What is known of an error whose type is not: whether it is one of the errors that are met everywhere, its `error.type`,
//! and whether it is a timeout.

use std::any::Any;
use std::error::Error;

/// Returns an error as such if it is a boxed one, or of a type that this crate meets often. Rust cannot ask a type
/// whether it implements `Error`.
pub(crate) fn as_error<E: 'static>(error: &E) -> Option<&(dyn Error + 'static)> {
    let error: &dyn Any = error;
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send + Sync>>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<Box<dyn Error + Send>>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<Box<dyn Error>>() {
        return Some(&**error);
    }
    #[cfg(feature = "reqwest")]
    if let Some(error) = error.downcast_ref::<reqwest::Error>() {
        return Some(error);
    }
    if let Some(error) = error.downcast_ref::<tokio::time::error::Elapsed>() {
        return Some(error);
    }
    let error = error.downcast_ref::<std::io::Error>()?;
    Some(error)
}

#[cfg(feature = "http")]
pub(crate) use of_http::{describe, is_timeout, of, panic_message};

#[cfg(feature = "http")]
mod of_http {
    use std::any::type_name;
    use std::fmt::Display;

    use super::{Any, Error, as_error};
    use crate::semconv::ERROR_TYPE_TIMEOUT;

    /// Returns the `error.type` of an error, of low cardinality: a word, or the name of its type.
    pub(crate) fn of<E: 'static>(error: &E) -> &'static str {
        if is_timeout(error) {
            return ERROR_TYPE_TIMEOUT;
        }
        match as_error(error) {
            Some(error) => known(error),
            None => type_name::<E>(),
        }
    }

    /// The word for an error of `reqwest` or of input and output, anywhere in the chain of causes; `_OTHER` for others.
    fn known(error: &(dyn Error + 'static)) -> &'static str {
        chain(error).find_map(word).unwrap_or("_OTHER")
    }

    fn word(error: &(dyn Error + 'static)) -> Option<&'static str> {
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return Some(match error {
                error if error.is_connect() => "connect",
                error if error.is_redirect() => "redirect",
                error if error.is_builder() => "invalid_request",
                error if error.is_body() || error.is_decode() => "body",
                _ => "request",
            });
        }
        error.is::<std::io::Error>().then_some("io")
    }

    /// Whether an error is a timeout of tokio, of `reqwest` or of input and output, or was caused by one.
    pub(crate) fn is_timeout<E: 'static>(error: &E) -> bool {
        as_error(error).is_some_and(|error| chain(error).any(is_timeout_itself))
    }

    fn is_timeout_itself(error: &(dyn Error + 'static)) -> bool {
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return error.is_timeout();
        }
        let io = error.downcast_ref::<std::io::Error>();
        error.is::<tokio::time::error::Elapsed>()
            || io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    }

    fn chain<'a>(
        error: &'a (dyn Error + 'static),
    ) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
        std::iter::successors(Some(error), |error| (*error).source())
    }

    /// Returns the message of an error; of `reqwest`'s that of the innermost cause, which repeats no URL.
    pub(crate) fn describe<E: Display + 'static>(error: &E) -> String {
        #[cfg(feature = "reqwest")]
        if let Some(error) = (error as &dyn Any).downcast_ref::<reqwest::Error>() {
            let innermost = chain(error).skip(1).last();
            return innermost.map_or_else(|| of(error).to_owned(), ToString::to_string);
        }
        error.to_string()
    }

    /// Returns the message of a panic.
    pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
        let owned = || panic.downcast_ref::<String>().map(String::as_str);
        let text = panic.downcast_ref::<&str>().copied().or_else(owned);
        text.unwrap_or("panic without a message")
    }
}
