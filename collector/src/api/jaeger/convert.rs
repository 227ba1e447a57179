//! Converts a trace to Jaeger's JSON model: tags, processes (`p1`, `p2`, ... in the order of their first
//! span), and unique ids of spans.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use opentelemetry::{SpanId, TraceId};

use super::answer::{Log, Process, RefType, Reference, Span};
use super::tags;
use crate::api::dialect::short_id;
use crate::api::pieces;
use crate::model::{self, Link, Note, Resource, SHORTENED, SpanKind, Value};

/// The attribute in which OpenTracing bridges store the type of a link.
const REF_TYPE: &str = "opentracing.ref_type";

/// A trace in Jaeger's form, written span by span.
#[derive(Debug)]
pub(super) struct TracePieces {
    trace: model::Trace,
    /// Keeps tags, fields and references in the order received, without warnings on spans.
    is_raw: bool,
    warnings: HashMap<SpanId, Vec<String>>,
    about_trace: Vec<String>,
    /// Process number by span.
    senders: Vec<u32>,
    processes: Vec<Arc<Resource>>,
    next: usize,
    is_open: bool,
}

impl TracePieces {
    pub(super) fn of(trace: model::Trace, is_raw: bool) -> Self {
        let (warnings, about_trace) = warnings(&trace);
        let mut processes = Processes::default();
        let spans = trace.spans.iter();
        let senders = spans.map(|span| processes.index(&span.resource)).collect();
        Self {
            processes: processes.met,
            trace,
            is_raw,
            warnings,
            about_trace,
            senders,
            next: 0,
            is_open: false,
        }
    }

    /// Appends the next piece; returns false after the last.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> bool {
        if !std::mem::replace(&mut self.is_open, true) {
            out.extend_from_slice(b"{\"traceID\":");
            pieces::put(out, &short_id(self.trace.id));
            out.extend_from_slice(b",\"spans\":[");
        }
        let Some(span) = self.trace.spans.get(self.next) else {
            self.close(out);
            return false;
        };
        if self.next > 0 {
            out.push(b',');
        }
        // Notes refer to the first span with an id.
        let noted = self.warnings.remove(&span.span_id).unwrap_or_default();
        let noted = if self.is_raw { Vec::new() } else { noted };
        let process_id = key(self.senders[self.next] as usize);
        pieces::put(out, &convert_span(span, process_id, noted, self.is_raw));
        self.next += 1;
        true
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let processes = self.processes.iter().enumerate();
        let processes: BTreeMap<_, _> = processes
            .map(|(index, resource)| (key(index), convert_process(resource, self.is_raw)))
            .collect();
        out.extend_from_slice(b"],\"processes\":");
        pieces::put(out, &processes);
        out.extend_from_slice(b",\"warnings\":");
        pieces::put(out, &some_if_any(std::mem::take(&mut self.about_trace)));
        out.push(b'}');
    }
}

/// Returns the reader's notes, by span and on the trace as a whole.
fn warnings(trace: &model::Trace) -> (HashMap<SpanId, Vec<String>>, Vec<String>) {
    let mut by_span: HashMap<SpanId, Vec<String>> = HashMap::new();
    let mut about_trace = Vec::new();
    for note in &trace.notes {
        let message = note.message.clone();
        match note.span_id {
            SpanId::INVALID => about_trace.push(message),
            id => by_span.entry(id).or_default().push(message),
        }
    }
    if trace.truncated {
        let shown = trace.spans.len();
        about_trace.push(format!("the trace has more spans than the {shown} shown"));
    }
    if trace.is_shortened() {
        about_trace.push(format!(
            "the trace is too large to be shown whole: spans with the tag {SHORTENED} are shown in part"
        ));
    }
    (by_span, about_trace)
}

fn convert_span(
    span: &model::Span,
    process_id: String,
    mut warnings: Vec<String>,
    is_raw: bool,
) -> Span<'_> {
    let mut references = references(span);
    let mut tags = tags::of_span(span);
    if !is_raw {
        drop_empty(&mut references, &mut warnings);
        parent_first(&mut references, &short_id(span.trace_id));
        tags::sort(&mut tags);
    }
    let logs = span.events.iter();
    Span {
        trace_id: short_id(span.trace_id),
        span_id: span.span_id.to_string(),
        operation_name: &span.name,
        references,
        start_time: span.start.micros(),
        duration: span.duration_nanos() / 1_000,
        tags,
        logs: logs.map(|event| convert_event(event, is_raw)).collect(),
        process_id,
        warnings: some_if_any(warnings),
    }
}

