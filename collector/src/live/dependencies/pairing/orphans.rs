//! Calls whose parent never came: they hang below the root of their trace, as in Zipkin, so that a service that sends no
//! spans between two others does not tear the map.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::{Dependencies, Entry, Half, Here, NONE};
use crate::live::dependencies::table::{KeyHasher, OTHERS_MAX, Ring, WAIT_SECONDS};
use crate::live::names::NodeId;

/// The roots of the last minute, by the hash of their trace.
#[derive(Debug)]
pub(super) struct Roots {
    roots: HashMap<u64, Root, BuildHasherDefault<KeyHasher>>,
    traces: Ring,
}

/// The root of a trace.
#[derive(Debug, Clone, Copy)]
struct Root {
    /// None where roots of several services have the trace.
    service: Option<NodeId>,
    /// The second of its arrival.
    since: u32,
}

impl Default for Roots {
    fn default() -> Self {
        Self {
            roots: HashMap::default(),
            traces: Ring::new(OTHERS_MAX),
        }
    }
}

impl Roots {
    /// Notes the root of a trace.
    pub(super) fn note(&mut self, trace: u64, service: NodeId, second: u32) {
        if let Some(known) = self.roots.get_mut(&trace) {
            known.service = known.service.filter(|known| *known == service);
            return;
        }
        let service = Some(service);
        let since = second;
        self.roots.insert(trace, Root { service, since });
        if let Some((oldest, _)) = self.traces.push(trace, second) {
            self.roots.remove(&oldest);
        }
    }

    /// Forgets those that no span waits for any more: the last one to do so came just before the root could go.
    pub(super) fn expire(&mut self, second: u32) {
        let settled = second.saturating_sub(WAIT_SECONDS);
        while let Some((trace, _)) = self.traces.expired(settled) {
            self.roots.remove(&trace);
        }
    }
}

impl Dependencies {
    /// Counts a call whose parent never came as one of its trace's root, if that is another service.
    pub(super) fn settle_orphan(&mut self, here: &Here, second: u32) {
        // While spans are forgotten early, a parent that is not here may have come.
        let is_complete = self.sampling.weight() == 1;
        let is_orphan = !here.met && here.parent != NONE && here.edge.is_none();
        if !is_complete || !is_orphan || here.half == Half::Other {
            return;
        }
        let Some(root) = self.root_of(here) else {
            return;
        };
        if here.half == Half::Caller {
            // It is there, so its own service was called; how that ended is not known.
            self.count((root, here.service), false, here.started, second);
        } else if here.peer.is_none() {
            let ends = (root, here.service);
            let edge = self.count(ends, here.error, here.started, second);
            self.time(edge, None, Some(here.nanos));
        }
    }

    /// Returns the service of the root of a span's trace, if it is another and the span's parent is not here. A span that came
    /// later than its other half waits may be that half.
    fn root_of(&self, here: &Here) -> Option<NodeId> {
        let has_parent = matches!(self.spans.get(&here.parent), Some(Entry::Here(_)));
        let root = self.roots.roots.get(&here.trace)?;
        let is_late = here.since.saturating_sub(root.since) > WAIT_SECONDS;
        let is_other = root.service != Some(here.service);
        root.service.filter(|_| is_other && !has_parent && !is_late)
    }
}
