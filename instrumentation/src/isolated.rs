//! Code of the application that this crate calls on the side: listeners, observers, classifiers. A panic in there must
//! neither cost the call its result nor keep the others from being called, and during another panic it would abort the
//! process.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `code` and returns its value; `None` if it panicked, which is logged.
pub(crate) fn isolated<T>(what: &'static str, code: impl FnOnce() -> T) -> Option<T> {
    // What the code leaves half done is its own.
    let result = catch_unwind(AssertUnwindSafe(code));
    if result.is_err() {
        tracing::error!(target: "fusebox", what, "code of a listener, observer or classifier panicked");
    }
    result.ok()
}

/// Notices a panic that begins during the life of a value, and not one in whose course the value was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanicWatch {
    began_in_panic: bool,
}

impl PanicWatch {
    #[inline]
    pub(crate) fn start() -> Self {
        Self {
            began_in_panic: std::thread::panicking(),
        }
    }

    /// Whether the value is dropped by a panic.
    pub(crate) fn panics(self) -> bool {
        !self.began_in_panic && std::thread::panicking()
    }
}
