//! The last requests that the process answered, from its sampled server spans.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::SpanKind;
use opentelemetry::{Context, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanProcessor};

use crate::sync::Mutex;

/// Most requests that are kept (Spring Boot, `InMemoryHttpExchangeRepository`).
const EXCHANGES_MAX: usize = 100;

/// The last requests; clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchanges(Arc<Mutex<VecDeque<Exchange>>>);

/// A request and its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) time: SystemTime,
    pub(crate) took: Duration,
    pub(crate) trace: String,
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) remote_address: Option<String>,
    pub(crate) user_agent: Option<String>,
    /// `None` if no response was sent.
    pub(crate) status: Option<i64>,
}

impl Exchanges {
    /// Returns the requests, the latest first.
    pub(crate) fn latest(&self) -> Vec<Exchange> {
        self.0.lock().iter().rev().cloned().collect()
    }

    fn push(&self, exchange: Exchange) {
        let mut kept = self.0.lock();
        if kept.len() >= EXCHANGES_MAX {
            kept.pop_front();
        }
        kept.push_back(exchange);
    }
}

/// Returns the request of a server span; `None` for other spans.
fn exchange(span: &SpanData) -> Option<Exchange> {
    let text = |key: &str| attribute(span, key).map(ToString::to_string);
    let method = text("http.request.method").filter(|_| span.span_kind == SpanKind::Server)?;
    let status = attribute(span, "http.response.status_code");
    Some(Exchange {
        time: span.start_time,
        took: span
            .end_time
            .duration_since(span.start_time)
            .unwrap_or_default(),
        trace: span.span_context.trace_id().to_string(),
        method,
        uri: uri(&text),
        remote_address: text("client.address"),
        user_agent: text("user_agent.original"),
        status: status.and_then(|status| match status {
            Value::I64(status) => Some(*status),
            _ => None,
        }),
    })
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<&'a Value> {
    let mut attributes = span.attributes.iter();
    let found = attributes.find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| &attribute.value)
}

/// Joins the parts of the address; secrets in them are already masked.
fn uri(text: &dyn Fn(&str) -> Option<String>) -> String {
    let part = |key: &str| text(key).unwrap_or_default();
    let host = match part("server.address") {
        address if address.contains(':') => format!("[{address}]"),
        address => address,
    };
    let port = text("server.port").map_or(String::new(), |port| format!(":{port}"));
    let query = text("url.query").map_or(String::new(), |query| format!("?{query}"));
    format!(
        "{}://{host}{port}{}{query}",
        part("url.scheme"),
        part("url.path")
    )
}

/// Records the requests among spans on their way to the exporter, if there is one.
#[derive(Debug)]
pub(in crate::telemetry) struct ExchangeProcessor {
    pub(in crate::telemetry) exchanges: Exchanges,
    pub(in crate::telemetry) next: Option<BatchSpanProcessor>,
}

impl SpanProcessor for ExchangeProcessor {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        if let Some(next) = &self.next {
            next.on_start(span, cx);
        }
    }

    fn on_end(&self, span: SpanData) {
        if let Some(exchange) = exchange(&span) {
            self.exchanges.push(exchange);
        }
        if let Some(next) = &self.next {
            next.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next
            .as_ref()
            .map_or(Ok(()), SpanProcessor::force_flush)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let next = self.next.as_ref();
        next.map_or(Ok(()), |next| next.shutdown_with_timeout(timeout))
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(next) = &mut self.next {
            next.set_resource(resource);
        }
    }
}
