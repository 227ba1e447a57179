//! The button of the empty state: sends one generated request through the shop and redirects to its trace.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Redirect;
use bytes::Bytes;
use fusebox_collector::codec::Format;
use fusebox_collector::codec::otlp::{
    Limits, ResourceView, ScopeView, SpanView, SpanVisitor, walk_traces,
};
use fusebox_collector::is_same_origin;
use fusebox_collector::model::UnixNanos;
use fusebox_collector::pipeline::IngestError;
use fusebox_collector::sample;
use opentelemetry::TraceId;

use crate::pages::Pages;
use crate::pages::frame::error::PageError;
use crate::pages::view::href::Href;

/// Ingests the trace like any other; once that returns, it is stored and can be shown.
pub(crate) async fn send(
    State(pages): State<Pages>,
    headers: HeaderMap,
) -> Result<Redirect, PageError> {
    if !is_same_origin(&headers) {
        return Err(PageError::Forbidden);
    }
    let now = UnixNanos::now().get();
    let request = Bytes::from(sample::demo_trace(now));
    let mut first = FirstTrace::default();
    walk_traces(&request, &Limits::default(), now, &mut first).map_err(IngestError::from)?;
    let ingest = &pages.info.ingest;
    let reservation = ingest.begin(None)?;
    ingest
        .spans(Format::OtlpProtobuf, request, reservation)
        .await?;
    let target = first.0.map_or_else(|| Href::new("/traces"), Href::trace);
    Ok(Redirect::to(&target.to_string()))
}

/// Records the first trace id of a request.
#[derive(Debug, Default)]
struct FirstTrace(Option<TraceId>);

impl SpanVisitor for FirstTrace {
    fn resource(&mut self, _resource: &ResourceView<'_>) {}
    fn scope(&mut self, _scope: &ScopeView<'_>) {}
    fn span(&mut self, span: &SpanView<'_>) {
        self.0.get_or_insert(TraceId::from_bytes(span.trace_id));
    }
}
