//! Commands whose results are cached, as those of Hystrix commands with a cache key are.

use std::future::Future;

use super::command::RunCommand;
use super::errors::{Cause, CommandError};
use super::execution::Execution;
use super::fallback::{BorrowingFallback, FallbackFn, FallbackFuture, NoFallback};
use crate::resilience::{Cache, Found, Key, Value};

/// A command that is executed only on a cache miss.
#[derive(Debug)]
#[must_use = "a command does nothing until it is executed"]
pub struct CachedCommand<K: Key, V: Value, C> {
    command: C,
    cache: Cache<K, V>,
    key: K,
}

impl<F, B, E> RunCommand<F, B, E> {
    /// Puts a cache around the whole command: a cached value is returned without asking the breaker or the limiters,
    /// and its event is RESPONSE_FROM_CACHE. If another caller is already executing the command for this key, the call
    /// waits for that result, at most for the [`deadline`](super::command::Command::deadline) of its own command; the
    /// wait is part of the deadline. Results of a fallback are not cached.
    ///
    /// ```
    /// use fusebox::circuit_breaker::CircuitBreaker;
    /// use fusebox::resilience::Cache;
    ///
    /// # async fn price() -> Result<u32, std::io::Error> { Ok(7) }
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let prices: Cache<u32, u32> = Cache::new("prices");
    /// let command = CircuitBreaker::new("price").command().run(price);
    /// let price = command.fallback(|_| async { Ok(9) }).cached(&prices, 1).execute().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cached<K: Key, V: Value>(
        self,
        cache: &Cache<K, V>,
        key: K,
    ) -> CachedCommand<K, V, Self> {
        CachedCommand {
            command: self,
            cache: cache.clone(),
            key,
        }
    }
}

/// Executes a command of one kind on a cache miss.
macro_rules! execute_cached {
    ($self:ident) => {{
        let mut command = $self.command;
        let (deadline, waiting) = command.start_waiting();
        match deadline.limit($self.cache.find($self.key)).await {
            Some(Found::Answer(value)) => (Ok(value), waiting.finish_from_cache()),
            Some(Found::Question(question)) => {
                command.go_on(waiting);
                let (result, execution) = command.execute_observed().await;
                match &result {
                    Ok(value) if !execution.fell_back() => question.answered(value.clone()),
                    _ => question.failed(),
                }
                (result, execution)
            }
            // The deadline has passed; executing the command reports that.
            None => {
                command.go_on(waiting);
                command.execute_observed().await
            }
        }
    }};
}

impl<K: Key, V: Value, F, E> CachedCommand<K, V, RunCommand<F, NoFallback, E>> {
    /// Returns the cached value, or executes the command.
    ///
    /// # Errors
    /// As [`RunCommand::execute`].
    pub async fn execute<Fut>(self) -> Result<V, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut>(self) -> (Result<V, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
    {
        execute_cached!(self)
    }
}

impl<K: Key, V: Value, F, G, E> CachedCommand<K, V, RunCommand<F, FallbackFn<G>, E>> {
    /// Returns the cached value, or executes the command.
    ///
    /// # Errors
    /// As [`RunCommand::execute`].
    pub async fn execute<Fut, Fallback>(self) -> Result<V, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
        G: FnOnce(&Cause<E>) -> Fallback,
        Fallback: Future<Output = Result<V, E>>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut, Fallback>(self) -> (Result<V, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
        G: FnOnce(&Cause<E>) -> Fallback,
        Fallback: Future<Output = Result<V, E>>,
    {
        execute_cached!(self)
    }
}

impl<K: Key, V: Value, F, G, E> CachedCommand<K, V, RunCommand<F, BorrowingFallback<G>, E>> {
    /// Returns the cached value, or executes the command.
    ///
    /// # Errors
    /// As [`RunCommand::execute`].
    pub async fn execute<Fut>(self) -> Result<V, CommandError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
        G: for<'a> FnOnce(&'a Cause<E>) -> FallbackFuture<'a, V, E>,
    {
        self.execute_observed().await.0
    }

    /// As [`execute`](Self::execute), and returns the events too.
    pub async fn execute_observed<Fut>(self) -> (Result<V, CommandError<E>>, Execution)
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<V, E>>,
        G: for<'a> FnOnce(&'a Cause<E>) -> FallbackFuture<'a, V, E>,
    {
        execute_cached!(self)
    }
}
