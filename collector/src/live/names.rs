//! Interns the names of services, of the peers they call and of the breakers they own. All tables are
//! bounded, because external names may be random: names that do not fit share one entry until idle names are
//! evicted (`aging`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::aging::{Age, longest_idle};
use crate::model::CircuitKey;
use crate::store::hash::Seed;

/// Replaces every name beyond a limit.
pub(super) const OTHER: &str = "__other__";
/// Services with their own entry; at least a thousand must fit on one page (the largest published meshes of
/// one team have a few hundred).
pub(super) const SERVICES_MAX: usize = 1_000;
/// Peers without spans (databases, third parties) with their own entry.
pub(super) const PEERS_MAX: usize = 1_000;
/// Breakers learnt from spans.
pub(super) const CIRCUITS_MAX: usize = 4_000;
/// Breakers of one service learnt from spans: no service takes more than a quarter of the table.
pub(super) const CIRCUITS_PER_SERVICE_MAX: usize = 1_000;
/// Longer names are cut: they are labels on a map, not data.
const NAME_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u16);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CircuitId(pub(super) u16);

#[derive(Debug)]
pub(super) struct Nodes {
    ids: HashMap<Arc<str>, NodeId>,
    nodes: Vec<Node>,
    services: usize,
    peers: usize,
    free: Vec<NodeId>,
    /// Whether a service and whether a peer found the table full.
    short: (bool, bool),
}

#[derive(Debug)]
struct Node {
    name: Arc<str>,
    sends_spans: bool,
    used: u64,
}

impl Nodes {
    /// The node of all names beyond a limit.
    pub(super) const OTHER: NodeId = NodeId(0);

    /// The table contains only the node of the rest.
    pub(super) fn new() -> Self {
        let name: Arc<str> = Arc::from(OTHER);
        Self {
            ids: HashMap::from([(name.clone(), Self::OTHER)]),
            nodes: vec![Node {
                name,
                sends_spans: false,
                used: 0,
            }],
            services: 0,
            peers: 0,
            free: Vec::new(),
            short: (false, false),
        }
    }

    /// Returns the number of a service that sends spans, adding it if there is room.
    pub(super) fn service(&mut self, name: &str) -> NodeId {
        let name = cut(name);
        if let Some(id) = self.ids.get(name).copied() {
            return self.promote(id);
        }
        if self.services >= SERVICES_MAX {
            return self.other_service();
        }
        self.services += 1;
        self.insert(name, true)
    }

    /// Returns the number of a peer, which may also be a service, adding it if there is room.
    pub(super) fn peer(&mut self, name: &str) -> NodeId {
        let name = cut(name);
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        if self.peers >= PEERS_MAX {
            self.short.1 = true;
            return Self::OTHER;
        }
        self.peers += 1;
        self.insert(name, false)
    }

    fn promote(&mut self, id: NodeId) -> NodeId {
        let node = &mut self.nodes[usize::from(id.0)];
        if id == Self::OTHER || node.sends_spans {
            return id;
        }
        if self.services >= SERVICES_MAX {
            return self.other_service();
        }
        node.sends_spans = true;
        self.services += 1;
        self.peers -= 1;
        id
    }

    /// Returns the node of the rest and lists it among the services from now on.
    fn other_service(&mut self) -> NodeId {
        self.nodes[0].sends_spans = true;
        self.short.0 = true;
        Self::OTHER
    }

    fn insert(&mut self, name: &str, sends_spans: bool) -> NodeId {
        let name: Arc<str> = Arc::from(name);
        let node = Node {
            name: name.clone(),
            sends_spans,
            used: 0,
        };
        let id = if let Some(id) = self.free.pop() {
            self.nodes[usize::from(id.0)] = node;
            id
        } else {
            self.nodes.push(node);
            NodeId(u16::try_from(self.nodes.len() - 1).expect("both bounds together fit"))
        };
        self.ids.insert(name, id);
        id
    }

    pub(super) fn touch(&mut self, id: NodeId, minute: u64) {
        self.nodes[usize::from(id.0)].used = minute;
    }

