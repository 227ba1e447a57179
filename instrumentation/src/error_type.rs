//! Classifies errors of unknown type: their `error.type` and whether they are timeouts.

use std::any::Any;
use std::error::Error;

/// Returns the error if it is a boxed one or of a type that this crate often receives. Rust cannot test at runtime
/// whether a type implements `Error`.
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
pub(crate) use of_http::{Seen, chain, panic_message};

#[cfg(feature = "http")]
mod of_http {
    use std::any::type_name;
    use std::fmt::Display;

    use super::{Any, Error, as_error};
    use crate::semconv::ERROR_TYPE_TIMEOUT;

    /// An error whose type may be unknown.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Seen<'a> {
        known: Option<&'a (dyn Error + 'static)>,
        type_name: &'static str,
    }

    impl<'a> Seen<'a> {
        /// Inspects an error itself.
        pub(crate) fn of<E: 'static>(error: &'a E) -> Self {
            Self::named::<E>(as_error(error))
        }

        /// Uses `known` as the error of type `E`.
        pub(crate) fn named<E>(known: Option<&'a (dyn Error + 'static)>) -> Self {
            Self {
                known,
                type_name: type_name::<E>(),
            }
        }

        /// Returns the `error.type`, with low cardinality: a word for an error of `reqwest` or an I/O error anywhere in
        /// the chain of causes, `_OTHER` for other boxed errors, else the name of the type.
        pub(crate) fn error_type(self) -> &'static str {
            match self.known {
                Some(_) if self.is_timeout() => ERROR_TYPE_TIMEOUT,
                Some(error) => chain(error).find_map(word).unwrap_or("_OTHER"),
                None => self.type_name,
            }
        }

        /// Returns whether the error is, or was caused by, a timeout of tokio, of `reqwest` or of I/O.
        pub(crate) fn is_timeout(self) -> bool {
            let known = self.known;
            known.is_some_and(|error| chain(error).any(is_timeout_itself))
        }

        /// Returns the first error of `reqwest` in the chain of causes.
        #[cfg(feature = "reqwest")]
        pub(crate) fn reqwest(self) -> Option<&'a reqwest::Error> {
            chain(self.known?).find_map(|error| error.downcast_ref())
        }

        /// Returns the message of the error, `shown`. With an error of `reqwest` in its chain it is the message of the
        /// innermost cause, because the others repeat the URL.
        pub(crate) fn description(self, shown: &dyn Display) -> String {
            #[cfg(feature = "reqwest")]
            if let Some(error) = self.reqwest() {
                let innermost = chain(error).skip(1).last();
                return innermost.map_or_else(|| self.error_type().to_owned(), ToString::to_string);
            }
            shown.to_string()
        }
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

    fn is_timeout_itself(error: &(dyn Error + 'static)) -> bool {
        #[cfg(feature = "reqwest")]
        if let Some(error) = error.downcast_ref::<reqwest::Error>() {
            return error.is_timeout();
        }
        let io = error.downcast_ref::<std::io::Error>();
        error.is::<tokio::time::error::Elapsed>()
            || io.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    }

    /// Returns the error and its causes.
    pub(crate) fn chain<'a>(
        error: &'a (dyn Error + 'static),
    ) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
        std::iter::successors(Some(error), |error| (*error).source())
    }

    pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
        let owned = || panic.downcast_ref::<String>().map(String::as_str);
        let text = panic.downcast_ref::<&str>().copied().or_else(owned);
        text.unwrap_or("panic without a message")
    }
}
