//! Names and values in the details of a span or a log record.

use fusebox_collector::model::{Value, format_duration};
use opentelemetry::{SpanId, TraceId};

use super::json_view::{self, Part};
use crate::pages::view::href::Href;
use crate::pages::view::moment;
use crate::pages::view::text::{self, VALUE_CHARS};

/// Most attributes shown per span or log record (the SDKs' default limit is 128).
pub(super) const ATTRIBUTES_MAX: usize = 512;

/// A name and its value.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) href: Option<String>,
    pub(super) long: bool,
    /// The parts of a value that is JSON, a list or a map.
    pub(super) parts: Vec<Part>,
    /// A time before the value, as HTML.
    pub(super) moment: Option<String>,
}

impl Pair {
    pub(super) fn new(name: &str, value: impl AsRef<str>) -> Self {
        let value = text::shown(value.as_ref(), VALUE_CHARS).into_owned();
        Self {
            name: text::name(name).into_owned(),
            long: value.contains('\n') || value.len() > 400,
            value,
            href: None,
            parts: Vec::new(),
            moment: None,
        }
    }

    pub(super) fn since(self, at: u64) -> Self {
        Self {
            moment: Some(moment::exact(at)),
            ..self
        }
    }

    pub(super) fn opened(self, value: &Value) -> Self {
        let parts = json_view::parts(value).unwrap_or_default();
        Self { parts, ..self }
    }

    pub(super) fn linked(self, href: Href) -> Self {
        Self {
            href: Some(href.to_string()),
            ..self
        }
    }
}

/// Returns the link to a span of a trace.
pub(super) fn span_href(trace: TraceId, span: SpanId) -> String {
    let href = Href::trace(trace).with("span", span);
    href.at(&format!("s-{span}")).to_string()
}

/// Returns the time since the start.
pub(super) fn offset(time: u64, start: u64) -> String {
    if time == 0 {
        return t!("no time").to_owned();
    }
    if time < start {
        return format!("−{}", format_duration(start - time));
    }
    format!("+{}", format_duration(time - start))
}

/// Returns attributes as pairs; with a service, values link to the search for them.
pub(super) fn pairs(attributes: &[(String, Value)], search_in: Option<&str>) -> Vec<Pair> {
    attributes
        .iter()
        .take(ATTRIBUTES_MAX)
        .map(|(key, value)| {
            let pair = Pair::new(key, value.to_string()).opened(value);
            let value = value.to_string();
            match search_in {
                Some(service) if value.len() <= 200 => pair.linked(
                    Href::new("/traces")
                        .with("service", service)
                        .with("attribute", format!("{key}={value}")),
                ),
                _ => pair,
            }
        })
        .collect()
}