    pub(super) fn was_used(&mut self, id: NodeId, minute: u64) {
        let used = &mut self.nodes[usize::from(id.0)].used;
        *used = minute.max(*used);
    }

    /// Returns whether a name found the table full since the last eviction.
    pub(super) fn is_short(&self) -> bool {
        self.short.0 || self.short.1
    }

    /// Evicts idle names if others found the table full; returns them.
    pub(super) fn forget_idle(&mut self, age: Age) -> HashSet<NodeId> {
        let mut gone = HashSet::new();
        if self.short.0 {
            let idle = self.idle(true, age, SERVICES_MAX);
            self.short.0 = idle.is_empty();
            gone.extend(idle);
        }
        if self.short.1 {
            let idle = self.idle(false, age, PEERS_MAX);
            self.short.1 = idle.is_empty();
            gone.extend(idle);
        }
        gone.iter().for_each(|id| self.forget(*id));
        gone
    }

    fn idle(&self, sends_spans: bool, age: Age, most: usize) -> Vec<NodeId> {
        let ids = self.ids.values().filter(|id| **id != Self::OTHER);
        let nodes = ids.map(|id| (*id, &self.nodes[usize::from(id.0)]));
        let of_kind = nodes.filter(|(_, node)| node.sends_spans == sends_spans);
        longest_idle(of_kind.map(|(id, node)| (id, node.used)), age, most)
    }

    fn forget(&mut self, id: NodeId) {
        let rest = self.nodes[0].name.clone();
        let node = &mut self.nodes[usize::from(id.0)];
        self.ids.remove(&node.name);
        match std::mem::take(&mut node.sends_spans) {
            true => self.services -= 1,
            false => self.peers -= 1,
        }
        // Waiting spans may still refer to it, if the clock was changed.
        node.name = rest;
        self.free.push(id);
    }

    pub(super) fn find(&self, name: &str) -> Option<NodeId> {
        self.ids.get(cut(name)).copied()
    }

    pub(super) fn name(&self, id: NodeId) -> &Arc<str> {
        &self.nodes[usize::from(id.0)].name
    }

    pub(super) fn sends_spans(&self, id: NodeId) -> bool {
        self.nodes[usize::from(id.0)].sends_spans
    }

    /// Returns the services that send spans.
    pub(super) fn sending(&self) -> impl Iterator<Item = (NodeId, &Arc<str>)> {
        let sending = self.ids.iter();
        let sending = sending.filter(|(_, id)| self.sends_spans(**id));
        sending.map(|(name, id)| (*id, name))
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        self.sending().map(|(_, name)| name)
    }
}

#[derive(Debug, Default)]
pub(super) struct CircuitNames {
    ids: HashMap<NodeId, HashMap<Box<str>, CircuitId>>,
    circuits: Vec<CircuitName>,
    free: Vec<CircuitId>,
    /// Services with a breaker that found the table full.
    short: HashSet<NodeId>,
}

#[derive(Debug)]
struct CircuitName {
    service: NodeId,
    name: Box<str>,
    used: u64,
}

impl CircuitNames {
    /// Returns the number of a breaker, adding it; `None` beyond a limit.
    pub(super) fn circuit(&mut self, service: NodeId, name: &str) -> Option<CircuitId> {
        let name = cut(name);
        let of_service = self.ids.entry(service).or_default();
        if let Some(id) = of_service.get(name) {
            return Some(*id);
        }
        let count = self.circuits.len() - self.free.len();
        if count >= CIRCUITS_MAX || of_service.len() >= CIRCUITS_PER_SERVICE_MAX {
            self.short.insert(service);
            return None;
        }
        let circuit = CircuitName {
            service,
            name: Box::from(name),
            used: 0,
        };
        let id = if let Some(id) = self.free.pop() {
            self.circuits[usize::from(id.0)] = circuit;
            id
        } else {
            self.circuits.push(circuit);
            CircuitId(u16::try_from(self.circuits.len() - 1).expect("the bound fits"))
        };
        of_service.insert(Box::from(name), id);
        Some(id)
    }

    pub(super) fn touch(&mut self, id: CircuitId, minute: u64) {
        self.circuits[usize::from(id.0)].used = minute;
    }

