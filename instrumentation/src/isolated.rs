//! Runs code of the application that this crate calls on the side: listeners, observers, classifiers. A panic in it
//! must not cost the call its result or prevent others from being called; during another panic it would abort the
//! process.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `code` and returns its value; logs a panic and returns `None`.
pub(crate) fn isolated<T>(what: &'static str, code: impl FnOnce() -> T) -> Option<T> {
    // The application is responsible for the consistency of its own state.
    let panic = match catch_unwind(AssertUnwindSafe(code)) {
        Ok(value) => return Some(value),
        Err(panic) => panic,
    };
    tracing::error!(target: "fusebox", what, "code of a listener, observer or classifier panicked");
    // The destructor of what was thrown may panic too; what that throws is not dropped.
    std::mem::forget(catch_unwind(AssertUnwindSafe(|| drop(panic))));
    None
}

/// Detects a panic that started during the life of a value, but not one that was already in progress when the value was
/// created.
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

    /// Returns whether the value is being dropped by a panic.
    pub(crate) fn panics(self) -> bool {
        !self.began_in_panic && std::thread::panicking()
    }
}
