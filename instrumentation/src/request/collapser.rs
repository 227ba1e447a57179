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
use super::gathering::{Gathering, Joined, Waiting, Window};
use crate::circuit_breaker::{Cause, CircuitBreaker, CommandError, SettingsError};
use crate::resilience::attempt::{self, Observed};
use crate::setting::{duration, within};

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
#[derive(Debug, Error)]
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

impl<E> Clone for CollapseError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(cause) => Self::Failed(Arc::clone(cause)),
            Self::NoAnswer { answers, arguments } => Self::NoAnswer {
                answers: *answers,
                arguments: *arguments,
            },
            Self::Lost => Self::Lost,
        }
    }
}

/// A caller's result, and what a breaker of the caller is to observe of the call.
type Answer<R, E> = (Result<R, CollapseError<E>>, Observed);

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
        let gathering: Arc<Gathering<A, Answer<R, E>>> = request.part(self.inner.owner);
        let (answer, answered) = oneshot::channel();
        let most = self.inner.settings.max_requests_in_batch as usize;
        let inner = || Arc::clone(&self.inner);
        match gathering.join(Waiting { argument, answer }, most) {
            Joined::First(window) => spawn(inner().run_later(window)),
            Joined::Last(batch) => spawn(inner().run(batch)),
            Joined::Between => {}
        }
        match answered.await {
            Ok((result, observed)) => {
                observed.pass_on();
                result
            }
            Err(_) => Err(CollapseError::Lost),
        }
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
    async fn run_later(self: Arc<Self>, window: Window<A, Answer<R, E>>) {
        sleep(self.settings.timer_delay).await;
        self.run(window.end()).await;
    }

    /// Calls a batch and sends each waiting caller the result at its position.
    async fn run(self: Arc<Self>, batch: Vec<Waiting<A, Answer<R, E>>>) {
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
        let (results, observed) = attempt::observed(self.ask(arguments)).await;
        let mut results = results.map(Vec::into_iter).map_err(Arc::new);
        let answered = results.as_ref().map_or(0, ExactSizeIterator::len);
        for answer in answers {
            let result = match &mut results {
                Ok(results) => results.next().ok_or(CollapseError::NoAnswer {
                    answers: answered,
                    arguments: given,
                }),
                Err(cause) => Err(CollapseError::Failed(Arc::clone(cause))),
            };
            answer.send((result, observed)).ok();
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
