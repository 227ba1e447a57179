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
    /// Runs the code on the workers of a pool: Hystrix's thread isolation. The pool stands in place of
    /// [`Settings::max_concurrent`](crate::circuit_breaker::Settings::max_concurrent), inside the timeout, so that the wait for
    /// a worker is part of it. A call that the pool refuses counts as one without a slot.
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

impl PooledCommand<Command> {
    /// Adds the protected code, which is called on the worker.
    pub fn run<F, Fut, T, E>(
        self,
        run: F,
    ) -> RunCommand<impl FnOnce() -> PooledFuture<T, E>, NoFallback, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let pool = InPool::new(self.pool);
        let workers = pool.clone();
        let command = self.command.run(move || workers.future(run));
        command.in_pool(pool)
    }

    /// Adds protected code that blocks: it runs on a thread, and keeps its worker until it returns, whatever the timeout.
    pub fn run_blocking<F, T, E>(
        self,
        run: F,
    ) -> RunCommand<impl FnOnce() -> PooledFuture<T, E>, NoFallback, E>
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let pool = InPool::new(self.pool);
        let workers = pool.clone();
        let command = self.command.run(move || workers.blocking_future(run));
        command.in_pool(pool)
    }
}

impl PooledCommand<RepeatedCommand> {
    /// Adds the protected code, a clone of which is called on the worker of each attempt.
    pub fn run<F, Fut, T, E>(
        self,
        run: F,
    ) -> RunCommand<impl FnOnce() -> PooledFuture<T, E> + Clone, NoFallback, E>
    where
        F: FnOnce() -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let pool = InPool::new(self.pool);
        let workers = pool.clone();
        let command = self.command.run(move || workers.future(run));
        command.in_pool(pool)
    }

    /// As [`run`](Self::run), for code that blocks.
    pub fn run_blocking<F, T, E>(
        self,
        run: F,
    ) -> RunCommand<impl FnOnce() -> PooledFuture<T, E> + Clone, NoFallback, E>
    where
        F: FnOnce() -> Result<T, E> + Clone + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let pool = InPool::new(self.pool);
        let workers = pool.clone();
        let command = self.command.run(move || workers.blocking_future(run));
        command.in_pool(pool)
    }
}
