//! The span of a request on the server or client side. It ends with the body of the response and records how the
//! request ended; a request that is dropped before was cancelled.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use http::{HeaderMap, Response, StatusCode};
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::durations::Measured;
use super::semantics;
use crate::body::{BodyEnd, ResponseBody, Watch};
use crate::circuit_breaker::layer::{GrpcCode, has_status_behind_body};
use crate::error_type::panic_message;
use crate::semconv::{ERROR_TYPE_CANCELLED, ERROR_TYPE_PANIC};

/// A span that ends once, at the latest when it is dropped.
#[derive(Debug)]
pub(super) struct RequestSpan {
    span: Span,
    side: Side,
    measured: Option<Measured>,
    has_grpc_status_behind_body: bool,
    has_ended: bool,
}

#[derive(Debug)]
pub(super) enum Side {
    Client,
    /// Holds the caller's context, which is current if spans are not recorded.
    Server(Context),
}

impl Side {
    /// Returns whether a status is an error: for a server from 500 on; for a client from 400 on, because it did not get
    /// what it asked for.
    fn is_error(&self, status: StatusCode) -> bool {
        let is_client = matches!(self, Self::Client);
        status.is_server_error() || is_client && status.is_client_error()
    }

    /// As [`is_error`](Self::is_error), for gRPC's status.
    fn is_grpc_error(&self, code: GrpcCode) -> bool {
        match self {
            Self::Client => code != GrpcCode::OK,
            Self::Server(_) => code.is_server_error(),
        }
    }
}

impl RequestSpan {
    pub(super) fn new(span: Span, side: Side, measured: Measured) -> Self {
        Self {
            span,
            side,
            measured: Some(measured),
            has_grpc_status_behind_body: false,
            has_ended: false,
        }
    }

    /// Runs a part of the request in its context. If it panics, the span ends as an error and the panic is propagated.
    ///
    /// Checking for a panic on drop would not suffice: code that catches the panic may drop the request later, and a
    /// request that is dropped because of another one's panic did not panic itself.
    pub(super) fn guard<T>(&mut self, run: impl FnOnce() -> T) -> T {
        match catch_unwind(AssertUnwindSafe(|| self.inside(run))) {
            Ok(output) => output,
            Err(panic) => {
                self.fail(ERROR_TYPE_PANIC, panic_message(&*panic));
                resume_unwind(panic)
            }
        }
    }

    fn inside<T>(&self, run: impl FnOnce() -> T) -> T {
        // Entering the span replaces the current context by the span's own, which includes the caller's baggage.
        let _remote = match &self.side {
            Side::Server(remote) => Some(remote.clone().attach()),
            Side::Client => None,
        };
        let _entered = self.span.enter();
        run()
    }

    /// Records the head of the response, and watches its body.
    pub(super) fn answered<B>(mut self, response: Response<B>) -> Response<ResponseBody<B>> {
        let (status, headers) = (response.status(), response.headers());
        let is_error = self.side.is_error(status);
        semantics::record_status(&self.span, status, is_error);
        if let Some(measured) = &mut self.measured {
            measured.answered(status, response.version());
            if is_error {
                measured.failed(status.as_str());
            }
        }
        if status.is_success() {
            self.has_grpc_status_behind_body = has_status_behind_body(headers);
            if let Some(code) = GrpcCode::read(headers) {
                self.grpc_answered(code, headers);
            }
        }
        let length = content_length(headers);
        response.map(|body| ResponseBody::new(body, length, Box::new(self)))
    }

    fn grpc_answered(&mut self, code: GrpcCode, headers: &HeaderMap) {
        let is_error = self.side.is_grpc_error(code);
        if let Some(measured) = self.measured.as_mut().filter(|_| is_error) {
            measured.failed(code.as_str());
        }
        semantics::record_grpc_status(&self.span, code, is_error.then_some(headers));
    }

    /// Records an error and ends the span.
    pub(super) fn fail(&mut self, error_type: &str, description: &str) {
        if !self.has_ended {
            semantics::record_error(&self.span, error_type, description);
            if let Some(measured) = &mut self.measured {
                measured.failed(error_type);
            }
            self.end();
        }
    }

    /// Ends the span now, even if a task that the request started still holds it.
    fn end(&mut self) {
        self.has_ended = true;
        if let Some(measured) = self.measured.take() {
            measured.end();
        }
        self.span.context().span().end();
        self.span = Span::none();
    }
}

/// Returns the announced length, after which no reader polls the body again.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(http::header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

impl Watch for RequestSpan {
    fn run(&mut self, poll: &mut dyn FnMut()) {
        self.inside(poll);
    }

    fn end(&mut self, end: BodyEnd<'_>) {
        match end {
            BodyEnd::Complete(trailers) => {
                if self.has_grpc_status_behind_body {
                    let none = HeaderMap::new();
                    let code = GrpcCode::at_end(trailers);
                    self.grpc_answered(code, trailers.unwrap_or(&none));
                }
                Self::end(self);
            }
            BodyEnd::Failed {
                error_type,
                description,
                ..
            } => self.fail(error_type, description),
            BodyEnd::Panicked(message) => self.fail(ERROR_TYPE_PANIC, message),
            BodyEnd::CutOff => self.fail(ERROR_TYPE_CANCELLED, "body dropped before its end"),
            // A server's body is read as far as its peer reads; a client's as far as the application wants.
            BodyEnd::Left { was_read: true } if matches!(self.side, Side::Server(_)) => {
                self.fail(ERROR_TYPE_CANCELLED, "body dropped before its end");
            }
            BodyEnd::Left { .. } => Self::end(self),
        }
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        self.fail(ERROR_TYPE_CANCELLED, "dropped before its end");
    }
}
