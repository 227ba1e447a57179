//! What goes out again is what came in.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use proptest::prelude::*;
use prost::Message;

use super::super::encode::{trace_to_json, trace_to_protobuf};
use super::super::json::traces_to_protobuf;
use super::super::{Limits, walk_traces};
use super::arbitrary::{NOW, traces};
use super::oracle::Collected;
use crate::model::{Span, Trace};

fn walk(bytes: &[u8]) -> Vec<Span> {
    let mut collected = Collected::default();
    walk_traces(bytes, &Limits::default(), NOW, &mut collected).unwrap();
    collected.spans
}

/// Returns a trace with all spans of a request, in the order of OTLP's groups.
fn trace_of(request: &ExportTraceServiceRequest) -> Option<Trace> {
    let spans = walk(&request.encode_to_vec());
    Some(Trace {
        id: spans.first()?.trace_id,
        spans,
        notes: Vec::new(),
        truncated: false,
    })
}

/// Sorts spans independently of their grouping.
fn sorted(mut spans: Vec<Span>) -> Vec<String> {
    spans.sort_by_key(|span| (span.trace_id.to_bytes(), span.span_id.to_bytes()));
    spans.iter().map(|span| format!("{span:?}")).collect()
}

/// OTLP has only one count for dropped items, whoever dropped them.
fn count_together(span: &mut Span) {
    let here = std::mem::take(&mut span.dropped_here);
    span.dropped_links_count = span.dropped_links_count.saturating_add(here.links);
}

proptest! {
    #[test]
    fn a_trace_survives_protobuf_and_json(request in traces()) {
        let Some(trace) = trace_of(&request) else { return Ok(()); };
        let mut spans = trace.spans.clone();
        spans.iter_mut().for_each(count_together);
        let spans = sorted(spans);
        prop_assert_eq!(&sorted(walk(&trace_to_protobuf(&trace))), &spans);
        let json = serde_json::to_vec(&trace_to_json(&trace)).unwrap();
        prop_assert_eq!(&sorted(walk(&traces_to_protobuf(&json).unwrap().0)), &spans);
    }
}