    pub(super) fn was_used(&mut self, id: CircuitId, minute: u64) {
        let used = &mut self.circuits[usize::from(id.0)].used;
        *used = minute.max(*used);
    }

    /// Returns whether a breaker found the table full since the last eviction.
    pub(super) fn is_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// Removes the breakers of evicted services, and evicts idle ones if others found the table full; returns
    /// them.
    pub(super) fn forget_idle(
        &mut self,
        services: &HashSet<NodeId>,
        age: Age,
    ) -> HashSet<CircuitId> {
        let gone_services = services
            .iter()
            .filter_map(|service| self.ids.remove(service));
        let mut gone: HashSet<_> = gone_services.flat_map(HashMap::into_values).collect();
        let short = &self.short;
        if !short.is_empty() {
            let is_full = self.circuits.len() - self.free.len() >= CIRCUITS_MAX;
            let services = self.ids.iter();
            let affected = services.filter(|(service, _)| is_full || short.contains(service));
            let known = affected.flat_map(|(_, of_service)| of_service.values());
            let used = known.map(|id| (*id, self.circuits[usize::from(id.0)].used));
            let idle = longest_idle(used, age, CIRCUITS_MAX);
            if !idle.is_empty() {
                self.short.clear();
            }
            for id in idle {
                let circuit = &self.circuits[usize::from(id.0)];
                if let Some(of_service) = self.ids.get_mut(&circuit.service) {
                    of_service.remove(&circuit.name);
                }
                gone.insert(id);
            }
        }
        self.free.extend(&gone);
        gone
    }

    pub(super) fn key(&self, id: CircuitId, nodes: &Nodes) -> CircuitKey {
        let CircuitName { service, name, .. } = &self.circuits[usize::from(id.0)];
        CircuitKey {
            service: nodes.name(*service).to_string(),
            name: name.to_string(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Remembered<V> {
    /// Looked up once or twice per span, with names chosen by senders: hence a fast hash with its own seed.
    numbers: HashMap<Arc<str>, u32, Seed>,
    entries: Vec<(Arc<str>, V)>,
}

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Self {
            numbers: HashMap::default(),
            entries: Vec::new(),
        }
    }
}

impl<V: Default> Remembered<V> {
    /// Returns the number of a name; allocates only for a new one.
    pub(super) fn number(&mut self, name: &str) -> u32 {
        let name = cut(name);
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.entries.len()).expect("a request holds fewer names");
        let name: Arc<str> = Arc::from(name);
        self.numbers.insert(name.clone(), number);
        self.entries.push((name, V::default()));
        number
    }

    pub(super) fn entry(&mut self, number: u32) -> (&str, &mut V) {
        let (name, value) = &mut self.entries[number as usize];
        (name, value)
    }

    pub(super) fn name(&self, number: u32) -> &str {
        &self.entries[number as usize].0
    }

    pub(super) fn value(&mut self, number: u32) -> &mut V {
        &mut self.entries[number as usize].1
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

pub(crate) fn cut(name: &str) -> &str {
    crate::model::cut(name, NAME_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_peers_leaves_room_for_services() {
        let mut nodes = Nodes::new();
        (0..5_000).for_each(|n| {
            nodes.peer(&format!("10.0.0.{n}"));
        });
        assert_eq!(nodes.peer("one more"), Nodes::OTHER);
        assert_ne!(nodes.service("shop"), Nodes::OTHER);
        (0..5_000).for_each(|n| {
            nodes.service(&format!("service {n}"));
        });
        assert_eq!(nodes.service("late"), Nodes::OTHER);
        assert_eq!(nodes.nodes.len(), 1 + SERVICES_MAX + PEERS_MAX);
    }

    #[test]
    fn a_peer_becomes_a_service_once_it_sends_spans() {
        let mut nodes = Nodes::new();
        let peer = nodes.peer("inventory");
        assert!(!nodes.sends_spans(peer));
        assert_eq!(nodes.service("inventory"), peer);
        assert!(nodes.sends_spans(peer));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(200)).chars().count(), 128);
        assert_eq!(cut(&format!("a{}", "ä".repeat(200))).len(), 255);
    }
}
