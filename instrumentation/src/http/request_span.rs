//! The span of a request, on the server's side or the client's: it records how the request ended, and ends then. A request
//! that is dropped before its end was cut off: by a timeout, or because the caller went away.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use http::StatusCode;
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::semantics;
use crate::semconv::{ERROR_TYPE_CANCELLED, ERROR_TYPE_PANIC};

/// A span that ends once, at the latest when it is dropped.
#[derive(Debug)]
pub(super) struct RequestSpan {
    span: Span,
    has_ended: bool,
}

impl RequestSpan {
    pub(super) fn new(span: Span) -> Self {
        let has_ended = false;
        Self { span, has_ended }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Runs a part of the request; if it panics, the span ends as an error and the panic goes on.
    ///
    /// A drop that sees a thread panic would not do: whoever catches the panic further out drops the request later, and a
    /// request that is dropped because another one panicked did not panic itself.
    pub(super) fn guard<T>(&mut self, run: impl FnOnce(&Self) -> T) -> T {
        match catch_unwind(AssertUnwindSafe(|| run(self))) {
            Ok(output) => output,
            Err(panic) => {
                self.fail(ERROR_TYPE_PANIC, message(&*panic));
                resume_unwind(panic)
            }
        }
    }

    /// Records the status of the response.
    pub(super) fn answered(&self, status: StatusCode, is_error: bool) {
        semantics::record_status(&self.span, status, is_error);
    }

    /// Records an error and ends the span.
    pub(super) fn fail(&mut self, error_type: &str, description: &str) {
        if !self.has_ended {
            semantics::record_error(&self.span, error_type, description);
            self.end();
        }
    }

    /// Ends the span now, even if a task that the request started still holds it.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        self.span.context().span().end();
        self.span = Span::none();
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        self.fail(ERROR_TYPE_CANCELLED, "dropped before its end");
    }
}

/// Returns the message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    let text = panic.downcast_ref::<&str>().copied().or_else(owned);
    text.unwrap_or("panic without a message")
}
