//! The table of spans that wait for their other half.

mod at_address;
mod brokers;
mod here;
mod orphans;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use self::brokers::broker_between;
use self::here::Here;
use self::orphans::Roots;
use super::addresses::{Addresses, Answered, Evidence};
use super::edges::{Calls, EdgeId, Edges, Took};
use super::fact::{Half, Parent, SpanFact};
use super::sampling::Sampling;
use super::table::{CALLS_MAX, KeyHasher, OTHERS_MAX, Ring, is_mostly_spare};
use crate::live::aging::Age;
use crate::live::names::{CircuitId, NodeId};

/// How many levels above a client span its breaker's span may be (breaker, retry, client).
const CIRCUIT_LEVELS: usize = 2;
/// No span; keys are never zero.
const NONE: u64 = 0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) enum Arrival {
    First,
    /// It arrived before (a batch sent twice) and must not count again.
    Repeat,
}

/// A breaker and the service that it protects, as found by pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) struct Learnt {
    pub(in crate::live) circuit: CircuitId,
    pub(in crate::live) child: NodeId,
}

/// The pairing table and the edges found.
#[derive(Debug)]
pub(in crate::live) struct Dependencies {
    spans: HashMap<u64, Entry, BuildHasherDefault<KeyHasher>>,
    calls: Ring,
    others: Ring,
    roots: Roots,
    sampling: Sampling,
    edges: Edges,
    addresses: Addresses,
    learnt: Vec<Learnt>,
    incidents: Incidents,
    /// Keys being removed; kept for its capacity.
    leaving: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::live) struct Incidents {
    /// Caller's spans whose callee never arrived, counted for the peer they name.
    pub(in crate::live) unpaired: u64,
    /// Caller's spans without a peer whose callee never arrived.
    pub(in crate::live) unpaired_without_peer: u64,
    /// Spans evicted early because the table was full.
    pub(in crate::live) table_full: u64,
    /// How often the share of paired traces was halved because of that.
    pub(in crate::live) sampled: u64,
    /// Calls counted under the edge of the rest because there are too many pairs of services.
    pub(in crate::live) edge_limit: u64,
}

#[derive(Debug, Clone, Copy)]
enum Entry {
    /// Callees that arrived before this span: the first of their list.
    Awaited {
        first: u64,
    },
    Here(Here),
}

impl Dependencies {
    /// Removes the edges of evicted nodes, and evicts idle ones if others found the table full; returns
    /// whether any were removed.
    pub(in crate::live) fn forget_idle(
        &mut self,
        nodes: &HashSet<NodeId>,
        circuits: &HashSet<CircuitId>,
        age: Age,
    ) -> bool {
        self.addresses.forget(nodes);
        self.edges.forget_idle(nodes, circuits, age)
    }

    /// `retention` is how long edges are kept; `minute` is the first one to be written to the journal.
    pub(in crate::live) fn new(retention: Duration, minute: u64) -> Self {
        Self {
            spans: HashMap::default(),
            calls: Ring::new(CALLS_MAX),
            others: Ring::new(OTHERS_MAX),
            roots: Roots::default(),
            sampling: Sampling::default(),
            edges: Edges::new(retention, minute),
            addresses: Addresses::default(),
            learnt: Vec::new(),
            incidents: Incidents::default(),
            leaving: Vec::new(),
        }
    }

    pub(in crate::live) fn edges(&self) -> &Edges {
        &self.edges
    }

    pub(in crate::live) fn edges_mut(&mut self) -> &mut Edges {
        &mut self.edges
    }

    pub(in crate::live) fn restore(
        &mut self,
        ends: (NodeId, NodeId),
        circuits: &[CircuitId],
        minute: u64,
        calls: Calls,
    ) {
        let (edge, _) = self.edges.edge(ends.0, ends.1);
        self.edges.restore(edge, minute, calls);
        for circuit in circuits {
            self.edges.protect(edge, *circuit);
        }
    }

    pub(in crate::live) fn take_learnt(&mut self) -> Vec<Learnt> {
        std::mem::take(&mut self.learnt)
    }

    pub(in crate::live) fn take_incidents(&mut self) -> Incidents {
        std::mem::take(&mut self.incidents)
    }

