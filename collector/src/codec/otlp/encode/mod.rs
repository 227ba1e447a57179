//! A trace as an OTLP message, in JSON or protobuf: what was stored goes out as it came in.

mod json;
mod logs;
pub(crate) mod protobuf;

use std::sync::Arc;

pub use json::{ResourceSpans, trace_to_json};
pub use logs::{ResourceLogs, log_to_json};
pub use protobuf::trace_to_protobuf;

use crate::model::{Resource, Scope, Trace};

/// Groups that a span is compared with: a trace has few, and one with many must not cost their square.
const COMPARED_MAX: usize = 256;

/// The places of the spans of one resource, by scope.
type ResourceGroup<'t> = (&'t Arc<Resource>, Vec<(&'t Arc<Scope>, Vec<u32>)>);

/// Groups spans as OTLP has them, in the order in which their resources and scopes first come.
fn groups(trace: &Trace) -> Vec<ResourceGroup<'_>> {
    let mut groups = Vec::new();
    for (place, span) in (0..).zip(&trace.spans) {
        let scopes: &mut Vec<_> = entry(&mut groups, &span.resource);
        entry::<_, Vec<_>>(scopes, &span.scope).push(place);
    }
    groups
}

/// Returns what belongs to a key; a trace has few of them, mostly the same pointer.
fn entry<'t, 'g, K: PartialEq, V: Default>(
    groups: &'g mut Vec<(&'t Arc<K>, V)>,
    key: &'t Arc<K>,
) -> &'g mut V {
    let compared = groups.len().saturating_sub(COMPARED_MAX);
    let found = groups[compared..]
        .iter()
        .rposition(|(other, _)| Arc::ptr_eq(other, key) || *other == key);
    let index = found.map_or(groups.len(), |found| compared + found);
    if index == groups.len() {
        groups.push((key, V::default()));
    }
    &mut groups[index].1
}
