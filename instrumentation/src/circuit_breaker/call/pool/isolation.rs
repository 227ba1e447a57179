//! The handle of a pool.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use super::context::{code_in_context, in_context};
use super::figures::PoolSnapshot;
use super::settings::PoolSettings;
use super::state::State;
use super::worker::{Running, Worker};
use crate::circuit_breaker::call::handle::CircuitBreaker;
use crate::circuit_breaker::model::pool_refusal::{PoolFull, PoolLost, PoolRunError};
use crate::circuit_breaker::rules::validation::SettingsError;
use crate::name::Name;
use crate::resilience::attempt;
use crate::semaphore::Permit;

/// A pool that isolates the calls of one key. Clones are handles to the same pool. Created by [`Registry::pool`].
///
/// A call runs at once while fewer than `core_size` calls run, waits in FIFO order while the queue has room, and is
/// refused otherwise. The worker runs it in the caller's span, subscriber, OpenTelemetry context and request log. If
/// the caller drops its call, the call leaves the queue, or its running future is dropped; blocking code cannot be
/// stopped and occupies its worker until it returns. A panic of the call is propagated to its caller.
///
/// ```
/// use fusebox::circuit_breaker::{CircuitBreaker, PoolSettings, Registry};
///
/// # async fn stock() -> Result<u32, std::io::Error> { Ok(7) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let settings = PoolSettings { core_size: 4, max_queue_size: 2, ..PoolSettings::default() };
/// let pool = Registry::global().pool("warehouse", settings)?;
/// let breaker = CircuitBreaker::new("stock");
/// let pieces = pool.call(&breaker, stock()).await?;
/// let hosts = pool.call_blocking(&breaker, || std::fs::read_to_string("/etc/hosts")).await?;
/// assert_eq!(pool.snapshot().executed, 2);
/// # Ok(())
/// # }
/// ```
///
/// [`Registry::pool`]: crate::circuit_breaker::Registry::pool
#[derive(Clone)]
pub struct IsolationPool {
    pub(super) inner: Arc<State>,
}

impl IsolationPool {
    /// Creates a pool with these `settings` in force, which the code set to `first`; they must be valid.
    pub(crate) fn new(key: Name, first: PoolSettings, settings: PoolSettings) -> Self {
        Self {
            inner: Arc::new(State::new(key, first, settings)),
        }
    }

    /// Returns whether the pool was created with these settings, or has them now.
    pub(crate) fn is_of(&self, settings: PoolSettings) -> bool {
        settings == self.inner.first || settings == self.settings()
    }

    /// Returns the key.
    pub fn key(&self) -> &str {
        &self.inner.key
    }

    pub(crate) fn name(&self) -> &Name {
        &self.inner.key
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> PoolSettings {
        *self.inner.settings.read()
    }

    /// Replaces the settings. Running and waiting calls are not affected; with fewer workers, the number of running
    /// calls shrinks as calls end.
    ///
    /// # Errors
    /// Returns the first invalid setting and changes nothing.
    pub fn update_settings(&self, settings: PoolSettings) -> Result<(), SettingsError> {
        settings.validate()?;
        let mut current = self.inner.settings.write();
        self.inner
            .workers
            .resize(current.core_size, settings.core_size);
        *current = settings;
        Ok(())
    }

    /// Returns the numbers of running and waiting calls, and the totals.
    pub fn snapshot(&self) -> PoolSnapshot {
        let inner = &self.inner;
        let queued = inner.queue.in_use();
        let figures = &inner.figures;
        figures.snapshot(&inner.key, inner.created, self.settings(), queued)
    }

    pub(in crate::circuit_breaker::call) fn called(&self, breaker: &CircuitBreaker) {
        self.inner.callers.called(&breaker.shell);
    }

    pub(in crate::circuit_breaker::call) fn refused(&self, breaker: &CircuitBreaker) {
        self.inner.callers.refused(&breaker.shell);
    }

    /// Returns the names of the breakers whose calls the pool runs, each with the number of its refused calls.
    #[cfg(any(test, feature = "axum", feature = "telemetry"))]
    pub(crate) fn callers(&self) -> Vec<(Name, u64)> {
        self.inner.callers.all()
    }

    /// Runs `future` on a worker.
    ///
    /// # Errors
    /// Returns an error if the pool is full, or if the current runtime ends before the future.
    ///
    /// # Panics
    /// Panics if the future panics, or outside a tokio runtime.
    pub async fn run<F>(&self, future: F) -> Result<F::Output, PoolRunError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let worker = self.worker().await?;
        Ok(start(worker, future).await?)
    }

    /// Runs blocking `code` on a worker with a thread.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        code: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolRunError> {
        let worker = self.worker().await?;
        Ok(start_blocking(worker, code).await?)
    }

    /// Returns a worker as soon as one is free; waits in the queue if there is room.
    pub(in crate::circuit_breaker::call) async fn worker(&self) -> Result<Worker, PoolFull> {
        let inner = &self.inner;
        let permit = match inner.workers.try_acquire() {
            Some(permit) => permit,
            None => self.wait().await?,
        };
        Ok(Worker::new(Arc::clone(inner), permit))
    }

    async fn wait(&self) -> Result<Permit, PoolFull> {
        let inner = &self.inner;
        let settings = self.settings();
        let queue = settings.queue_limit();
        let Some(_place) = inner.queue.try_acquire(queue) else {
            inner.figures.refused();
            attempt::note_limited(None);
            return Err(PoolFull {
                pool: inner.key.clone(),
                workers: settings.core_size,
                queue,
            });
        };
        Ok(inner.workers.acquire().await)
    }
}

pub(in crate::circuit_breaker::call) fn start<F>(
    worker: Worker,
    future: F,
) -> impl Future<Output = Result<F::Output, PoolLost>> + Send
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let future = in_context(attempt::observed(future));
    Running::new(tokio::spawn(async move {
        let _worker = worker;
        future.await
    }))
}

pub(in crate::circuit_breaker::call) fn start_blocking<T: Send + 'static>(
    worker: Worker,
    code: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, PoolLost>> + Send {
    let code = code_in_context(attempt::observed_code(code));
    Running::new(tokio::task::spawn_blocking(move || {
        let _worker = worker;
        code()
    }))
}

impl fmt::Debug for IsolationPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.snapshot(), f)
    }
}
