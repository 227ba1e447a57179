//! Policies, as the collector sees them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use fusebox::http::client::TracedClient;
use fusebox::resilience::{
    Decision, RateLimiter, RateLimiterSettings, Registry, Retry, RetrySettings,
};
use fusebox::{Telemetry, semconv};
use http::StatusCode;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{NumberDataPoint, number_data_point::Value};

use crate::sink::{Received, Sink, serve, text};
use crate::{block_on, config};

pub(crate) fn points(received: &Received, name: &str) -> Vec<NumberDataPoint> {
    let metrics = received
        .metrics
        .iter()
        .filter(|(_, metric)| metric.name == name);
    let points = metrics.filter_map(|(_, metric)| match metric.data.clone()? {
        Data::Sum(sum) if sum.is_monotonic => Some(sum.data_points),
        Data::Gauge(gauge) => Some(gauge.data_points),
        _ => None,
    });
    points.flatten().collect()
}

/// Returns the value of a policy, for an event if one is given.
fn value(received: &Received, metric: &str, policy: (&str, &str), event: &str) -> Option<i64> {
    let points = points(received, metric);
    let found = points.into_iter().find(|point| {
        let of = |key| text(&point.attributes, key);
        (of(semconv::POLICY_KIND), of(semconv::POLICY_NAME))
            == (policy.0.to_owned(), policy.1.to_owned())
            && of(semconv::POLICY_EVENT) == event
    });
    match found?.value? {
        Value::AsInt(value) => Some(value),
        Value::AsDouble(_) => None,
    }
}

/// Scenario: a service is busy twice; its caller retries the request, and takes permits of a rate limiter.
/// Guarantees: each request is a span with the number of earlier attempts, each further attempt is a span that names
/// the retry, and the collector receives the counts.
#[test]
fn a_retried_request_is_seen_as_such() {
    let (sink, endpoint) = Sink::start();
    let registry = Registry::new();
    let config = config("page", &endpoint).with_policies(&registry);
    let page = Telemetry::start(&config).unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let busy_twice = async move || match asked.fetch_add(1, Relaxed) {
        0 | 1 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    let router = Router::new().route("/stock", get(busy_twice));
    let url = format!("http://{}/stock", serve(page.dispatch().clone(), router));

    let settings = RetrySettings {
        wait: Duration::from_millis(1),
        ..RetrySettings::default()
    };
    let retry = Retry::builder("inventory")
        .settings(settings)
        .registry(&registry)
        .build();
    let limit = RateLimiterSettings {
        period: Duration::from_secs(3_600),
        ..RateLimiterSettings::default()
    };
    let limiter = RateLimiter::builder("inventory")
        .settings(limit)
        .registry(&registry)
        .build();
    let client = TracedClient::new();
    let request = || async {
        limiter.acquire().await.unwrap();
        client.get(&url).send().await
    };
    let decide = |result: &Result<reqwest::Response, _>| match result {
        Ok(response) if response.status().is_success() => Decision::Stop,
        _ => Decision::Retry,
    };
    block_on(&page, async {
        let response = retry.call_with(request, decide).await.unwrap();
        assert_eq!(response.status(), 200);
        // The span of the request ends with the body. It holds the attempt's, which closes by the subscriber of the thread.
        drop(response);
    });

    check_spans(&sink);
    check_counts(&sink);
}

fn check_spans(sink: &Sink) {
    let last = sink.wait_for("span of the third request", |received| {
        let mut spans = received.spans.iter().map(|(_, span)| span);
        let is_last = |span: &&_| resent(span) == "2";
        spans.find(is_last).cloned()
    });
    let attempt = sink.wait_for("span of the third attempt", |received| {
        let mut spans = received.spans.iter().map(|(_, span)| span);
        spans
            .find(|span| span.span_id == last.parent_span_id)
            .cloned()
    });
    assert_eq!(attempt.name, "retry inventory");
    assert_eq!(text(&attempt.attributes, semconv::POLICY_ATTEMPT), "3");
    assert_eq!(
        text(&attempt.attributes, semconv::POLICY_EVENT),
        "succeeded_after_retry"
    );
}

fn check_counts(sink: &Sink) {
    for (policy, event, count) in [
        ("retry", "retried", 2),
        ("retry", "succeeded_after_retry", 1),
        ("rate_limiter", "permitted", 3),
    ] {
        sink.wait_for(event, |received| {
            let sent = value(
                received,
                semconv::POLICY_EVENTS,
                (policy, "inventory"),
                event,
            )?;
            (sent == count).then_some(())
        });
    }
    sink.wait_for("permits that are left", |received| {
        let left = value(
            received,
            semconv::POLICY_AVAILABLE,
            ("rate_limiter", "inventory"),
            "",
        )?;
        (left == 47).then_some(())
    });
}

fn resent(span: &opentelemetry_proto::tonic::trace::v1::Span) -> String {
    text(&span.attributes, "http.request.resend_count")
}
