//! Small programs that use breakers, commands and their errors as applications do. Half of the test is that they
//! compile: each type of error is used in a spawned task, in a handler and with `?`, where the compiler once rejected
//! valid code.
//! is right elsewhere.

mod commands;
mod errors;
mod handlers;
mod permits;
mod policies;
mod spawned;

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use fusebox::circuit_breaker::{CircuitBreaker, Registry};

/// A boxed error, as tower's layers use.
type BoxError = Box<dyn Error + Send + Sync>;

/// A new breaker for each program.
fn breaker() -> CircuitBreaker {
    CircuitBreaker::builder("program")
        .registry(&Registry::new())
        .build()
}

/// An error like those of anyhow or eyre: created from every error, displayed, but not an `Error` itself.
struct Report(BoxError);

impl<E: Error + Send + Sync + 'static> From<E> for Report {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// An error of an application.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
enum StockError {
    #[error("product {0} does not exist")]
    NotFound(u32),
    #[error("warehouse is closed")]
    Closed,
}

async fn io_error() -> Result<u32, io::Error> {
    Err(io::Error::other("disk"))
}

async fn text() -> Result<u32, &'static str> {
    Err("text")
}

async fn owned_text() -> Result<u32, String> {
    Err("owned".to_owned())
}

async fn cow() -> Result<u32, Cow<'static, str>> {
    Err(Cow::Borrowed("cow"))
}

async fn boxed() -> Result<u32, BoxError> {
    Err("boxed".into())
}

async fn local_box() -> Result<u32, Box<dyn Error>> {
    Err("local".into())
}

async fn report() -> Result<u32, Report> {
    io_error().await?;
    Ok(1)
}

async fn stock() -> Result<u32, StockError> {
    Err(StockError::Closed)
}

async fn nothing() -> Result<u32, ()> {
    Err(())
}
