//! Lets a retry observe the attempt inside it, whatever the type of its error: the number of the attempt, and whether
//! its last call was refused by a breaker, limiter or bulkhead of this process. Calls on the workers of a pool are
//! observed too; other tasks that the attempt spawns are not.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::sync::thread_local;

tokio::task_local! {
    static ATTEMPT: Attempt;
}

thread_local! {
    /// Whether the last call of the current poll was refused by a limit of this process. A breaker around the call
    /// clears it before it polls, and reads it if the poll returns an error.
    static WAS_LIMITED: Cell<bool> = const { Cell::new(false) };
}

struct Attempt {
    number: u32,
    last: Cell<LastCall>,
}

impl Attempt {
    fn new(number: u32) -> Self {
        Self {
            number,
            last: Cell::new(LastCall::Made),
        }
    }
}

/// How the last call within an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastCall {
    /// The call reached its target, or no call was made.
    Made,
    /// The call was refused; a later one may be admitted after this time, if it is known.
    Refused(Option<Duration>),
}

/// Runs an attempt; the first has number 1.
pub(crate) async fn scope<F: Future>(number: u32, attempt: F) -> (F::Output, LastCall) {
    let scope = Attempt::new(number);
    let noted = async {
        let output = attempt.await;
        (output, ATTEMPT.with(|attempt| attempt.last.get()))
    };
    let (output, last) = ATTEMPT.scope(scope, noted).await;
    // An attempt inside another one: its last call is also the last call of the outer one.
    note(last);
    (output, last)
}

/// What an attempt and a breaker would have observed of a call if it had not run in another task or thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Observed {
    last: LastCall,
    was_limited: bool,
}

impl Observed {
    /// Lets the attempt and the breaker of this task observe the call, in the poll in which its result arrives.
    pub(crate) fn pass_on(self) {
        note(self.last);
        WAS_LIMITED.with(|limited| limited.set(self.was_limited));
    }
}

/// Makes `future` run within the current attempt in another task, and return what was observed of it.
pub(crate) fn observed<F: Future>(
    future: F,
) -> impl Future<Output = (F::Output, Observed)> + use<F> {
    let number = number();
    async move {
        let watched = Watched { inner: future };
        let noted = async { (watched.await, was_limited()) };
        let ((output, was_limited), last) = scope(number, noted).await;
        (output, Observed { last, was_limited })
    }
}

/// As [`observed`], for code that runs in another thread.
pub(crate) fn observed_code<T>(code: impl FnOnce() -> T) -> impl FnOnce() -> (T, Observed) {
    let attempt = Attempt::new(number());
    move || {
        clear_limited();
        ATTEMPT.sync_scope(attempt, || {
            let output = code();
            let last = ATTEMPT.with(|attempt| attempt.last.get());
            let was_limited = was_limited();
            (output, Observed { last, was_limited })
        })
    }
}

/// Runs a call within the current attempt, and returns how the last call inside it ended. Concurrent calls, as those of
/// a hedge, are recorded in the order in which they end.
pub(crate) async fn within<F: Future>(call: F) -> (F::Output, LastCall) {
    scope(number(), call).await
}

/// Returns the number of the current attempt; outside of a retry, that of a first one.
fn number() -> u32 {
    ATTEMPT.try_with(|attempt| attempt.number).unwrap_or(1)
}

/// Records that a breaker refused a call, which did not reach its target.
pub(crate) fn note_refused(retry_after: Option<Duration>) {
    clear_limited();
    note(LastCall::Refused(retry_after));
}

/// Records that a limit of this process refused a call, which did not reach its target.
pub(crate) fn note_limited(retry_after: Option<Duration>) {
    note(LastCall::Refused(retry_after));
    WAS_LIMITED.with(|limited| limited.set(true));
}

/// Records that a call was made.
#[inline]
pub(crate) fn note_made() {
    clear_limited();
    note(LastCall::Made);
}

/// Forgets refusals by limits: a call has a permit or has ended, or a poll begins.
#[inline]
pub(crate) fn clear_limited() {
    WAS_LIMITED.with(|limited| limited.set(false));
}

/// Returns whether the last call of this poll was refused by a limit of this process.
#[inline]
pub(crate) fn was_limited() -> bool {
    WAS_LIMITED.with(Cell::get)
}

pin_project! {
    /// A future whose polls do not see the refusals of earlier ones.
    #[derive(Debug)]
    pub(crate) struct Watched<F> {
        #[pin]
        pub(crate) inner: F,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        clear_limited();
        self.project().inner.poll(cx)
    }
}

/// Returns how often a retry has already made the call of this task.
#[cfg(feature = "http")]
pub(crate) fn repeats() -> u32 {
    number().saturating_sub(1)
}

#[inline]
fn note(last: LastCall) {
    // Outside a retry this is one read of a thread-local.
    let _ = ATTEMPT.try_with(|attempt| attempt.last.set(last));
}
