//! Turns `tracing` events into OTLP log records.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::trace::TraceContextExt;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::{Line, Queue};
use crate::telemetry::circuits::{attribute, text, unix_nanos};
use crate::telemetry::otlp_client::is_own_line;

/// Most bytes of a message or value; longer ones are cut, as receivers do.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// Queues every event except those about exports.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct RecordLayer(pub(super) Arc<Queue>);

impl<S: Subscriber> Layer<S> for RecordLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Otherwise a receiver that refuses logs would be sent a log of each refusal, and refuse that too.
        if is_own_line() {
            return;
        }
        let target = event.metadata().target();
        let record = record(event, SystemTime::now());
        self.0.push(Line { target, record });
    }
}

fn record(event: &Event<'_>, now: SystemTime) -> LogRecord {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    let mut attributes = fields.attributes;
    if let (Some(file), Some(line)) = (metadata.file(), metadata.line()) {
        attributes.push(text("code.file.path", file));
        attributes.push(attribute("code.line.number", Value::IntValue(line.into())));
    }
    let record = LogRecord {
        time_unix_nano: unix_nanos(now),
        observed_time_unix_nano: unix_nanos(now),
        severity_number: severity(*metadata.level()).into(),
        severity_text: metadata.level().as_str().to_owned(),
        body: fields.message.map(|message| AnyValue {
            value: Some(Value::StringValue(message)),
        }),
        attributes,
        ..LogRecord::default()
    };
    opentelemetry::Context::map_current(|cx| match cx.span().span_context() {
        span if span.is_valid() => LogRecord {
            trace_id: span.trace_id().to_bytes().to_vec(),
            span_id: span.span_id().to_bytes().to_vec(),
            flags: u32::from(span.trace_flags().to_u8()),
            ..record
        },
        _ => record,
    })
}

fn severity(level: Level) -> SeverityNumber {
    match level {
        Level::ERROR => SeverityNumber::Error,
        Level::WARN => SeverityNumber::Warn,
        Level::INFO => SeverityNumber::Info,
        Level::DEBUG => SeverityNumber::Debug,
        Level::TRACE => SeverityNumber::Trace,
    }
}

/// The message of an event, and its other fields.
#[derive(Default)]
struct Fields {
    message: Option<String>,
    attributes: Vec<KeyValue>,
}

impl Fields {
    fn text(&mut self, field: &Field, mut value: String) {
        if value.len() > TEXT_BYTES_MAX {
            let cuts = (0..=TEXT_BYTES_MAX).rev();
            let end = cuts.into_iter().find(|at| value.is_char_boundary(*at));
            value.truncate(end.unwrap_or(0));
        }
        match field.name() {
            "message" => self.message = Some(value),
            name => self.attributes.push(text(name, value)),
        }
    }

    fn value(&mut self, field: &Field, value: Value) {
        self.attributes.push(attribute(field.name(), value));
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, Value::DoubleValue(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.value(field, Value::IntValue(value)),
            Err(_) => self.text(field, value.to_string()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, Value::BoolValue(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    /// An error is recorded as an exception with its causes.
    fn record_error(&mut self, _field: &Field, value: &(dyn Error + 'static)) {
        let mut causes: Vec<String> = Vec::new();
        let mut cause = Some(value);
        while let Some(error) = cause.filter(|_| causes.len() < CAUSES_MAX) {
            let words = error.to_string();
            // Many errors already contain their cause in their own message.
            if !causes.last().is_some_and(|last| last.ends_with(&words)) {
                causes.push(words);
            }
            cause = error.source();
        }
        let message = causes.join(": ");
        self.attributes.push(text("exception.message", message));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
}

/// Most causes of an error that are written, because a chain may be cyclic.
const CAUSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::otlp_client::OtlpClient;

    /// *Scenario*: one event outside of a span, one with an error inside.
    /// *Guarantees*: both become records; the second has the ids of the span, the fields with their types, and the causes.
    #[test]
    fn events_become_records_with_the_ids_of_their_span() {
        let queue = Arc::new(Queue::default());
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let layer = RecordLayer(Arc::clone(&queue));
        let subscriber = tracing_subscriber::registry().with(spans).with(layer);
        let ids = tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "shop::page", "started");
            let _entered = tracing::info_span!("request").entered();
            let error = std::io::Error::other("no route");
            let error: &dyn Error = &error;
            tracing::warn!(product = 7, ok = false, error, who = "ada", "no stock");
            opentelemetry::Context::map_current(|cx| {
                let span = cx.span().span_context().clone();
                (span.trace_id().to_bytes(), span.span_id().to_bytes())
            })
        });
        let lines = queue.take(usize::MAX, usize::MAX);
        assert_eq!((lines.len(), lines[0].target), (2, "shop::page"));
        assert!(lines[0].record.trace_id.is_empty());
        let record = &lines[1].record;
        assert_eq!(
            (&record.trace_id[..], &record.span_id[..]),
            (&ids.0[..], &ids.1[..])
        );
        assert_eq!(record.severity_number(), SeverityNumber::Warn);
        let message = Value::StringValue("no stock".to_owned());
        assert_eq!(record.body.as_ref().unwrap().value, Some(message));
        let named = |key: &str| {
            let found = record
                .attributes
                .iter()
                .find(|attribute| attribute.key == key);
            found.unwrap().value.clone().unwrap().value.unwrap()
        };
        assert_eq!(named("product"), Value::IntValue(7));
        assert_eq!(named("ok"), Value::BoolValue(false));
        assert_eq!(
            named("exception.message"),
            Value::StringValue("no route".to_owned())
        );
        assert!(
            matches!(named("code.file.path"), Value::StringValue(file) if file.ends_with("layer.rs"))
        );
    }

    /// *Scenario*: an exporter logs an outage with the subscriber whose lines it sends, and then the application logs.
    /// *Guarantees*: only the line of the application is queued.
    #[test]
    fn lines_about_exports_are_not_exported() {
        let queue = Arc::new(Queue::default());
        let layer = RecordLayer(Arc::clone(&queue));
        let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
        let mut config = crate::telemetry::TelemetryConfig::from_env("test");
        let client = OtlpClient::new(&mut config).unwrap();
        client.set_dispatch(&dispatch);
        client.log(|| tracing::warn!(target: "fusebox", "could not export telemetry"));
        tracing::dispatcher::with_default(&dispatch, || tracing::warn!("no stock"));
        let lines = queue.take(usize::MAX, usize::MAX);
        assert_eq!((lines.len(), lines[0].target), (1, module_path!()));
    }
}
