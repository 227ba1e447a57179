//! A trace as an OTLP message, in JSON or protobuf: what was stored goes out as it came in.

mod json;
pub(crate) mod protobuf;

use std::sync::Arc;

pub use json::trace_to_json;
pub use protobuf::trace_to_protobuf;

use crate::model::{Resource, Scope, Span, Trace};

/// The spans of one resource, by scope.
type ResourceGroup<'t> = (&'t Arc<Resource>, Vec<(&'t Arc<Scope>, Vec<&'t Span>)>);

/// Groups spans as OTLP has them, in the order in which their resources and scopes first come.
fn groups(trace: &Trace) -> Vec<ResourceGroup<'_>> {
    let mut groups = Vec::new();
    for span in &trace.spans {
        let scopes: &mut Vec<_> = entry(&mut groups, &span.resource);
        entry::<_, Vec<_>>(scopes, &span.scope).push(span);
    }
    groups
}

/// Returns what belongs to a key; a trace has few of them, mostly the same pointer.
fn entry<'t, 'g, K: PartialEq, V: Default>(
    groups: &'g mut Vec<(&'t Arc<K>, V)>,
    key: &'t Arc<K>,
) -> &'g mut V {
    let found = groups
        .iter()
        .rposition(|(other, _)| Arc::ptr_eq(other, key) || *other == key);
    let index = found.unwrap_or_else(|| {
        groups.push((key, V::default()));
        groups.len() - 1
    });
    &mut groups[index].1
}
