//! A call through a breaker and a pool, in Hystrix's order: circuit, timeout, pool, run. The wait for a worker is part of
//! the call's time.

use std::future::Future;

use tokio::time::timeout;

use super::isolation::{IsolationPool, start, start_blocking};
use super::worker::Worker;
use crate::circuit_breaker::call::handle::{CircuitBreaker, judge, unless_limited};
use crate::circuit_breaker::call::protected::ProtectedCall;
use crate::circuit_breaker::model::pool_refusal::{PoolFull, PoolLost, PooledError};
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::shell::Shell;

impl IsolationPool {
    /// Runs `future` on a worker within the timeout of the breaker's settings, unless the breaker or the pool refuses.
    /// An `Err` or a panic counts as a failure; a call that the pool refuses counts as one without a slot, and so does
    /// one that a limit inside refuses (see [`CircuitBreaker::call`]). The call gets a span.
    ///
    /// # Errors
    /// Returns the refusal, the timeout that was exceeded, or the future's own error.
    pub async fn call<F, T, E>(
        &self,
        breaker: &CircuitBreaker,
        future: F,
    ) -> Result<T, PooledError<E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.call_with(breaker, future, unless_limited).await
    }

    /// As [`call`](Self::call); `classify` decides the outcome. If `classify` panics, the call counts as failed, and
    /// its result is still returned.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_with<F, T, E>(
        &self,
        breaker: &CircuitBreaker,
        future: F,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, PooledError<E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.through(breaker, |worker| start(worker, future), classify)
            .await
    }

    /// As [`call`](Self::call), for blocking code: it runs on a thread and occupies its worker until it returns, even
    /// after the timeout.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub async fn call_blocking<T, E>(
        &self,
        breaker: &CircuitBreaker,
        code: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, PooledError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let start = |worker| start_blocking(worker, code);
        self.through(breaker, start, unless_limited).await
    }

    async fn through<R, T, E>(
        &self,
        breaker: &CircuitBreaker,
        start: impl FnOnce(Worker) -> R,
        classify: impl FnOnce(&Result<T, E>) -> Outcome,
    ) -> Result<T, PooledError<E>>
    where
        R: Future<Output = Result<Result<T, E>, PoolLost>>,
    {
        let shell = &*breaker.shell;
        self.called(breaker);
        let call = ProtectedCall::begin(shell)?;
        let limit = shell.settings().timeout;
        let ran = call.run(async {
            let worker = self.worker().await?;
            Ok::<_, PooledError<E>>(start(worker).await?)
        });
        let ended = match limit {
            None => ran.await,
            Some(limit) => match timeout(limit, ran).await {
                Ok(ended) if call.elapsed() <= limit => ended,
                _ => Err(PooledError::TimedOut(limit)),
            },
        };
        if let Err(PooledError::Full(PoolFull { .. })) = ended {
            self.refused(breaker);
        }
        finish(call, &ended, classify);
        ended?.map_err(PooledError::Failed)
    }
}

fn finish<T, E>(
    call: ProtectedCall<&Shell>,
    ended: &Result<Result<T, E>, PooledError<E>>,
    classify: impl FnOnce(&Result<T, E>) -> Outcome,
) {
    let (outcome, error_type) = match ended {
        Ok(result) => judge(result, classify),
        Err(PooledError::TimedOut(_)) => (Outcome::Timeout, ""),
        Err(PooledError::Full(_)) => (Outcome::BulkheadFull, ""),
        Err(_) => (Outcome::Cancelled, ""),
    };
    call.finish(outcome, error_type);
}
