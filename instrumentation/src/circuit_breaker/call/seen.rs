//! Describes the error of a service for outcomes and spans. Looks inside the errors of breaker calls, which display the
//! protected code's error but do not return it as their source.

use std::any::Any;
use std::error::Error;
use std::fmt::{Debug, Display};
use std::io;

use tokio::time::error::Elapsed;

use super::errors::{CallError, Cause, CommandError};
use crate::error_type::{Seen, as_error, chain};

/// Inspects an error, including the breaker errors in its chain of causes.
pub(crate) fn seen<E: 'static>(error: &E) -> Seen<'_> {
    let any: &dyn Any = error;
    let known = as_error(error).or_else(|| inside(any));
    Seen::named::<E>(known.map(innermost))
}

fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    chain(error).find_map(inside).map_or(error, innermost)
}

/// A value whose type is one of a few known ones.
trait Opaque<'a>: Copy {
    fn downcast<T: Error + 'static>(self) -> Option<&'a T>;
}

impl<'a> Opaque<'a> for &'a dyn Any {
    fn downcast<T: Error + 'static>(self) -> Option<&'a T> {
        self.downcast_ref()
    }
}

impl<'a> Opaque<'a> for &'a (dyn Error + 'static) {
    fn downcast<T: Error + 'static>(self) -> Option<&'a T> {
        self.downcast_ref()
    }
}

/// Returns the error inside the error of a breaker call, if [`as_error`] knows its type.
fn inside<'a>(call: impl Opaque<'a>) -> Option<&'a (dyn Error + 'static)> {
    let inner = inside_of::<Box<dyn Error + Send + Sync>>(call)
        .or_else(|| inside_of::<Box<dyn Error + Send>>(call))
        .or_else(|| inside_of::<Box<dyn Error>>(call))
        .or_else(|| inside_of::<io::Error>(call))
        .or_else(|| inside_of::<Elapsed>(call));
    #[cfg(feature = "reqwest")]
    let inner = inner.or_else(|| inside_of::<reqwest::Error>(call));
    inner
}

fn inside_of<'a, E>(call: impl Opaque<'a>) -> Option<&'a (dyn Error + 'static)>
where
    E: Debug + Display + 'static,
{
    if let Some(CallError::Failed(error)) = call.downcast::<CallError<E>>() {
        return as_error(error);
    }
    if let Some(Cause::Failed(error)) = call.downcast::<Cause<E>>() {
        return as_error(error);
    }
    match call.downcast::<CommandError<E>>()? {
        CommandError::BadRequest(error)
        | CommandError::Failed {
            cause: Cause::Failed(error),
            ..
        } => as_error(error),
        CommandError::Failed { .. } => None,
    }
}

#[cfg(test)]
#[cfg(feature = "reqwest")]
mod tests {
    use super::*;
    use crate::circuit_breaker::FallbackError;

    type BoxError = Box<dyn Error + Send + Sync>;

    /// An error of `reqwest` for a URL with a secret, at whose port nothing listens.
    async fn refused() -> reqwest::Error {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.get(format!("http://{address}/stock?token=hidden"));
        request.send().await.unwrap_err()
    }

    /// Scenario: an error of `reqwest`, which shows its URL, comes boxed and through breakers.
    /// Guarantees: it is described by its innermost cause, which names no URL, and has its own type.
    #[tokio::test]
    async fn a_url_is_not_described_however_deep_its_error_is() {
        fn check<E: Display + 'static>(error: &E) {
            assert!(error.to_string().contains("hidden"));
            let seen = seen(error);
            let text = seen.description(error);
            assert!(!text.contains("http") && !text.contains("hidden"), "{text}");
            assert!(text.contains("refused"), "{text}");
            assert_eq!(seen.error_type(), "connect");
        }
        check(&refused().await);
        check::<BoxError>(&refused().await.into());
        check(&CallError::Failed(refused().await));
        check(&CallError::Failed(BoxError::from(refused().await)));
        check::<BoxError>(&CallError::Failed(refused().await).into());
        let twice = BoxError::from(CallError::Failed(refused().await));
        check(&CallError::Failed(twice));
        check(&CommandError::Failed {
            cause: Cause::Failed(refused().await),
            fallback: FallbackError::<reqwest::Error>::Missing,
        });
    }
}
