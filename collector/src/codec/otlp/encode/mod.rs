//! Encodes a trace as an OTLP message, in JSON or protobuf, without loss.

mod json;
mod logs;
pub(crate) mod protobuf;

use std::sync::Arc;

pub use json::{ResourceSpans, trace_to_json};
pub use logs::{ResourceLogs, log_to_json};
pub use protobuf::trace_to_protobuf;

use crate::model::{Resource, Scope, Trace};

/// A span is compared with at most this many groups: a trace normally has few, and many must not cost
/// quadratic time.
const COMPARED_MAX: usize = 256;

/// Indexes of the spans of one resource, by scope.
type ResourceGroup<'t> = (&'t Arc<Resource>, Vec<(&'t Arc<Scope>, Vec<u32>)>);

/// Groups spans by resource and scope, in the order of their first span.
fn groups(trace: &Trace) -> Vec<ResourceGroup<'_>> {
    let mut groups = Vec::new();
    for (place, span) in (0..).zip(&trace.spans) {
        let scopes: &mut Vec<_> = entry(&mut groups, &span.resource);
        entry::<_, Vec<_>>(scopes, &span.scope).push(place);
    }
    groups
}

/// Returns the entry of a key, adding it if needed; a trace has few keys, mostly the same pointer.
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
