//! The propagator of the layers: reads W3C and B3, and writes W3C and, if configured, B3.

use std::sync::{LazyLock, OnceLock};

use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::TraceContextExt;

use super::{B3Encoding, B3Propagator, BaggagePropagator, TraceContextPropagator, b3};

static FIELDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let b3 = B3Propagator::new(B3Encoding::Single);
    let all = [
        TraceContextPropagator.fields(),
        b3.fields(),
        BaggagePropagator.fields(),
    ];
    all.into_iter().flatten().map(Into::into).collect()
});

static CONFIGURED: OnceLock<Propagator> = OnceLock::new();

/// Reads and writes the configured formats. If a request has several trace contexts, W3C's is used, else B3 single,
/// else B3 multi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Propagator {
    trace_context: bool,
    baggage: bool,
    b3: Option<B3Encoding>,
    reads_b3: bool,
}

impl Default for Propagator {
    /// Reads everything; writes W3C trace context and baggage.
    fn default() -> Self {
        Self {
            trace_context: true,
            baggage: true,
            b3: None,
            reads_b3: true,
        }
    }
}

impl Propagator {
    /// The names that [`from_list`](Self::from_list) accepts.
    #[cfg(feature = "telemetry")]
    pub(crate) const NAMES: [&str; 5] = ["tracecontext", "baggage", "b3", "b3multi", "none"];

    /// Also writes B3, for peers that understand no other format.
    #[must_use]
    pub fn with_b3(mut self, encoding: B3Encoding) -> Self {
        self.b3 = Some(encoding);
        self
    }

    /// Parses the formats to read and to write from a list like that of `OTEL_PROPAGATORS`: `tracecontext`, `baggage`,
    /// `b3`, `b3multi`, `none`. Both names of B3 read both of its forms. Unknown names are ignored; a list without any
    /// known name gives the default.
    pub fn from_list(list: &str) -> Self {
        let has = |name| list.split(',').any(|item| item.trim() == name);
        let b3 = match (has("b3"), has("b3multi")) {
            (true, _) => Some(B3Encoding::Single),
            (false, true) => Some(B3Encoding::Multi),
            (false, false) => None,
        };
        let (trace_context, baggage, reads_b3) =
            (has("tracecontext"), has("baggage"), b3.is_some());
        if !(trace_context || baggage || reads_b3 || has("none")) {
            return Self::default();
        }
        Self {
            trace_context,
            baggage,
            b3,
            reads_b3,
        }
    }

    /// Removes headers that an earlier propagator wrote, if this one writes the same formats: a proxy that copies
    /// headers must not send half of another context.
    #[cfg(feature = "http")]
    pub(crate) fn clear(self, headers: &mut http::HeaderMap) {
        let b3 = B3Propagator::new(B3Encoding::Single);
        if self.trace_context || self.b3.is_some() {
            for field in TraceContextPropagator.fields().chain(b3.fields()) {
                headers.remove(field);
            }
        }
        if self.baggage {
            for field in BaggagePropagator.fields() {
                headers.remove(field);
            }
        }
    }

    /// Returns the propagator configured with `fusebox::init`, else the default.
    pub fn configured() -> Self {
        CONFIGURED.get().copied().unwrap_or_default()
    }

