//! Batches calls, as Hystrix's collapser does: arguments that arrive within a window are sent in one call, and each
//! caller receives the result for its own argument.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::Span;
use tracing::instrument::Instrument;

use super::context::{Owner, RequestContext};
use crate::circuit_breaker::{Cause, CircuitBreaker, CommandError, SettingsError};
use crate::setting::{duration, within};
use crate::sync::Mutex;

/// Most arguments per batch.
pub const BATCH_MAX: u32 = 100_000;

/// The settings of a collapser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollapserSettings {
    /// How long the first argument of a batch waits for others. Default 10 ms, as in Hystrix.
    pub timer_delay: Duration,
    /// Number of arguments after which a batch is sent immediately. Default 1,000; Hystrix has no limit.
    pub max_requests_in_batch: u32,
}

impl Default for CollapserSettings {
    fn default() -> Self {
        Self {
            timer_delay: Duration::from_millis(10),
            max_requests_in_batch: 1_000,
        }
    }
}

/// Why a caller got no result.
#[derive(Debug, Clone, Error)]
pub enum CollapseError<E> {
    /// The call of the whole batch failed, timed out or was refused.
    #[error("{0}")]
    Failed(Arc<Cause<E>>),
    /// The call returned fewer results than it was given arguments, and none for this one.
    #[error("the call of a batch answered {answers} of {arguments} arguments")]
    NoAnswer {
        /// Number of results that it returned.
        answers: usize,
        /// Number of arguments that it was given.
        arguments: usize,
    },
    /// The call of the batch panicked, or its runtime ended.
    #[error("the call of a batch ended without an answer")]
    Lost,
}

type Call<A, R, E> =
    Box<dyn Fn(Vec<A>) -> Pin<Box<dyn Future<Output = Result<Vec<R>, E>> + Send>> + Send + Sync>;

/// Batches the calls of a request behind a breaker. Clones are handles to the same collapser. A batch is one
/// [command](crate::circuit_breaker::Command): the timeout and the slots of the breaker's settings apply to the whole
/// batch, and the timeout starts when it is sent.
///
/// ```
/// use fusebox::circuit_breaker::CircuitBreaker;
/// use fusebox::request::{Collapser, CollapserSettings, RequestContext};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let breaker = CircuitBreaker::new("prices");
/// let prices = Collapser::new(&breaker, CollapserSettings::default(), |products: Vec<u32>| async move {
///     Ok::<_, std::io::Error>(products.iter().map(|product| product * 10).collect())
/// })?;
/// let request = RequestContext::new();
/// let (one, two) = tokio::join!(prices.call(&request, 1), prices.call(&request, 2));
/// assert_eq!((one?, two?), (10, 20));
/// assert_eq!(breaker.snapshot().calls.success, 1);
/// # Ok(())
/// # }
/// ```
pub struct Collapser<A, R, E> {
    inner: Arc<Inner<A, R, E>>,
}

struct Inner<A, R, E> {
    owner: Owner,
    breaker: CircuitBreaker,
    settings: CollapserSettings,
    call: Call<A, R, E>,
}

/// An argument and the caller that waits for its result.
struct Waiting<A, R, E> {
    argument: A,
    answer: oneshot::Sender<Result<R, CollapseError<E>>>,
}

/// The batch of a request that is collecting arguments.
struct Gathering<A, R, E>(Mutex<Batch<A, R, E>>);

struct Batch<A, R, E> {
    /// Distinguishes this batch from those that were already sent.
    number: u64,
    waiting: Vec<Waiting<A, R, E>>,
}

impl<A, R, E> Default for Gathering<A, R, E> {
    fn default() -> Self {
        let (number, waiting) = (0, Vec::new());
        Self(Mutex::new(Batch { number, waiting }))
    }
}

/// What a caller must do after its argument was added to the batch.
enum Joined<A, R, E> {
    /// It was the first one: send the batch after the window.
    First(u64),
    /// It was the last one: send the batch now.
    Last(Vec<Waiting<A, R, E>>),
    Between,
}

impl<A, R, E> Gathering<A, R, E> {
    /// Adds an argument. The caller that fills the batch takes it in the same step, so that it cannot grow further.
    fn join(&self, waiting: Waiting<A, R, E>, most: usize) -> Joined<A, R, E> {
        let mut batch = self.0.lock();
        batch.waiting.push(waiting);
        match batch.waiting.len() {
            size if size >= most => Joined::Last(batch.take()),
            1 => Joined::First(batch.number),
            _ => Joined::Between,
        }
    }

    /// Takes the batch of this number, unless it was already sent.
    fn take(&self, number: u64) -> Vec<Waiting<A, R, E>> {
        let mut batch = self.0.lock();
        if batch.number != number {
            return Vec::new();
        }
        batch.take()
    }
}

impl<A, R, E> Batch<A, R, E> {
    fn take(&mut self) -> Vec<Waiting<A, R, E>> {
        self.number += 1;
        std::mem::take(&mut self.waiting)
    }
}

/// The window of a batch. If it is dropped before its end, with its runtime, it drops the batch too: waiting callers
/// receive an error, and the next caller starts a new batch.
struct Window<A, R, E> {
    gathering: Arc<Gathering<A, R, E>>,
    number: u64,
}

