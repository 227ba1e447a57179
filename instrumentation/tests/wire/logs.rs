//! Log lines as OTLP log records.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use fusebox::Telemetry;

use crate::sink::{Received, Sink, text};
use crate::{config, telemetry};

fn said<'r>(received: &'r Received, message: &str) -> Option<&'r LogRecord> {
    let is_said = |record: &&LogRecord| {
        let body = record.body.as_ref().and_then(|body| body.value.as_ref());
        body == Some(&Value::StringValue(message.to_owned()))
    };
    received.logs.iter().map(|(_, record)| record).find(is_said)
}

/// Scenario: a service logs inside and outside a span, while its own log lines are off.
/// Guarantees: both are sent, the first with the ids of its span; records below `info` are not.
#[test]
fn log_lines_are_sent_with_their_trace() {
    let (sink, endpoint) = Sink::start();
    let page = telemetry("page", &endpoint);
    tracing::dispatcher::with_default(page.dispatch(), || {
        tracing::info_span!("order").in_scope(|| {
            tracing::warn!(product = 7, "no stock");
            tracing::debug!("not sent");
        });
        tracing::info!("started");
    });
    drop(page);
    let span = sink.span("page", "order");
    sink.wait_for("both records", |received| {
        let (inside, outside) = (said(received, "no stock")?, said(received, "started")?);
        assert_eq!(inside.trace_id, span.trace_id);
        assert_eq!(inside.span_id, span.span_id);
        assert_eq!(inside.severity_number(), SeverityNumber::Warn);
        assert!(text(&inside.attributes, "code.file.path").ends_with("logs.rs"));
        assert!(outside.trace_id.is_empty());
        assert!(said(received, "not sent").is_none());
        Some(())
    });
}

/// Scenario: log records are switched off.
/// Guarantees: none is sent, and nothing else changes.
#[test]
fn log_records_can_be_switched_off() {
    let (sink, endpoint) = Sink::start();
    let config = config("page", &endpoint).with_log_records("off");
    let page = Telemetry::start(&config).unwrap();
    tracing::dispatcher::with_default(page.dispatch(), || {
        tracing::info_span!("order").in_scope(|| tracing::warn!("no stock"));
    });
    drop(page);
    sink.span("page", "order");
    sink.wait_for("spans alone", |received| {
        assert!(said(received, "no stock").is_none());
        Some(())
    });
}
