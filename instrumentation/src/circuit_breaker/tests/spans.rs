//! Tests of the spans of calls, and of transitions that carry the ids of the call that caused them.

use std::io;

use opentelemetry::Value;
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::circuit_breaker::request_log;

/// Records every ended span.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Ended {
    /// Collects the spans of this thread until the guard is dropped.
    fn listen(&self) -> DefaultGuard {
        let provider = SdkTracerProvider::builder();
        let provider = provider.with_span_processor(self.clone()).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::set_default(tracing_subscriber::registry().with(layer))
    }

    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a| a.key.as_str() == key)?;
    Some(match &found.value {
        Value::Bool(value) => value.to_string(),
        value => value.as_str().into_owned(),
    })
}

async fn fails() -> Result<u32, io::Error> {
    Err(io::Error::other("out of stock"))
}

#[tokio::test(start_paused = true)]
async fn a_protected_call_is_a_span_and_its_transition_carries_its_ids() {
    let (ended, (breaker, notes)) = (Ended::default(), observed(hystrix()));
    let _listening = ended.listen();
    breaker.call(fails()).await.unwrap_err();
    breaker.call(fails()).await.unwrap_err();
    let (spans, notes) = (ended.take(), notes.take());
    let [failed, refused] = spans.as_slice() else {
        panic!("two spans: {spans:?}");
    };
    assert_eq!(failed.name, "inventory");
    assert_eq!(
        attribute(failed, "circuit_breaker.name").unwrap(),
        "inventory"
    );
    assert_eq!(
        attribute(failed, "circuit_breaker.state").unwrap(),
        "closed"
    );
    assert_eq!(
        attribute(failed, "circuit_breaker.outcome").unwrap(),
        "failure"
    );
    assert_eq!(
        attribute(failed, "error.type").unwrap(),
        "std::io::error::Error"
    );
    assert_eq!(attribute(failed, "circuit_breaker.probe"), None);
    assert!(matches!(failed.status, Status::Error { .. }));
    assert_eq!(notes[0].to, EffectiveState::Open);
    assert_eq!(notes[0].trace.as_ref(), Some(&failed.span_context));

    assert_eq!(attribute(refused, "circuit_breaker.state").unwrap(), "open");
    assert_eq!(
        attribute(refused, "circuit_breaker.outcome").unwrap(),
        "rejected"
    );
    assert_eq!(attribute(refused, "error.type").unwrap(), "circuit_open");
    assert!(matches!(refused.status, Status::Error { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_the_type_of_its_error() {
    let (ended, (breaker, _)) = (Ended::default(), observed(hystrix()));
    let _listening = ended.listen();
    let call = breaker.call::<u32, io::Error>(async { panic!("index out of bounds") });
    let mut caught = Box::pin(call);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let poll = std::panic::AssertUnwindSafe(|| caught.as_mut().poll(&mut context));
    assert!(std::panic::catch_unwind(poll).is_err());
    drop(caught);
    let spans = ended.take();
    assert_eq!(attribute(&spans[0], "error.type").unwrap(), "panic");
    assert_eq!(
        attribute(&spans[0], "circuit_breaker.outcome").unwrap(),
        "failure"
    );
    assert!(matches!(spans[0].status, Status::Error { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_probe_says_so_and_both_its_transitions_carry_its_ids() {
    let (ended, (breaker, notes)) = (Ended::default(), observed(hystrix()));
    ready_for_probe(&breaker).await;
    notes.take();
    let _listening = ended.listen();
    breaker.call(async { Ok::<_, io::Error>(1) }).await.unwrap();
    let (spans, notes) = (ended.take(), notes.take());
    assert_eq!(
        attribute(&spans[0], "circuit_breaker.probe").unwrap(),
        "true"
    );
    assert_eq!(
        attribute(&spans[0], "circuit_breaker.state").unwrap(),
        "half_open"
    );
    assert_eq!(spans[0].status, Status::Unset);
    assert_eq!(notes.len(), 2, "half-open, closed");
    for note in notes {
        assert_eq!(note.trace.as_ref(), Some(&spans[0].span_context));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_a_span_of_its_own_and_its_parent_has_not_failed() {
    let (ended, (breaker, _)) = (Ended::default(), observed(hystrix()));
    let _listening = ended.listen();
    let request = tracing::info_span!("request");
    let command = breaker.command().run(fails);
    let command = command.fallback_to("list price", |_| async {
        tracing::info_span!("cache").in_scope(|| Ok::<_, io::Error>(2))
    });
    tracing::Instrument::instrument(command.execute(), request)
        .await
        .unwrap();
    let spans = ended.take();
    let span = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let (call, fallback) = (span("inventory"), span("fallback list price"));
    let (request, cache) = (span("request"), span("cache"));
    assert_eq!(call.parent_span_id, request.span_context.span_id());
    assert_eq!(fallback.parent_span_id, request.span_context.span_id());
    assert_eq!(cache.parent_span_id, fallback.span_context.span_id());
    assert_eq!(
        attribute(fallback, "circuit_breaker.fallback").unwrap(),
        "success"
    );
    assert_eq!(
        attribute(fallback, "circuit_breaker.name").unwrap(),
        "inventory"
    );
    assert!(matches!(call.status, Status::Error { .. }));
    assert_eq!(fallback.status, Status::Unset);
    assert_eq!(request.status, Status::Unset);
}

#[cfg(feature = "http")]
#[tokio::test(start_paused = true)]
async fn code_behind_the_layer_runs_inside_its_span() {
    use tower::{Layer, ServiceExt, service_fn};

    use crate::circuit_breaker::layer::CircuitBreakerLayer;

    let (ended, (breaker, notes)) = (Ended::default(), observed(hystrix()));
    let _listening = ended.listen();
    let inner = service_fn(|_: http::Request<()>| async {
        tracing::info_span!("inner").in_scope(|| ());
        let mut response = http::Response::new(());
        *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        Ok::<_, io::Error>(response)
    });
    let service = CircuitBreakerLayer::new(breaker).layer(inner);
    service.oneshot(http::Request::new(())).await.unwrap();
    let spans = ended.take();
    let [inner, call] = spans.as_slice() else {
        panic!("two spans: {spans:?}");
    };
    assert_eq!(inner.parent_span_id, call.span_context.span_id());
    assert_eq!(attribute(call, "error.type").unwrap(), "503");
    assert_eq!(notes.take()[0].trace.as_ref(), Some(&call.span_context));
}

#[tokio::test(start_paused = true)]
async fn a_request_knows_which_breakers_it_called() {
    let breaker = breaker(hystrix());
    let (_, list) = request_log::scope(async {
        breaker.call(fails()).await.ok();
        breaker.call(fails()).await.ok();
    })
    .await;
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].name, "inventory");
    assert_eq!(list[0].state, EffectiveState::Open);
    assert_eq!(list[0].outcome, Outcome::Rejected);
    assert_eq!(list[0].retry_after, Some(ms(200)));
}
