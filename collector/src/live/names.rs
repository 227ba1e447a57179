//! Services, the peers they call and the breakers they hold, each known by a small number. All tables are bounded:
//! names from outside may be random, and what does not fit goes by one name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::CircuitKey;
use crate::store::hash::Seed;

/// Stands for every name past a bound.
pub(super) const OTHER: &str = "__other__";
/// Services kept apart; the issue of a thousand services on one page comes first (the largest published meshes of
/// one team have a few hundred).
pub(super) const SERVICES_MAX: usize = 1_000;
/// Peers that send no spans (databases, third parties) kept apart.
pub(super) const PEERS_MAX: usize = 1_000;
/// Breakers learnt from spans.
pub(super) const CIRCUITS_MAX: usize = 4_000;
/// Names longer than that are cut: they are labels on a map, not data.
const NAME_BYTES_MAX: usize = 256;

/// A service or peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u16);

/// A breaker learnt from spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CircuitId(pub(super) u16);

/// The services and peers.
#[derive(Debug)]
pub(super) struct Nodes {
    ids: HashMap<Arc<str>, NodeId>,
    nodes: Vec<Node>,
    services: usize,
    peers: usize,
}

#[derive(Debug)]
struct Node {
    name: Arc<str>,
    sends_spans: bool,
}

impl Nodes {
    /// The node of everything past a bound.
    pub(super) const OTHER: NodeId = NodeId(0);

    /// Returns a table that knows only the node of the rest.
    pub(super) fn new() -> Self {
        let name: Arc<str> = Arc::from(OTHER);
        Self {
            ids: HashMap::from([(name.clone(), Self::OTHER)]),
            nodes: vec![Node {
                name,
                sends_spans: false,
            }],
            services: 0,
            peers: 0,
        }
    }

    /// Returns the number of a service that sends spans.
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

    /// Returns the number of a peer, which may be a service as well.
    pub(super) fn peer(&mut self, name: &str) -> NodeId {
        let name = cut(name);
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        if self.peers >= PEERS_MAX {
            return Self::OTHER;
        }
        self.peers += 1;
        self.insert(name, false)
    }

    /// Marks a peer as one that sends spans itself.
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

    /// Returns the node of the rest, which from now on is listed among the services.
    fn other_service(&mut self) -> NodeId {
        self.nodes[0].sends_spans = true;
        Self::OTHER
    }

    fn insert(&mut self, name: &str, sends_spans: bool) -> NodeId {
        let id = NodeId(u16::try_from(self.nodes.len()).expect("both bounds together fit"));
        let name: Arc<str> = Arc::from(name);
        self.ids.insert(name.clone(), id);
        self.nodes.push(Node { name, sends_spans });
        id
    }

    /// Returns the number of a name that is known.
    pub(super) fn find(&self, name: &str) -> Option<NodeId> {
        self.ids.get(cut(name)).copied()
    }

    /// Returns a name.
    pub(super) fn name(&self, id: NodeId) -> &Arc<str> {
        &self.nodes[usize::from(id.0)].name
    }

    /// Returns whether that service sent spans.
    pub(super) fn sends_spans(&self, id: NodeId) -> bool {
        self.nodes[usize::from(id.0)].sends_spans
    }

    /// Returns the names of all services that sent spans.
    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<str>> {
        let sending = self.nodes.iter().filter(|node| node.sends_spans);
        sending.map(|node| &node.name)
    }
}

/// The breakers, each with the service that holds it.
#[derive(Debug, Default)]
pub(super) struct CircuitNames {
    ids: HashMap<NodeId, HashMap<Box<str>, CircuitId>>,
    names: Vec<(NodeId, Box<str>)>,
}

impl CircuitNames {
    /// Returns the number of a breaker; `None` past the bound.
    pub(super) fn circuit(&mut self, service: NodeId, name: &str) -> Option<CircuitId> {
        let name = cut(name);
        let of_service = self.ids.entry(service).or_default();
        if let Some(id) = of_service.get(name) {
            return Some(*id);
        }
        if self.names.len() >= CIRCUITS_MAX {
            return None;
        }
        let id = CircuitId(u16::try_from(self.names.len()).expect("the bound fits"));
        of_service.insert(Box::from(name), id);
        self.names.push((service, Box::from(name)));
        Some(id)
    }

    /// Returns the key of a breaker on the wall.
    pub(super) fn key(&self, id: CircuitId, nodes: &Nodes) -> CircuitKey {
        let (service, name) = &self.names[usize::from(id.0)];
        CircuitKey {
            service: nodes.name(*service).to_string(),
            name: name.to_string(),
        }
    }
}

/// Names that one shard has seen, numbered, each with what the shard knows about it.
#[derive(Debug)]
pub(super) struct Remembered<V> {
    /// Asked once or twice a span, and senders choose the names: hence the fast hash with a seed of its own.
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
    /// Returns the number of a name; allocates only for one not seen before.
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

    /// Returns a name and what is known of it.
    pub(super) fn entry(&mut self, number: u32) -> (&str, &mut V) {
        let (name, value) = &mut self.entries[number as usize];
        (name, value)
    }

    /// Returns a name.
    pub(super) fn name(&self, number: u32) -> &str {
        &self.entries[number as usize].0
    }

    /// Returns what is known of a name.
    pub(super) fn value(&mut self, number: u32) -> &mut V {
        &mut self.entries[number as usize].1
    }

    /// Returns what is known of every name.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Returns how many names there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

/// Returns the name, cut once it is too long.
pub(super) fn cut(name: &str) -> &str {
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