    /// Sets the propagator of the layers; only the first call has an effect.
    #[cfg(feature = "telemetry")]
    pub(crate) fn configure(self) {
        let _ = CONFIGURED.set(self);
    }
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, cx: &Context, injector: &mut dyn Injector) {
        if self.trace_context {
            TraceContextPropagator.inject_context(cx, injector);
        }
        if let Some(encoding) = self.b3 {
            B3Propagator::new(encoding).inject_context(cx, injector);
        }
        if self.baggage {
            BaggagePropagator.inject_context(cx, injector);
        }
    }

    fn extract_with_context(&self, cx: &Context, extractor: &dyn Extractor) -> Context {
        let mut found = match self.trace_context {
            true => TraceContextPropagator.extract_with_context(cx, extractor),
            false => cx.clone(),
        };
        if self.reads_b3 && !found.span().span_context().is_remote() {
            found = b3::extract(cx, extractor).unwrap_or(found);
        }
        match self.baggage {
            true => BaggagePropagator.extract_with_context(&found, extractor),
            false => found,
        }
    }

    fn fields(&self) -> FieldIter<'_> {
        FieldIter::new(FIELDS.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use opentelemetry::baggage::BaggageExt;
    use opentelemetry::trace::TraceId;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const B3: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1";

    fn read(lines: &[(&str, &str)]) -> Context {
        let carrier: HashMap<String, String> = lines
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        Propagator::default().extract_with_context(&Context::new(), &carrier)
    }

    fn trace_id(cx: &Context) -> String {
        cx.span().span_context().trace_id().to_string()
    }

    #[test]
    fn w3c_wins_over_b3_unless_it_is_malformed() {
        assert_eq!(
            trace_id(&read(&[("traceparent", PARENT), ("b3", B3)])),
            &PARENT[3..35]
        );
        assert_eq!(
            trace_id(&read(&[("traceparent", "00-x"), ("b3", B3)])),
            &B3[..32]
        );
        assert_eq!(trace_id(&read(&[])), TraceId::INVALID.to_string());
        let cx = read(&[("baggage", "a=1")]);
        assert_eq!(cx.baggage().len(), 1);
    }

    #[test]
    fn the_list_selects_what_is_read() {
        let lines = HashMap::from(
            [("traceparent", PARENT), ("b3", B3), ("baggage", "a=1")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let read = |list: &str| {
            let cx = Propagator::from_list(list).extract_with_context(&Context::new(), &lines);
            (trace_id(&cx)[..4].to_owned(), cx.baggage().len())
        };
        let found = |id: &str, baggage| (id.to_owned(), baggage);
        assert_eq!(read("none"), found("0000", 0));
        assert_eq!(read("baggage"), found("0000", 1));
        assert_eq!(read("b3"), found("80f1", 0));
        assert_eq!(read("b3multi,baggage"), found("80f1", 1));
        assert_eq!(read("tracecontext"), found("4bf9", 0));
        assert_eq!(read("jaeger"), found("4bf9", 1));
    }

    #[cfg(feature = "http")]
    #[test]
    fn stale_headers_are_cleared_of_what_is_written() {
        let names = [
            "traceparent",
            "tracestate",
            "b3",
            "x-b3-parentspanid",
            "baggage",
            "x-other",
        ];
        let left = |list: &str| {
            let value = || http::HeaderValue::from_static("stale");
            let headers = names.map(|name| (http::HeaderName::from_static(name), value()));
            let mut headers: http::HeaderMap = headers.into_iter().collect();
            Propagator::from_list(list).clear(&mut headers);
            headers.len()
        };
        assert_eq!(left("tracecontext,baggage"), 1);
        assert_eq!(left("b3"), 2);
        assert_eq!(left("baggage"), 5);
        assert_eq!(left("none"), 6);
    }

    #[test]
    fn the_list_selects_what_is_written() {
        let cx = read(&[("traceparent", PARENT), ("baggage", "a=1")]);
        let names = |propagator: Propagator| {
            let mut carrier = HashMap::new();
            propagator.inject_context(&cx, &mut carrier);
            let mut names: Vec<_> = carrier.into_keys().collect();
            names.sort();
            names
        };
        assert_eq!(names(Propagator::default()), ["baggage", "traceparent"]);
        assert_eq!(
            names(Propagator::from_list("b3, tracecontext")),
            ["b3", "traceparent"]
        );
        assert_eq!(
            names(Propagator::from_list("b3multi")),
            ["x-b3-sampled", "x-b3-spanid", "x-b3-traceid"]
        );
        assert!(names(Propagator::from_list("none")).is_empty());
        assert_eq!(
            names(Propagator::default().with_b3(B3Encoding::Single)).len(),
            3
        );
    }
}
