//! Gives every span of a trace an id of its own, as Jaeger does before it shows one: where a server took over its
//! client's id (Zipkin), it gets a new one, becomes the client's child, and the children of both become its own.

use std::collections::{HashMap, HashSet};

use opentelemetry::SpanId;

use crate::model::{Note, Span, SpanKind, Trace};

/// Changes the ids of servers that share their client's. The new ids are the smallest that the trace does not use, so
/// that the same trace always gets the same.
pub(super) fn separate_shared_ids(trace: &mut Trace) {
    let of_kind = |kind| move |span: &&Span| span.kind == kind;
    let clients = trace.spans.iter().filter(of_kind(SpanKind::Client));
    let clients: HashSet<SpanId> = clients.map(|span| span.span_id).collect();
    let servers = trace.spans.iter().filter(of_kind(SpanKind::Server));
    if !servers
        .map(|span| span.span_id)
        .any(|id| clients.contains(&id))
    {
        return;
    }
    let renamed = rename_servers(&mut trace.spans, &clients);
    // What a note would say of them is no longer so.
    let is_settled =
        |note: &Note| note.code == "shared_span" && renamed.contains_key(&note.span_id);
    trace.notes.retain(|note| !is_settled(note));
    for (index, span) in trace.spans.iter_mut().enumerate() {
        let server = span.parent_span_id.and_then(|id| renamed.get(&id));
        if let Some(server) = server.filter(|server| !server.indices.contains(&index)) {
            span.parent_span_id = Some(server.id);
        }
    }
}

/// What became of a shared id.
struct Renamed {
    /// The id of the first server that had it.
    id: SpanId,
    /// Every server that had it: they are children of the client.
    indices: HashSet<usize>,
}

fn rename_servers(spans: &mut [Span], clients: &HashSet<SpanId>) -> HashMap<SpanId, Renamed> {
    let used: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let mut unused = (1..).map(|number: u64| SpanId::from_bytes(number.to_be_bytes()));
    let mut renamed: HashMap<SpanId, Renamed> = HashMap::new();
    for (index, span) in spans.iter_mut().enumerate() {
        if span.kind != SpanKind::Server || !clients.contains(&span.span_id) {
            continue;
        }
        let Some(id) = unused.find(|id| !used.contains(id)) else {
            return renamed;
        };
        let shared = renamed.entry(span.span_id).or_insert_with(|| Renamed {
            id,
            indices: HashSet::new(),
        });
        shared.indices.insert(index);
        span.parent_span_id = Some(span.span_id);
        span.span_id = id;
    }
    renamed
}
