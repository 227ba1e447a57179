//! A worker: the right to run one call of a pool, and the task that runs it.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::{JoinError, JoinHandle};

use super::state::State;
use crate::circuit_breaker::model::pool_refusal::PoolLost;
use crate::resilience::attempt::Observed;
use crate::semaphore::Permit;

/// The right to run one call; when it is dropped, it goes to the next waiting call.
#[derive(Debug)]
pub(in crate::circuit_breaker::call) struct Worker {
    pool: Arc<State>,
    _permit: Permit,
}

impl Worker {
    pub(super) fn new(pool: Arc<State>, permit: Permit) -> Self {
        pool.figures.started();
        Self {
            pool,
            _permit: permit,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pool.figures.ended();
    }
}

/// A call that runs on a worker. Dropping it drops the future too; blocking code runs to its end and occupies its
/// worker until then.
#[derive(Debug)]
pub(super) struct Running<T> {
    task: JoinHandle<(T, Observed)>,
}

impl<T> Running<T> {
    pub(super) fn new(task: JoinHandle<(T, Observed)>) -> Self {
        Self { task }
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, PoolLost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready(match ended.map_err(JoinError::try_into_panic) {
            Ok((output, observed)) => {
                observed.pass_on();
                Ok(output)
            }
            // Panic where the caller waits for the call, as without a pool.
            Err(Ok(panic)) => resume_unwind(panic),
            Err(Err(_)) => Err(PoolLost),
        })
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
