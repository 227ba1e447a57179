//! Whether the response to a request may name breakers: the server layer knows its peer, and a problem document is made
//! further in.

use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static NAMES_BREAKERS: bool;
}

/// Runs the making of a future and the future itself with that permission.
pub(super) fn scope<F: Future>(
    names_breakers: bool,
    make: impl FnOnce() -> F,
) -> TaskLocalFuture<bool, F> {
    let future = NAMES_BREAKERS.sync_scope(names_breakers, make);
    NAMES_BREAKERS.scope(names_breakers, future)
}

/// Whether the peer of the current request may learn about breakers; outside a traced request none may.
pub(super) fn names_breakers() -> bool {
    NAMES_BREAKERS.try_with(|allowed| *allowed).unwrap_or(false)
}
