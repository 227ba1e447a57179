//! The breakers that one request called. The server layer opens a scope around the handler and writes the list into the
//! response; protected calls add to it. Tasks that the handler spawns are outside the scope.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;

use crate::circuit_breaker::rules::state::{EffectiveState, Outcome};
use crate::name::Name;
use crate::sync::Mutex;

/// Most breakers kept per request, which is also the limit of the response header.
pub const MAX_TOUCHED: usize = 8;

type List = Arc<Mutex<Vec<Touched>>>;

tokio::task_local! {
    static LIST: List;
}

/// A breaker that a request called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The name of the breaker.
    pub name: Name,
    /// The state in which the call was admitted or refused.
    pub state: EffectiveState,
    /// How the call ended; after several calls, the most severe outcome.
    pub outcome: Outcome,
    /// How long to wait before a retry, if the call was refused.
    pub retry_after: Option<Duration>,
}

/// Runs `future` and returns its output with the breakers that it called, in the order of their first calls.
pub fn scope<F: Future>(future: F) -> Scope<F> {
    scope_of(|| future)
}

/// As [`scope`], for a future whose creation may already call breakers: the breaker's tower layer can refuse in `call`,
/// before there is a future.
pub fn scope_of<F: Future>(make: impl FnOnce() -> F) -> Scope<F> {
    let list = List::default();
    let future = LIST.sync_scope(Arc::clone(&list), make);
    Scope {
        inner: LIST.scope(Arc::clone(&list), future),
        list,
    }
}

pin_project! {
    /// The future of [`scope`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Scope<F> {
        #[pin]
        inner: TaskLocalFuture<List, F>,
        list: List,
    }
}

impl<F> std::fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope")
            .field("list", &self.list)
            .finish_non_exhaustive()
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = (F::Output, Vec<Touched>);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = ready!(this.inner.poll(cx));
        let list = std::mem::take(&mut *this.list.lock());
        Poll::Ready((output, list))
    }
}

pin_project! {
    /// A future that adds to the list of the request in which it was created.
    #[project = CarriedProjection]
    pub(crate) enum Carried<F> {
        Listed {
            #[pin]
            inner: TaskLocalFuture<List, F>,
        },
        Unlisted {
            #[pin]
            inner: F,
        },
    }
}

/// Lets `future` add to the current list, whichever task polls it.
pub(crate) fn carried<F: Future>(future: F) -> Carried<F> {
    match LIST.try_with(Arc::clone) {
        Ok(list) => Carried::Listed {
            inner: LIST.scope(list, future),
        },
        Err(_) => Carried::Unlisted { inner: future },
    }
}

/// As [`carried`], for blocking code.
pub(crate) fn carried_code<T>(code: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let list = LIST.try_with(Arc::clone).ok();
    move || match list {
        Some(list) => LIST.sync_scope(list, code),
        None => code(),
    }
}

impl<F: Future> Future for Carried<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            CarriedProjection::Listed { inner } => inner.poll(cx),
            CarriedProjection::Unlisted { inner } => inner.poll(cx),
        }
    }
}

/// Adds a breaker to the list of the current request, if there is one.
pub(crate) fn note(touched: impl FnOnce() -> Touched) {
    // Outside a scope this is one read of a thread-local.
    let _ = LIST.try_with(|list| {
        add(&mut list.lock(), touched());
    });
}

fn add(list: &mut Vec<Touched>, touched: Touched) {
    if let Some(known) = list.iter_mut().find(|known| known.name == touched.name) {
        if severity(touched.outcome) > severity(known.outcome) {
            *known = touched;
        }
    } else if list.len() < MAX_TOUCHED {
        list.push(touched);
    } else {
        displace(list, touched);
    }
}

/// Replaces the least severe entry of a full list if the new one is more severe.
fn displace(list: &mut [Touched], touched: Touched) {
    let least = list.iter_mut().min_by_key(|known| severity(known.outcome));
    if let Some(least) = least
        && severity(least.outcome) < severity(touched.outcome)
    {
        *least = touched;
    }
}

fn severity(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Success => 0,
        Outcome::Ignored => 1,
        Outcome::Cancelled => 2,
        Outcome::Failure => 3,
        Outcome::Timeout => 4,
        Outcome::BulkheadFull => 5,
        Outcome::Rejected => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(name: &str, outcome: Outcome) -> Touched {
        Touched {
            name: Name::intern(name),
            state: EffectiveState::Closed,
            outcome,
            retry_after: None,
        }
    }

    #[tokio::test]
    async fn a_scope_keeps_the_worst_outcome_of_each_breaker() {
        let (answer, list) = scope(async {
            note(|| touch("a", Outcome::Success));
            note(|| touch("b", Outcome::Success));
            note(|| touch("a", Outcome::Timeout));
            note(|| touch("a", Outcome::Failure));
            7
        })
        .await;
        assert_eq!(answer, 7);
        assert_eq!(
            list,
            [touch("a", Outcome::Timeout), touch("b", Outcome::Success)]
        );
        note(|| unreachable!("there is no scope here"));
    }

    #[tokio::test]
    async fn calls_before_the_first_poll_count() {
        let (_, list) = scope_of(|| {
            note(|| touch("a", Outcome::Rejected));
            std::future::ready(())
        })
        .await;
        assert_eq!(list, [touch("a", Outcome::Rejected)]);
    }

    #[test]
    fn a_full_list_takes_only_worse_outcomes() {
        let mut list = Vec::new();
        for n in 0..MAX_TOUCHED + 3 {
            add(&mut list, touch(&format!("t{n}"), Outcome::Success));
        }
        assert_eq!(list.len(), MAX_TOUCHED);
        add(&mut list, touch("bad", Outcome::Rejected));
        assert_eq!(list.len(), MAX_TOUCHED);
        assert!(list.iter().any(|known| known.name == "bad"));
    }
}
