//! The layers of telemetry in a subscriber of the application: one test, one process.

#[path = "../wire/sink.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the other tests")]
mod sink;

use std::sync::{Arc, Mutex};

use fusebox::TelemetryConfig;
use sink::Sink;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The application's own layer: keeps the names of events.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<&'static str>>>);

impl<S: tracing::Subscriber> Layer<S> for Names {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        self.0
            .lock()
            .expect("not poisoned")
            .push(event.metadata().target());
    }
}

/// Scenario: an application installs its own subscriber with the layers in it, then starts telemetry a second time.
/// Guarantees: spans are exported, its own layer works, and the error of the second start names the solution.
#[test]
fn layers_fit_into_an_own_subscriber() {
    let (sink, endpoint) = Sink::start();
    let config = TelemetryConfig::from_env("shop")
        .with_service_name("shop")
        .with_endpoint(&endpoint)
        .with_log_filter("off");
    let (layers, telemetry) = fusebox::telemetry::layers(config.clone()).unwrap();
    let names = Names::default();
    tracing_subscriber::registry()
        .with(layers)
        .with(names.clone())
        .init();
    tracing::info_span!("order").in_scope(|| tracing::info!(target: "shop", "placed"));
    drop(telemetry);
    let span = sink.span("shop", "order");
    assert_eq!(span.events[0].name, "placed");
    assert!(names.0.lock().unwrap().contains(&"shop"));
    let again = fusebox::init(config).unwrap_err();
    assert!(again.to_string().contains("layers()"));
}
