//! Starts a second attempt of a slow call in parallel and returns the first success.

mod settings;
#[cfg(test)]
mod tests;

use std::any::type_name;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::Span;
use tracing::instrument::{Instrument as _, Instrumented};

use super::attempt;
use super::budget::Budget;
use super::current::Current;
use super::event::{EventKind, Kind};
use super::handle::policy;
use super::instrument::{Instrument, Running, record, record_error};
use super::policy::{Inner, Registered, Wakers};
use super::snapshot::Snapshot;
pub use settings::{HedgeSettings, MAX_HEDGED};

/// A hedge. Clones are handles to the same hedge with one budget.
///
/// Use it for calls that may be made twice without harm. If an attempt is still running after the delay, another one is
/// started in parallel. The first success is the result, and the other attempts are cancelled by dropping their
/// futures. An error is returned only when no attempt is left. A hedge helps against slow targets,
/// [`Retry`](super::Retry) against failing ones.
///
/// The attempts run in the task of the caller, which needs a tokio runtime with a timer.
///
/// ```
/// use std::time::Duration;
///
/// use fusebox::resilience::{Hedge, HedgeSettings};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let settings = HedgeSettings {
///     delay: Duration::from_millis(5),
///     ..HedgeSettings::default()
/// };
/// let hedge = Hedge::builder("search").settings(settings).build();
/// let mut attempts = 0;
/// let found = hedge.call(|| {
///     attempts += 1;
///     let hangs = attempts == 1;
///     async move {
///         if hangs {
///             std::future::pending::<()>().await;
///         }
///         Ok::<_, std::io::Error>(7)
///     }
/// });
/// assert_eq!(found.await.unwrap(), 7);
/// # }
/// ```
#[derive(Clone)]
pub struct Hedge {
    inner: Arc<Hedger>,
}

policy!(Hedge, Hedger, HedgeSettings);

/// What the handles share.
#[derive(Debug)]
pub(super) struct Hedger {
    instrument: Instrument,
    settings: Current<HedgeSettings>,
    budget: Budget,
}

impl Inner for Hedger {
    type Settings = HedgeSettings;

    const KIND: Kind = Kind::Hedge;

    fn new(instrument: Instrument, settings: HedgeSettings) -> Self {
        Self {
            instrument,
            budget: Budget::new(settings.budget.as_ref()),
            settings: Current::new(settings),
        }
    }

    fn settings(&self) -> &Current<HedgeSettings> {
        &self.settings
    }

    fn apply(&self, _: &HedgeSettings, new: &HedgeSettings) -> Wakers {
        self.budget.apply(new.budget.as_ref());
        Wakers::default()
    }
}

impl Registered for Hedger {
    fn instrument(&self) -> &Instrument {
        &self.instrument
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            available: self.budget.left(),
            ..self.instrument.snapshot()
        }
    }

    /// Not idle while the budget is partly spent, as for a retry.
    fn is_idle(&self) -> bool {
        self.budget.is_full()
    }
}

impl Hedge {
    /// Runs the future that `call` returns, and another one in parallel while it is slow. Each attempt has a span.
    ///
    /// # Errors
    /// Returns the error of the last remaining attempt.
    pub async fn call<T, E, Fut>(&self, mut call: impl FnMut() -> Fut) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        self.call_while(|| Some(call())).await
    }

    /// As [`call`](Self::call), until `call` returns `None`. The first time it must return `Some`.
    pub(crate) async fn call_while<T, E, Fut>(
        &self,
        mut call: impl FnMut() -> Option<Fut>,
    ) -> Result<T, E>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let mut call = move || call().map(|one| async { attempt::within(one).await.0 });
        let mut race = Race::start(&self.inner);
        let wait = self.inner.settings.read(|settings| settings.delay);
        let mut delay = pin!(sleep(wait));
        race.add(&mut call);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = race.poll(cx) {
                    return Poll::Ready(result);
                }
                if !race.may_grow() || delay.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if !race.hedge(&mut call) {
                    return Poll::Pending;
                }
                delay.as_mut().reset(Instant::now() + wait);
            }
        })
        .await
    }
}

/// The attempts of a call that are running.
struct Race<'a, Fut> {
    hedger: &'a Hedger,
    running: Running<'a>,
    attempts: Vec<Attempt<Fut>>,
    /// Most attempts by the settings.
    most: u32,
    started: u32,
    is_complete: bool,
}

struct Attempt<Fut> {
    number: u32,
    span: Span,
    future: Pin<Box<Instrumented<Fut>>>,
}

impl<'a, Fut, T, E> Race<'a, Fut>
where
    Fut: Future<Output = Result<T, E>>,
{
    fn start(hedger: &'a Hedger) -> Self {
        hedger.budget.add_call();
        Self {
            hedger,
            most: hedger.settings.read(|settings| settings.max_attempts),
            running: Running::start(&hedger.instrument, 1),
            attempts: Vec::with_capacity(1),
            started: 0,
            is_complete: false,
        }
    }

    fn may_grow(&self) -> bool {
        self.started < self.most && !self.is_complete
    }

    /// Starts one more attempt, if the budget allows it and the call can be repeated.
    fn hedge(&mut self, call: &mut impl FnMut() -> Option<Fut>) -> bool {
        let slowest = self.started;
        let budget = &self.hedger.budget;
        let event = if !budget.take() {
            EventKind::BudgetExhausted
        } else if self.add(call) {
            EventKind::Hedged
        } else {
            budget.give_back();
            self.is_complete = true;
            return false;
        };
        self.is_complete |= event == EventKind::BudgetExhausted;
        let instrument = &self.hedger.instrument;
        instrument.note_attempt(event, slowest, Duration::ZERO);
        !self.is_complete
    }

    fn add(&mut self, call: &mut impl FnMut() -> Option<Fut>) -> bool {
        let number = self.started + 1;
        let span = self.hedger.instrument.span(Some(number));
        let Some(future) = span.in_scope(call) else {
            return false;
        };
        self.started = number;
        self.attempts.push(Attempt {
            number,
            future: Box::pin(future.instrument(span.clone())),
            span,
        });
        true
    }

    /// Polls every attempt; ready with the first success, or with the error of the last remaining attempt.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, E>> {
        let mut at = 0;
        while at < self.attempts.len() {
            match self.attempts[at].future.as_mut().poll(cx) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(value)) => {
                    let winner = self.attempts.swap_remove(at);
                    self.won(winner);
                    return Poll::Ready(Ok(value));
                }
                Poll::Ready(Err(error)) => {
                    let failed = self.attempts.remove(at);
                    record_error(&failed.span, EventKind::Failed, type_name::<E>());
                    if self.attempts.is_empty() {
                        self.running.attempt = failed.number;
                        self.running.end(EventKind::Failed, Duration::ZERO);
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
        Poll::Pending
    }

    /// Cancels the other attempts.
    fn won(&mut self, winner: Attempt<Fut>) {
        for loser in self.attempts.drain(..) {
            record(&loser.span, EventKind::LoserCancelled);
            let instrument = &self.hedger.instrument;
            instrument.note_attempt(EventKind::LoserCancelled, loser.number, Duration::ZERO);
        }
        let event = match winner.number {
            1 => EventKind::Succeeded,
            _ => EventKind::SucceededAfterRetry,
        };
        record(&winner.span, event);
        self.running.attempt = winner.number;
        self.running.end(event, Duration::ZERO);
    }
}