impl<A, R, E> Drop for Window<A, R, E> {
    fn drop(&mut self) {
        let lost = self.gathering.take(self.number);
        drop(lost);
    }
}

impl<A, R, E> Collapser<A, R, E>
where
    A: Send + 'static,
    R: Send + 'static,
    E: Send + Sync + 'static,
{
    /// Creates a collapser. `call` must return the results of a batch in the order of its arguments.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    pub fn new<F>(
        breaker: &CircuitBreaker,
        settings: CollapserSettings,
        call: impl Fn(Vec<A>) -> F + Send + Sync + 'static,
    ) -> Result<Self, SettingsError>
    where
        F: Future<Output = Result<Vec<R>, E>> + Send + 'static,
    {
        duration("timer_delay", settings.timer_delay)?;
        within(
            "max_requests_in_batch",
            settings.max_requests_in_batch,
            BATCH_MAX,
        )?;
        let inner = Inner {
            owner: Owner::new(),
            breaker: breaker.clone(),
            settings,
            call: Box::new(move |arguments| Box::pin(call(arguments))),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Returns the result for `argument` from the call of its batch. The batch runs on the current tokio runtime, in
    /// the span of the caller that started or filled it.
    ///
    /// # Errors
    /// Returns the error of the whole batch, or that there is no result for this argument.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub async fn call(&self, request: &RequestContext, argument: A) -> Result<R, CollapseError<E>> {
        let gathering: Arc<Gathering<A, R, E>> = request.part(self.inner.owner);
        let (answer, answered) = oneshot::channel();
        let most = self.inner.settings.max_requests_in_batch as usize;
        let inner = || Arc::clone(&self.inner);
        match gathering.join(Waiting { argument, answer }, most) {
            Joined::First(number) => spawn(inner().run_later(Window { gathering, number })),
            Joined::Last(batch) => spawn(inner().run(batch)),
            Joined::Between => {}
        }
        answered.await.unwrap_or(Err(CollapseError::Lost))
    }
}

fn spawn(batch: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(batch.instrument(Span::current()));
}

impl<A, R, E> Inner<A, R, E>
where
    A: Send + 'static,
    R: Send + 'static,
    E: Send + Sync + 'static,
{
    async fn run_later(self: Arc<Self>, window: Window<A, R, E>) {
        sleep(self.settings.timer_delay).await;
        let batch = window.gathering.take(window.number);
        self.run(batch).await;
    }

    async fn run(self: Arc<Self>, batch: Vec<Waiting<A, R, E>>) {
        // Callers that have given up need no result.
        let waiting = batch
            .into_iter()
            .filter(|waiting| !waiting.answer.is_closed());
        let (arguments, answers): (Vec<_>, Vec<_>) = waiting
            .map(|waiting| (waiting.argument, waiting.answer))
            .unzip();
        if arguments.is_empty() {
            return;
        }
        let given = answers.len();
        let CollapserSettings {
            timer_delay,
            max_requests_in_batch,
        } = self.settings;
        let shared = &self.breaker.shell.shared;
        shared.add_batch(given as u64, timer_delay, max_requests_in_batch);
        match self.ask(arguments).await {
            Ok(results) => hand_out(results, answers, given),
            Err(cause) => {
                let cause = Arc::new(cause);
                for answer in answers {
                    let failed = CollapseError::Failed(Arc::clone(&cause));
                    answer.send(Err(failed)).ok();
                }
            }
        }
    }

    /// Calls a batch, unless the breaker refuses.
    async fn ask(&self, arguments: Vec<A>) -> Result<Vec<R>, Cause<E>> {
        let command = self.breaker.command().run(|| (self.call)(arguments));
        match command.without_fallback().execute().await {
            Ok(results) => Ok(results),
            Err(CommandError::BadRequest(error)) => Err(Cause::Failed(error)),
            Err(CommandError::Failed { cause, .. }) => Err(cause),
        }
    }
}

/// Sends each waiting caller the result at its position.
fn hand_out<R, E>(
    results: Vec<R>,
    answers: Vec<oneshot::Sender<Result<R, CollapseError<E>>>>,
    arguments: usize,
) {
    let count = results.len();
    let mut results = results.into_iter();
    for answer in answers {
        let missing = CollapseError::NoAnswer {
            answers: count,
            arguments,
        };
        answer.send(results.next().ok_or(missing)).ok();
    }
}

impl<A, R, E> Clone for Collapser<A, R, E> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<A, R, E> fmt::Debug for Collapser<A, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collapser")
            .field("breaker", &self.inner.breaker)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guarantees: the caller that fills a batch takes it while adding its argument, so that no other caller comes in
    /// between.
    #[test]
    fn a_full_batch_is_taken_by_its_last_caller() {
        let gathering = Gathering::<u32, (), ()>::default();
        let join = || {
            let (answer, _) = oneshot::channel();
            let argument = 1;
            gathering.join(Waiting { argument, answer }, 2)
        };
        for number in 0..2 {
            assert!(matches!(join(), Joined::First(first) if first == number));
            assert!(matches!(join(), Joined::Last(batch) if batch.len() == 2));
        }
    }
}
