//! `fusebox::init` installs telemetry for the whole process, which can be done once: one test, one process.

#[path = "../wire/sink.rs"]
#[expect(dead_code, clippy::unwrap_used, reason = "shared with the other tests")]
mod sink;

use std::collections::BTreeSet;

use fusebox::circuit_breaker::CircuitBreaker;
use fusebox::opentelemetry::global;
use fusebox::opentelemetry::propagation::TextMapPropagator;
use fusebox::propagation::{B3Encoding, Propagator};
use fusebox::{InitError, TelemetryConfig};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use sink::{Sink, text};

/// Scenario: a program without a runtime makes spans with `tracing` and counts with the global meter.
/// Guarantees: both have been sent when the guard is dropped, the configured headers are those of the process, and a
/// second start fails without a trace: the receiver gets nothing from it.
#[test]
fn init_serves_the_whole_process() {
    let (sink, endpoint) = Sink::start();
    let propagator = Propagator::default().with_b3(B3Encoding::Single);
    let config = TelemetryConfig::from_env("shop")
        .with_service_name("shop")
        .with_endpoint(&endpoint)
        .with_log_filter("off")
        .with_propagator(propagator);
    let breaker = CircuitBreaker::new("stock");
    let telemetry = fusebox::init(config.clone()).unwrap();
    let second = fusebox::init(config.with_service_name("ghost"));
    assert!(matches!(second, Err(InitError::AlreadyInstalled)));
    assert!(breaker.try_acquire().is_ok());

    tracing::info_span!("order", order.id = 7).in_scope(|| tracing::info!("placed"));
    global::meter("shop")
        .u64_counter("shop.orders")
        .build()
        .add(3, &[]);
    assert_eq!(Propagator::configured(), propagator);
    global::get_text_map_propagator(|global| {
        assert!(global.fields().eq(propagator.fields()));
    });
    drop(telemetry);

    let span = sink.span("shop", "order");
    let keys: Vec<_> = span
        .attributes
        .iter()
        .map(|attribute| attribute.key.as_str())
        .collect();
    assert_eq!(keys, ["order.id"], "nothing is added to a span");
    assert_eq!(text(&span.attributes, "order.id"), "7");
    assert_eq!(span.events[0].name, "placed");
    let orders = sink.wait_for("orders", |received| {
        let found = received
            .metrics
            .iter()
            .find(|(_, metric)| metric.name == "shop.orders");
        found.map(|(_, metric)| metric.clone())
    });
    let services = sink.wait_for("circuits", |received| {
        let metrics = received.metrics.iter().map(|(service, _)| service);
        let logs = received.logs.iter().map(|(service, _)| service);
        let services: BTreeSet<_> = metrics.chain(logs).cloned().collect();
        (!received.logs.is_empty()).then_some(services)
    });
    assert_eq!(services, BTreeSet::from(["shop".to_owned()]));
    assert!(matches!(orders.data, Some(Data::Sum(sum)) if sum.data_points.len() == 1));
}
