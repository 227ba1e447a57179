//! The body of a call whose response has started. The call ends with the body, but only the time to the head makes it
//! slow.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::classify::{Classify, judge, judge_grpc};
use super::grpc::{GrpcCode, has_status_behind_body};
use crate::body::{BodyEnd, ResponseBody, Watch};
use crate::circuit_breaker::call::protected::ProtectedCall;
use crate::circuit_breaker::rules::state::Outcome;
use crate::circuit_breaker::shell::Shell;
use crate::semconv::{ERROR_TYPE_PANIC, ERROR_TYPE_TIMEOUT};

/// A body that still delivers data after this time counts as a stream, and its call as a success: a probe cannot wait
/// for the end of a stream that may last for days. Well below the lease of a probe, 30 s by default.
const STREAM_AFTER: Duration = Duration::from_secs(10);

/// Returns the response with its body watched. If its head does not count as a success, the call ends now, else with
/// the body.
pub(super) fn hand_on<C, B, E>(
    response: http::Response<B>,
    mut call: ProtectedCall<Arc<Shell>>,
    classifier: &C,
) -> http::Response<ResponseBody<B>>
where
    C: Classify<http::Response<B>, E> + Clone + Send + Sync + 'static,
    B: 'static,
    E: 'static,
{
    let (outcome, error_type) = judge(classifier, Ok(&response));
    if outcome != Outcome::Success {
        call.finish(outcome, &error_type);
        return response.map(ResponseBody::unwatched);
    }
    call.answered();
    let rest = Rest {
        call: Some(call),
        classifier: classifier.clone(),
        is_grpc: has_status_behind_body(response.headers()),
        head_at: Instant::now(),
        classifies: PhantomData::<fn(B, E)>,
    };
    response.map(|body| ResponseBody::new(body, None, Box::new(rest)))
}

/// A call whose response head counted as a success.
struct Rest<C, B, E> {
    /// `None` once the call has ended.
    call: Option<ProtectedCall<Arc<Shell>>>,
    classifier: C,
    is_grpc: bool,
    head_at: Instant,
    classifies: PhantomData<fn(B, E)>,
}

impl<C, B, E> Rest<C, B, E> {
    fn finish(&mut self, outcome: Outcome, error_type: &str) {
        if let Some(call) = self.call.take() {
            call.finish(outcome, error_type);
        }
    }
}

impl<C, B, E> Watch for Rest<C, B, E>
where
    C: Classify<http::Response<B>, E> + Send + Sync,
{
    fn run(&mut self, poll: &mut dyn FnMut()) {
        match &self.call {
            Some(call) => call.span().in_scope(poll),
            None => poll(),
        }
    }

    fn progress(&mut self) {
        if self.head_at.elapsed() >= STREAM_AFTER {
            self.finish(Outcome::Success, "");
        }
    }

    fn end(&mut self, end: BodyEnd<'_>) {
        match end {
            BodyEnd::Complete(trailers) if self.is_grpc => {
                let (outcome, error_type) =
                    judge_grpc(&self.classifier, GrpcCode::at_end(trailers));
                self.finish(outcome, error_type);
            }
            BodyEnd::Failed {
                is_timeout: true, ..
            } => self.finish(Outcome::Timeout, ERROR_TYPE_TIMEOUT),
            BodyEnd::Failed { error_type, .. } => self.finish(Outcome::Failure, error_type),
            BodyEnd::Panicked(_) => self.finish(Outcome::Failure, ERROR_TYPE_PANIC),
            BodyEnd::CutOff => self.finish(Outcome::Cancelled, ""),
            // The status of the call remains unknown.
            BodyEnd::Left { was_read: false } if self.is_grpc => {
                self.finish(Outcome::Cancelled, "");
            }
            BodyEnd::Complete(_) | BodyEnd::Left { .. } => self.finish(Outcome::Success, ""),
        }
    }
}
