//! Commands whose code runs in a pool, as Hystrix's do with thread isolation.

use std::future::Future;

use super::command::{Command, RunCommand};
use super::composition::RepeatedCommand;
use super::fallback::NoFallback;
use super::in_pool::{InPool, PooledFuture};
use super::pool::IsolationPool;

/// A command whose code runs on the workers of a pool.
#[derive(Debug, Clone)]
pub struct PooledCommand<C> {
    command: C,
    pool: IsolationPool,
}

impl Command {
    /// Runs the code on the workers of a pool: Hystrix's thread isolation. The pool replaces
    /// [`Settings::max_concurrent`](crate::circuit_breaker::Settings::max_concurrent). The wait for a worker is part of
    /// the timeout. A call that the pool refuses counts as one without a slot.
    ///
    /// ```
    /// use fusebox::circuit_breaker::{CircuitBreaker, PoolSettings, Registry};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Registry::global().pool("disk", PoolSettings::default())?;
    /// let command = CircuitBreaker::new("hosts").command().in_pool(&pool);
    /// let hosts = command.run_blocking(|| std::fs::read_to_string("/etc/hosts"));
    /// let hosts = hosts.fallback(|_| async { Ok(String::new()) }).execute().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_pool(self, pool: &IsolationPool) -> PooledCommand<Self> {
        PooledCommand {
            command: self,
            pool: pool.clone(),
        }
    }
}

impl RepeatedCommand {
    /// As [`Command::in_pool`]; each attempt takes a worker.
    pub fn in_pool(self, pool: &IsolationPool) -> PooledCommand<Self> {
        PooledCommand {
            command: self,
            pool: pool.clone(),
        }
    }
}

/// Defines `run` for a command that calls its code once, or calls a clone of it for each attempt.
macro_rules! run_in_pool {
    ($command:ty $(, $clone:ident)?) => {
        impl PooledCommand<$command> {
            /// Adds the protected code, which is called on the worker; a command with a retry or a hedge calls a clone
            /// for each attempt.
            pub fn run<F, Fut, T, E>(
                self,
                run: F,
            ) -> RunCommand<impl FnOnce() -> PooledFuture<T, E> $(+ $clone)?, NoFallback, E>
            where
                F: FnOnce() -> Fut $(+ $clone)? + Send + 'static,
                Fut: Future<Output = Result<T, E>> + Send + 'static,
                T: Send + 'static,
                E: Send + 'static,
            {
                let pool = InPool::new(self.pool);
                let workers = pool.clone();
                let command = self.command.run(move || workers.future(run));
                command.in_pool(pool)
            }

            /// As [`run`](Self::run), for blocking code: it runs on a thread and occupies its worker until it returns,
            /// even after the timeout.
            pub fn run_blocking<F, T, E>(
                self,
                run: F,
            ) -> RunCommand<impl FnOnce() -> PooledFuture<T, E> $(+ $clone)?, NoFallback, E>
            where
                F: FnOnce() -> Result<T, E> $(+ $clone)? + Send + 'static,
                T: Send + 'static,
                E: Send + 'static,
            {
                let pool = InPool::new(self.pool);
                let workers = pool.clone();
                let command = self.command.run(move || workers.blocking_future(run));
                command.in_pool(pool)
            }
        }
    };
}

run_in_pool!(Command);
run_in_pool!(RepeatedCommand, Clone);
