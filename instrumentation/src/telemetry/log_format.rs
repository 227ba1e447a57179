//! Log lines with the ids of their trace: text in the format of Spring Cloud Sleuth, or JSON.
//!
//! `2026-01-02T03:04:05.678901Z  INFO [product-page,4bf9…,00f0…] shop::page: page rendered product=7`
//!
//! `{"timestamp":"…","level":"INFO","service":"product-page","trace_id":"4bf9…","span_id":"00f0…","target":"shop::page",
//! "message":"page rendered","product":7}`

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text with `[service,trace id,span id]` after the level.
    #[default]
    Text,
    /// One JSON object per line, with `trace_id` and `span_id` inside a span.
    Json,
}

impl LogFormat {
    /// Parses a value of `FUSEBOX_LOG_FORMAT`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Formats an event in one of the formats; in text, the ids are empty outside a span.
#[derive(Debug)]
pub(super) struct Formatter {
    pub(super) service_name: String,
    pub(super) format: LogFormat,
}

impl Formatter {
    /// Writes an event as a JSON object. Fields of the event cannot replace the standard ones.
    fn write_json(&self, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = Map::new();
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let metadata = event.metadata();
        let mut set = |key: &str, value: String| line.insert(key.to_owned(), value.into());
        set("timestamp", time);
        set("level", metadata.level().to_string());
        set("service", self.service_name.clone());
        Context::map_current(|cx| {
            let span = cx.span().span_context().clone();
            if span.is_valid() {
                set("trace_id", span.trace_id().to_string());
                set("span_id", span.span_id().to_string());
            }
        });
        set("target", metadata.target().to_owned());
        for (key, value) in fields.0 {
            line.entry(key).or_insert(value);
        }
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }

    fn write_ids(&self, writer: &mut Writer<'_>) -> fmt::Result {
        Context::map_current(|cx| match cx.span().span_context() {
            span if span.is_valid() => {
                let (trace, span) = (span.trace_id(), span.span_id());
                write!(writer, "[{},{trace},{span}] ", self.service_name)
            }
            _ => write!(writer, "[{},,] ", self.service_name),
        })
    }
}

/// The fields of an event as JSON.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.set(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

impl<S, N> FormatEvent<S, N> for Formatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.format == LogFormat::Json {
            return self.write_json(writer, event);
        }
        let metadata = event.metadata();
        SystemTime.format_time(&mut writer)?;
        write_level(&mut writer, *metadata.level())?;
        self.write_ids(&mut writer)?;
        write!(writer, "{}: ", metadata.target())?;
        cx.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn write_level(writer: &mut Writer<'_>, level: Level) -> fmt::Result {
    if !writer.has_ansi_escapes() {
        return write!(writer, " {level:>5} ");
    }
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    write!(writer, " \x1b[{colour}m{level:>5}\x1b[0m ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::info;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// Writes two lines, the second inside a span; returns them and the ids of the span.
    fn lines(format: LogFormat) -> (Vec<String>, String) {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let logs = tracing_subscriber::fmt::layer()
            .event_format(Formatter {
                service_name: "product-page".into(),
                format,
            })
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(spans).with(logs);
        let ids = tracing::subscriber::with_default(subscriber, || {
            info!(target: "shop::page", product = 7, "page rendered");
            let _entered = tracing::info_span!("request").entered();
            info!(target: "shop::page", trace_id = "mine", "in a \"span\"");
            Context::map_current(|cx| {
                let span = cx.span().span_context().clone();
                format!("{},{}", span.trace_id(), span.span_id())
            })
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        (text.lines().map(ToOwned::to_owned).collect(), ids)
    }

    #[test]
    fn lines_carry_service_and_ids_and_keep_empty_fields() {
        let (lines, ids) = lines(LogFormat::Text);
        // After the time, whose length is fixed.
        let lines: Vec<_> = lines.iter().map(|line| &line[27..]).collect();
        let expected = [
            "  INFO [product-page,,] shop::page: page rendered product=7".to_owned(),
            format!("  INFO [product-page,{ids}] shop::page: in a \"span\" trace_id=\"mine\""),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn json_lines_carry_the_same_and_typed_fields() {
        let (lines, ids) = lines(LogFormat::Json);
        let lines: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (&lines[0]["product"], &lines[0]["trace_id"]),
            (&7.into(), &Value::Null)
        );
        assert_eq!(lines[0]["service"], "product-page");
        let (trace, span) = ids.split_once(',').unwrap();
        let line = &lines[1];
        assert_eq!(
            (&line["trace_id"], &line["span_id"]),
            (&trace.into(), &span.into())
        );
        assert_eq!(
            (&line["level"], &line["message"]),
            (&"INFO".into(), &"in a \"span\"".into())
        );
    }
}
