//! The context that a call takes to its worker: the span, the subscriber, OpenTelemetry's context, the log of the
//! request and the attempt of a retry; and what it brings back for its caller.

use std::future::Future;
use std::pin::Pin;
use std::task;

use opentelemetry::Context;
use pin_project_lite::pin_project;
use tracing::instrument::{Instrument, Instrumented, WithDispatch, WithSubscriber};
use tracing::{Span, dispatcher};

use crate::circuit_breaker::call::request_log::{self, Carried};

pin_project! {
    /// A future in the context in which it was made.
    pub(super) struct InContext<F> {
        #[pin]
        inner: WithDispatch<Instrumented<Carried<F>>>,
        context: Context,
    }
}

/// Makes `future` run in the current context, wherever it is polled.
pub(super) fn in_context<F: Future>(future: F) -> InContext<F> {
    let future = request_log::carried(future);
    InContext {
        inner: future.instrument(Span::current()).with_current_subscriber(),
        context: Context::current(),
    }
}

impl<F: Future> Future for InContext<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> task::Poll<F::Output> {
        let this = self.project();
        let _attached = this.context.clone().attach();
        this.inner.poll(cx)
    }
}

/// Makes `code` run in the current context, wherever it is called.
pub(super) fn code_in_context<T>(code: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let subscriber = dispatcher::get_default(Clone::clone);
    let (span, context) = (Span::current(), Context::current());
    let code = request_log::carried_code(code);
    move || {
        dispatcher::with_default(&subscriber, || {
            let _attached = context.attach();
            span.in_scope(code)
        })
    }
}
