//! Log lines in the format of Spring Cloud Sleuth, so that a line leads to its trace:
//! `2026-01-02T03:04:05.678901Z  INFO [product-page,4bf9…,00f0…] shop::page: page rendered product=7`.

use std::fmt;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Formats an event with `[service,trace id,span id]` after the level; the ids are empty outside a span.
#[derive(Debug)]
pub(super) struct LogFormat {
    pub(super) service_name: String,
}

impl LogFormat {
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

impl<S, N> FormatEvent<S, N> for LogFormat
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

    #[test]
    fn lines_carry_service_and_ids_and_keep_empty_fields() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let logs = tracing_subscriber::fmt::layer()
            .event_format(LogFormat {
                service_name: "product-page".into(),
            })
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let provider = SdkTracerProvider::builder().build();
        let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(spans).with(logs);
        let ids = tracing::subscriber::with_default(subscriber, || {
            info!(target: "shop::page", product = 7, "page rendered");
            let _entered = tracing::info_span!("request").entered();
            info!(target: "shop::page", "in a span");
            Context::map_current(|cx| {
                let span = cx.span().span_context().clone();
                format!("{},{}", span.trace_id(), span.span_id())
            })
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        // After the time, whose length is fixed.
        let lines: Vec<_> = text.lines().map(|line| &line[27..]).collect();
        let expected = [
            "  INFO [product-page,,] shop::page: page rendered product=7".to_owned(),
            format!("  INFO [product-page,{ids}] shop::page: in a span"),
        ];
        assert_eq!(lines, expected);
    }
}
