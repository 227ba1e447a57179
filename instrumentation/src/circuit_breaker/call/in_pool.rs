//! Protected code that runs in the pool of its command.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::pool::{IsolationPool, PoolLost, PoolRunError, Worker, start, start_blocking};
use crate::sync::Mutex;

/// The future of protected code that runs in a pool.
pub type PooledFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

#[derive(Debug, Clone)]
pub(super) struct InPool {
    pub(super) pool: IsolationPool,
    pub(super) refusal: Refusal,
}

/// Carries the pool's error past the future of the protected code, which can only return that code's own error. The
/// error is read in the same poll in which it is written, so the attempts of a command can share it.
#[derive(Clone, Default)]
pub(super) struct Refusal(Arc<Mutex<Option<PoolRunError>>>);

impl InPool {
    pub(super) fn new(pool: IsolationPool) -> Self {
        Self {
            pool,
            refusal: Refusal::default(),
        }
    }

    pub(super) fn future<F, Fut, T, E>(self, run: F) -> PooledFuture<T, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Box::pin(self.ran(|worker| start(worker, async { run().await })))
    }

    pub(super) fn blocking_future<F, T, E>(self, run: F) -> PooledFuture<T, E>
    where
        F: FnOnce() -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Box::pin(self.ran(|worker| start_blocking(worker, run)))
    }

    /// Waits for a worker and starts the code on it.
    async fn ran<T, E, R>(self, start: impl FnOnce(Worker) -> R) -> Result<T, E>
    where
        R: Future<Output = Result<Result<T, E>, PoolLost>>,
    {
        let ran = async { Ok(start(self.pool.worker().await?).await?) };
        match ran.await {
            Ok(result) => result,
            Err(error) => self.refusal.leave(error).await,
        }
    }
}

impl Refusal {
    /// Stores the error for the caller that polls this future, and never completes.
    async fn leave<T>(&self, error: PoolRunError) -> T {
        *self.0.lock() = Some(error);
        pending().await
    }

    fn take(&self) -> Option<PoolRunError> {
        self.0.lock().take()
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").finish_non_exhaustive()
    }
}

/// Waits for the protected code or for a refusal by its pool.
pub(super) async fn unless_refused<F: Future>(
    pool: Option<&InPool>,
    future: F,
) -> Result<F::Output, PoolRunError> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => match pool.and_then(|pool| pool.refusal.take()) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        },
    })
    .await
}