    #[cfg(test)]
    pub(in crate::live) fn waiting(&self) -> usize {
        self.spans.len()
    }

    /// How many spans it has memory for.
    #[cfg(test)]
    pub(in crate::live) fn capacity(&self) -> usize {
        self.spans.capacity()
    }

    /// Adds a span that arrived in that second.
    pub(in crate::live) fn arrive(&mut self, fact: &SpanFact, second: u32) -> Arrival {
        if !self.sampling.takes(fact.trace) {
            return Arrival::First;
        }
        let mut here = Here::new(fact, second);
        let waiting = match self.spans.get(&fact.key).copied() {
            Some(Entry::Here(first)) => return self.same_id(first, &here, fact.key, second),
            Some(Entry::Awaited { first }) => first,
            None => NONE,
        };
        if fact.half == Half::Caller {
            here.circuit_above = self.circuit_of(&here);
        }
        self.find_parent(fact, &mut here, second);
        self.spans.insert(fact.key, Entry::Here(here));
        self.meet_waiting(fact.key, waiting, second);
        let is_other = fact.half == Half::Other && fact.circuit.is_none();
        self.remember(fact.key, is_other, second);
        Arrival::First
    }

    /// Removes the spans that waited long enough; an unpaired caller then counts for its peer.
    pub(in crate::live) fn expire(&mut self, second: u32) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for ring in [&mut self.others, &mut self.calls] {
            while let Some((key, since)) = ring.expired(second) {
                let stays =
                    matches!(self.spans.get(&key), Some(Entry::Here(here)) if here.since != since);
                if !stays {
                    leaving.push(key);
                }
            }
        }
        self.leave(&leaving, second);
        self.roots.expire(second);
        leaving.clear();
        self.leaving = leaving;
        self.sampling.relax(self.spans.len(), second);
        self.release_memory();
    }

    /// Releases what the table took under a load that has ended.
    fn release_memory(&mut self) {
        if is_mostly_spare(self.spans.len(), self.spans.capacity()) {
            self.spans.shrink_to(self.spans.len() * 2);
            self.leaving = Vec::new();
        }
        self.others.release_memory();
        self.calls.release_memory();
    }

    /// Handles a second span with the same id: a repeat, or the other half of a Zipkin call whose halves
    /// share the id.
    fn same_id(&mut self, first: Here, second_half: &Here, key: u64, second: u32) -> Arrival {
        let halves = (first.half, second_half.half);
        let (mut caller, mut callee) = match halves {
            _ if first.shared => return Arrival::Repeat,
            (Half::Caller, Half::Callee) => (first, *second_half),
            (Half::Callee, Half::Caller) => (*second_half, first),
            _ => return Arrival::Repeat,
        };
        self.relate(&mut caller, &mut callee, second);
        // From here on the id stands for the callee: its own calls are below it, and the caller is paired.
        callee.shared = true;
        callee.next = first.next;
        self.spans.insert(key, Entry::Here(callee));
        Arrival::First
    }

    /// Relates a new span to its parent, or lets it wait for the parent.
    fn find_parent(&mut self, fact: &SpanFact, here: &mut Here, second: u32) {
        let (parent, remote) = match fact.parent {
            Parent::Root => return self.root(fact, second),
            Parent::Local(key) | Parent::Somewhere(key) => (key, false),
            Parent::Remote(key) => (key, true),
        };
        let awaited = Entry::Awaited { first: fact.key };
        match self.spans.get(&parent).copied() {
            Some(Entry::Here(found)) => self.relate_found(parent, found, here, second),
            Some(Entry::Awaited { first }) => {
                here.next = first;
                self.spans.insert(parent, awaited);
            }
            // Callees, and spans with a remote parent, wait for the parent; others look for it again when
            // they expire.
            None if remote || fact.half == Half::Callee => {
                self.spans.insert(parent, awaited);
                self.remember(parent, false, second);
            }
            None => {}
        }
    }

    /// Relates a child to its parent, which is in the table.
    fn relate_found(&mut self, key: u64, mut parent: Here, child: &mut Here, second: u32) {
        child.met = true;
        if self.relate(&mut parent, child, second) {
            self.spans.insert(key, Entry::Here(parent));
        }
    }

    /// A root makes no edge, unless it names its caller (Zipkin's remote endpoint).
    fn root(&mut self, fact: &SpanFact, second: u32) {
        self.roots.note(fact.trace, fact.service, second);
        let caller = fact.peer.filter(|_| fact.half == Half::Callee);
        if let Some(caller) = caller {
            let ends = (caller, fact.service);
            let edge = self.count(ends, fact.error, fact.started, second);
            self.time(edge, None, Some(fact.nanos));
        }
    }

    /// Relates a new span to the callees that waited for it.
    fn meet_waiting(&mut self, parent: u64, first: u64, second: u32) {
        let mut child = first;
        while child != NONE {
            let Some(Entry::Here(here)) = self.spans.get_mut(&child) else {
                return;
            };
            let next = std::mem::replace(&mut here.next, NONE);
            self.relate_by_key(parent, child, second);
            child = next;
        }
    }

    fn relate_by_key(&mut self, parent_key: u64, child_key: u64, second: u32) {
        let (Some(Entry::Here(parent)), Some(Entry::Here(mut child))) = (
            self.spans.get(&parent_key).copied(),
            self.spans.get(&child_key).copied(),
        ) else {
            return;
        };
        self.relate_found(parent_key, parent, &mut child, second);
        self.spans.insert(child_key, Entry::Here(child));
    }

    /// Counts the edge between parent and child, if there is one; returns whether the parent changed.
    fn relate(&mut self, parent: &mut Here, child: &mut Here, second: u32) -> bool {
        let elsewhere = parent.service != child.service;
        let by_caller = parent.half == Half::Caller;
        if child.half == Half::Caller && by_caller && !elsewhere {
            // A client inside a client (an SDK's call over HTTP): the inner one represents the call.
            return !std::mem::replace(&mut parent.paired, true);
        }
        let is_call = elsewhere || (by_caller && child.half == Half::Callee);
        if !is_call || child.edge.is_some() {
            let late = is_call && by_caller;
            return late && !std::mem::replace(&mut parent.paired, true);
        }
        if let Some(broker) = broker_between(parent, child) {
            return self.relate_over(broker, parent, child, second);
        }
        let error = child.error || (by_caller && parent.error);
        let ends = (parent.service, child.service);
        let edge = self.count(ends, error, child.started, second);
        let by_callee = child.half == Half::Callee;
        let client = by_caller.then_some(parent.nanos);
        self.time(edge, client, by_callee.then_some(child.nanos));
        child.edge = Some(edge);
        child.learnt = self.learn(parent, edge);
        if by_caller && by_callee {
            self.answered(parent, child.service, second);
        }
        by_caller && !std::mem::replace(&mut parent.paired, true)
    }

    /// Counts one call that began in a second, weighted by the traces that are left out.
    fn count(&mut self, ends: (NodeId, NodeId), error: bool, began: u32, second: u32) -> EdgeId {
        let (edge, fits) = self.edges.edge(ends.0, ends.1);
        self.incidents.edge_limit += u64::from(!fits);
        let calls = Calls {
            calls: self.sampling.weight(),
            errors: u64::from(error) * self.sampling.weight(),
        };
        let minute = |second: u32| u64::from(second / 60);
        self.edges.count(edge, minute(began), minute(second), calls);
        edge
    }

    fn time(&mut self, edge: EdgeId, client: Option<u64>, server: Option<u64>) {
        let took = Took { server, client };
        self.edges.time(edge, took, self.sampling.weight());
    }

    /// Finds the breaker that protects a caller's edge: the one named by its span or by a span just above.
    /// Returns whether there is one.
    fn learn(&mut self, caller: &Here, edge: EdgeId) -> bool {
        let Some(circuit) = self.circuit_of(caller) else {
            return false;
        };
        if self.edges.protect(edge, circuit) {
            let child = self.edges.child(edge);
            self.learnt.push(Learnt { circuit, child });
        }
        true
    }

    fn circuit_of(&self, caller: &Here) -> Option<CircuitId> {
        let mut span = caller;
        for _ in 0..CIRCUIT_LEVELS {
            if span.circuit.is_some() {
                break;
            }
            match self.spans.get(&span.parent) {
                Some(Entry::Here(parent)) if parent.service == caller.service => span = parent,
                _ => break,
            }
        }
        span.circuit.or(caller.circuit_above)
    }

    /// Adds a key to the queue; when the queue is full, the oldest one is evicted.
    fn remember(&mut self, key: u64, is_other: bool, second: u32) {
        let ring = if is_other {
            &mut self.others
        } else {
            &mut self.calls
        };
        let Some((oldest, since)) = ring.push(key, second) else {
            return;
        };
        match self.spans.get(&oldest) {
            // It was awaited, then arrived itself, and is further back in the queue.
            Some(Entry::Here(here)) if here.since != since => {}
            Some(Entry::Here(here)) => {
                let here = *here;
                self.evict(oldest, here, second);
            }
            Some(Entry::Awaited { .. }) => {
                self.spans.remove(&oldest);
            }
            None => {}
        }
    }

    fn evict(&mut self, key: u64, mut here: Here, second: u32) {
        self.incidents.table_full += 1;
        let waited = second.saturating_sub(here.since);
        self.incidents.sampled += u64::from(self.sampling.evicted(waited, second));
        self.spans.remove(&key);
        if here.may_have_parent()
            && let Some(Entry::Here(parent)) = self.spans.get(&here.parent).copied()
        {
            self.relate_found(here.parent, parent, &mut here, second);
        }
        self.settle(&here, false, second);
    }

    /// Removes spans from the table, in three passes so that the order of arrival does not matter: relate
    /// each to a parent that came after it, settle what is still open, and only then remove them.
    fn leave(&mut self, keys: &[u64], second: u32) {
        for key in keys {
            if let Some(Entry::Here(here)) = self.spans.get(key).copied()
                && here.may_have_parent()
            {
                self.relate_by_key(here.parent, *key, second);
            }
        }
        for key in keys {
            // A span that was awaited is in the queue twice.
            if let Some(Entry::Here(here)) = self.spans.get_mut(key)
                && !std::mem::replace(&mut here.settled, true)
            {
                let here = *here;
                self.settle(&here, true, second);
            }
        }
        for key in keys {
            self.spans.remove(key);
        }
    }

    fn settle(&mut self, here: &Here, waited: bool, second: u32) {
        self.settle_child(here);
        match here.half {
            Half::Caller => self.settle_caller(here, waited, second),
            Half::Callee => self.settle_callee(here, second),
            Half::Other => {}
        }
        if waited {
            self.settle_orphan(here, second);
        }
    }

    /// The breaker's span may have arrived after the pair was found.
    fn settle_child(&mut self, here: &Here) {
        if let Some(edge) = here.edge.filter(|_| !here.learnt)
            && let Some(Entry::Here(parent)) = self.spans.get(&here.parent).copied()
        {
            self.learn(&parent, edge);
        }
    }

    /// A caller whose callee never arrived called the peer that it names.
    fn settle_caller(&mut self, here: &Here, waited: bool, second: u32) {
        // If it was evicted early, its callee may still arrive; a database never sends a span.
        if here.paired || !(waited || here.peer_is_store) {
            return;
        }
        match here.peer {
            Some(peer) => {
                // For a database no other half was expected.
                self.incidents.unpaired += u64::from(!here.peer_is_store);
                let called = match here.names_address {
                    true => self.addresses.called(peer, second),
                    false => peer,
                };
                let ends = (here.service, called);
                let edge = self.count(ends, here.error, here.started, second);
                self.time(edge, Some(here.nanos), None);
                self.learn(here, edge);
            }
            None => self.incidents.unpaired_without_peer += 1,
        }
    }

    /// A callee whose parent never arrived was called by the peer that it names, if any.
    fn settle_callee(&mut self, here: &Here, second: u32) {
        let caller = here
            .peer
            .filter(|_| here.edge.is_none() && here.parent != NONE);
        if let Some(caller) = caller {
            let ends = (caller, here.service);
            let edge = self.count(ends, here.error, here.started, second);
            self.time(edge, None, Some(here.nanos));
        }
    }
}