fn convert_event(event: &model::Event, is_raw: bool) -> Log<'_> {
    let mut fields = tags::of_event(event);
    if !is_raw {
        tags::sort_fields(&mut fields);
    }
    Log {
        timestamp: event.time.micros(),
        fields,
    }
}

fn convert_process(resource: &model::Resource, is_raw: bool) -> Process<'_> {
    let tags = tags::of_attributes(&resource.attributes);
    let mut tags: Vec<_> = tags.filter(|tag| tag.key != "service.name").collect();
    if !is_raw {
        tags::sort(&mut tags);
    }
    Process {
        service_name: &resource.service_name,
        tags,
    }
}

/// Returns the parent, then the links. A link to the parent sets the reference type and is not repeated.
fn references(span: &model::Span) -> Vec<Reference> {
    let parent = span.parent_span_id.map(|parent| Reference {
        ref_type: RefType::ChildOf,
        trace_id: short_id(span.trace_id),
        span_id: parent.to_string(),
    });
    let has_parent = parent.is_some();
    let mut references: Vec<_> = parent.into_iter().collect();
    for link in &span.links {
        let to_parent = link.trace_id == span.trace_id && span.parent_span_id == Some(link.span_id);
        match references.first_mut() {
            Some(parent) if has_parent && to_parent => parent.ref_type = ref_type(link),
            _ => references.push(Reference {
                ref_type: ref_type(link),
                trace_id: short_id(link.trace_id),
                span_id: link.span_id.to_string(),
            }),
        }
    }
    references
}

fn ref_type(link: &Link) -> RefType {
    let given = link.attributes.iter().find(|(key, _)| key == REF_TYPE);
    match given {
        Some((_, Value::String(text))) if text == "child_of" => RefType::ChildOf,
        _ => RefType::FollowsFrom,
    }
}

/// Removes links without a trace id, with a warning.
fn drop_empty(references: &mut Vec<Reference>, warnings: &mut Vec<String>) {
    let empty = short_id(TraceId::INVALID);
    references.retain(|reference| {
        let is_empty = reference.trace_id == empty;
        if is_empty {
            let span = &reference.span_id;
            warnings.push(format!("a link to span {span} of no trace was left out"));
        }
        !is_empty
    });
}

/// Moves the reference that Jaeger's pages treat as the parent to the front: the first child-of within the
/// trace, else the first of any kind within it.
fn parent_first(references: &mut [Reference], trace_id: &str) {
    let is_within = |reference: &&Reference| reference.trace_id == trace_id;
    let within = || references.iter().filter(is_within);
    let parent = within()
        .find(|reference| reference.ref_type == RefType::ChildOf)
        .or_else(|| within().next());
    let parent = parent.and_then(|parent| {
        references
            .iter()
            .position(|reference| std::ptr::eq(reference, parent))
    });
    if let Some(index) = parent {
        references.swap(0, index);
    }
}

fn some_if_any(texts: Vec<String>) -> Option<Vec<String>> {
    (!texts.is_empty()).then_some(texts)
}

#[derive(Debug, Default)]
struct Processes {
    met: Vec<Arc<Resource>>,
    /// Spans of one sender mostly share one resource in memory.
    by_address: HashMap<*const Resource, u32>,
    /// Hashes of formatted resources, to find equal ones without comparing all of them.
    by_print: HashMap<u64, u32>,
}

impl Processes {
    /// Returns the number of a process, adding it if needed.
    fn index(&mut self, resource: &Arc<Resource>) -> u32 {
        let address = Arc::as_ptr(resource);
        if let Some(index) = self.by_address.get(&address) {
            return *index;
        }
        let index = self.index_of_print(resource);
        self.by_address.insert(address, index);
        index
    }

    fn index_of_print(&mut self, resource: &Arc<Resource>) -> u32 {
        let next = self.met.len() as u32;
        let print = self.by_print.hasher().hash_one(format!("{resource:?}"));
        let index = *self.by_print.entry(print).or_insert(next);
        if index == next {
            self.met.push(Arc::clone(resource));
        }
        index
    }
}

fn key(index: usize) -> String {
    format!("p{}", index + 1)
}

/// Changes the ids of servers that share their client's. The new ids are the smallest ones that the trace
/// does not use, so that the same trace always gets the same ids.
pub(super) fn separate_shared_ids(trace: &mut model::Trace) {
    let of_kind = |kind| move |span: &&model::Span| span.kind == kind;
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
    // These notes no longer apply.
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

/// The new id for a shared one.
struct Renamed {
    /// The new id of the first server.
    id: SpanId,
    /// Every server with the shared id: they are children of the client.
    indices: HashSet<usize>,
}

fn rename_servers(
    spans: &mut [model::Span],
    clients: &HashSet<SpanId>,
) -> HashMap<SpanId, Renamed> {
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
