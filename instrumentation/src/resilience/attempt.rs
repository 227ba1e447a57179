//! What a retry knows of the attempt that runs inside it, whatever the type of its error: which attempt it is, and whether
//! the last thing that it called was refused by a breaker, a limiter or a bulkhead on this side. A task spawned by the
//! attempt is outside.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

tokio::task_local! {
    static ATTEMPT: Attempt;
}

struct Attempt {
    number: u32,
    last: Cell<LastCall>,
}

/// How the last call within an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastCall {
    /// It reached its target, or there was none.
    Made,
    /// It was refused; a later one may be admitted after this time, if that is known.
    Refused(Option<Duration>),
}

/// Runs an attempt, the first one being 1.
pub(crate) async fn scope<F: Future>(number: u32, attempt: F) -> (F::Output, LastCall) {
    let scope = Attempt {
        number,
        last: Cell::new(LastCall::Made),
    };
    let noted = async {
        let output = attempt.await;
        (output, ATTEMPT.with(|attempt| attempt.last.get()))
    };
    let (output, last) = ATTEMPT.scope(scope, noted).await;
    // One within another attempt: what that called last is what this one did.
    note(last);
    (output, last)
}

/// Runs a call within the attempt at hand, and says how the last one within it ended. Calls beside each other, as those of a
/// hedge, are noted in the order in which they end.
pub(crate) async fn within<F: Future>(call: F) -> (F::Output, LastCall) {
    let number = ATTEMPT.try_with(|attempt| attempt.number).unwrap_or(1);
    scope(number, call).await
}

/// Notes that a call was refused without reaching its target.
pub(crate) fn note_refused(retry_after: Option<Duration>) {
    note(LastCall::Refused(retry_after));
}

/// Notes that a call was made.
pub(crate) fn note_made() {
    note(LastCall::Made);
}

/// Returns how often the call of this task was made before, if a retry makes it.
#[cfg(feature = "http")]
pub(crate) fn repeats() -> u32 {
    ATTEMPT
        .try_with(|attempt| attempt.number.saturating_sub(1))
        .unwrap_or(0)
}

fn note(last: LastCall) {
    // Outside of a retry this is one read of a thread-local.
    let _ = ATTEMPT.try_with(|attempt| attempt.last.set(last));
}
