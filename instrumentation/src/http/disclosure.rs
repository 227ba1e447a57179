//! Whether the response to a request may name breakers. The server layer knows the peer and decides; problem documents
//! are created further inside.

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static NAMES_BREAKERS: bool;
}

/// Creates and runs a future with this permission.
pub(super) fn scope<F: Future>(
    names_breakers: bool,
    make: impl FnOnce() -> F,
) -> TaskLocalFuture<bool, F> {
    let future = NAMES_BREAKERS.sync_scope(names_breakers, make);
    NAMES_BREAKERS.scope(names_breakers, future)
}

/// Returns whether the peer of the current request may see names of breakers; outside a traced request it may not.
pub(super) fn names_breakers() -> bool {
    NAMES_BREAKERS.try_with(|allowed| *allowed).unwrap_or(false)
}
