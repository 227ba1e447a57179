//! Lets a retry observe the attempt inside it, whatever the type of its error: the number of the attempt, and whether
//! its last call was refused by a breaker, limiter or bulkhead of this process. Tasks that the attempt spawns are not
//! observed.

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
    /// The call reached its target, or no call was made.
    Made,
    /// The call was refused; a later one may be admitted after this time, if it is known.
    Refused(Option<Duration>),
}

/// Runs an attempt; the first has number 1.
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
    // An attempt inside another one: its last call is also the last call of the outer one.
    note(last);
    (output, last)
}

/// Runs a call within the current attempt, and returns how the last call inside it ended. Concurrent calls, as those of
/// a hedge, are recorded in the order in which they end.
pub(crate) async fn within<F: Future>(call: F) -> (F::Output, LastCall) {
    let number = ATTEMPT.try_with(|attempt| attempt.number).unwrap_or(1);
    scope(number, call).await
}

/// Records that a call was refused without reaching its target.
pub(crate) fn note_refused(retry_after: Option<Duration>) {
    note(LastCall::Refused(retry_after));
}

/// Records that a call was made.
pub(crate) fn note_made() {
    note(LastCall::Made);
}

/// Returns how often a retry has already made the call of this task.
#[cfg(feature = "http")]
pub(crate) fn repeats() -> u32 {
    ATTEMPT
        .try_with(|attempt| attempt.number.saturating_sub(1))
        .unwrap_or(0)
}

fn note(last: LastCall) {
    // Outside a retry this is one read of a thread-local.
    let _ = ATTEMPT.try_with(|attempt| attempt.last.set(last));
}
