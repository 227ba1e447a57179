//! The headers of a request as a carrier for propagators.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::Extractor;

/// Replaces a value that is not text; every format rejects it. `opentelemetry_http::HeaderExtractor` omits such values,
/// which would hide a second `traceparent`.
const NOT_TEXT: &str = "\u{fffd}";

/// Extracts values from a request's headers.
pub(crate) struct Headers<'a>(pub(crate) &'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(text)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let values: Vec<_> = self.0.get_all(key).iter().map(text).collect();
        (!values.is_empty()).then_some(values)
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or(NOT_TEXT)
}

#[cfg(test)]
mod tests {
    use opentelemetry::Context;
    use opentelemetry::baggage::BaggageExt;
    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry::trace::TraceContextExt;
    use proptest::prelude::*;

    use super::*;
    use crate::propagation::Propagator;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn extract(lines: &[(&'static str, &[u8])]) -> Context {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(*name, value);
            }
        }
        Propagator::default().extract_with_context(&Context::new(), &Headers(&headers))
    }

    #[test]
    fn a_value_that_is_not_text_is_malformed_and_not_absent() {
        assert!(extract(&[("traceparent", PARENT.as_bytes())]).has_active_span());
        assert!(
            !extract(&[("traceparent", PARENT.as_bytes()), ("traceparent", b"\xff")])
                .has_active_span()
        );
        let cx = extract(&[("baggage", b"\xff"), ("baggage", b"a=1")]);
        assert_eq!(cx.baggage().len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in proptest::collection::vec(any::<u8>(), 0..300), name in 0usize..8) {
            let names = ["traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"];
            extract(&[("traceparent", PARENT.as_bytes()), (names[name], &value)]);
            extract(&[(names[name], &value)]);
        }
    }
}
