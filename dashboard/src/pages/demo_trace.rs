//! The button of the empty state: sends one made-up request through the shop and leads to it.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};
use axum::response::Redirect;
use bytes::Bytes;
use fusebox_collector::codec::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, walk_traces,
};
use fusebox_collector::model::now_unix_nanos;
use fusebox_collector::pipeline::IngestError;
use fusebox_collector::sample;
use opentelemetry::TraceId;

use super::Pages;
use super::error::PageError;
use super::href::Href;

/// Takes the trace in like any other; once that returns it is stored and can be shown.
pub(crate) async fn send(
    State(pages): State<Pages>,
    headers: HeaderMap,
) -> Result<Redirect, PageError> {
    if !is_same_origin(&headers) {
        return Err(PageError::Forbidden);
    }
    let now = now_unix_nanos();
    let request = Bytes::from(sample::demo_trace(now));
    let mut first = FirstTrace::default();
    walk_traces(&request, &Limits::default(), now, &mut first).map_err(IngestError::from)?;
    pages.info.ingest.spans(request).await?;
    let target = first.0.map_or_else(|| Href::new("/traces"), Href::trace);
    Ok(Redirect::to(&target.to_string()))
}

/// Browsers say where a form comes from: `Sec-Fetch-Site`, or `Origin` where that is missing. Whoever sends
/// neither is no browser that another site could have led here.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin
            .split_once("://")
            .is_some_and(|(_, rest)| rest == host),
        (Some(_), None) => false,
    }
}

/// Remembers the first trace id of a request.
#[derive(Debug, Default)]
struct FirstTrace(Option<TraceId>);

impl SpanVisitor for FirstTrace {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        self.0.get_or_insert(TraceId::from_bytes(span.trace_id));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn forms_of_other_sites_are_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (
                    axum::http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            };
            pairs.iter().map(pair).collect()
        };
        assert!(is_same_origin(&headers(&[(
            "sec-fetch-site",
            "same-origin"
        )])));
        assert!(!is_same_origin(&headers(&[(
            "sec-fetch-site",
            "cross-site"
        )])));
        assert!(!is_same_origin(&headers(&[(
            "sec-fetch-site",
            "same-site"
        )])));
        assert!(is_same_origin(&headers(&[
            ("origin", "http://a:1"),
            ("host", "a:1")
        ])));
        assert!(!is_same_origin(&headers(&[
            ("origin", "null"),
            ("host", "a:1")
        ])));
        assert!(!is_same_origin(&headers(&[
            ("origin", "http://b:1"),
            ("host", "a:1")
        ])));
        assert!(is_same_origin(&headers(&[])));
    }
}
