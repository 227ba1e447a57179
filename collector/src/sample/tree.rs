//! One request through the shop as a tree of spans, without their contents.

use fastrand::Rng;

use super::catalogue::SERVICES;

/// Number of spans in a trace.
const SPANS: std::ops::RangeInclusive<usize> = 4..=20;
/// Pods of each service.
pub(super) const INSTANCES: usize = 3;
/// One trace in this many has a failing span.
const FAILS_ONE_IN: u32 = 8;
/// One call in this many passes a circuit breaker.
const GUARDED_ONE_IN: u32 = 4;
/// One breaker call in this many is rejected.
const REFUSED_ONE_IN: u32 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Serves an operation, by index in the service's list.
    Server(usize),
    /// Calls an operation of another service.
    Client { callee: usize, operation: usize },
    /// Internal work, by index in the service's list.
    Work(usize),
}

/// The breaker's part in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    None,
    Closed,
    /// The breaker rejected the call, and a fallback answered.
    Refused,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) parent: Option<usize>,
    pub(super) service: usize,
    /// Index of the service's pod.
    pub(super) instance: usize,
    pub(super) role: Role,
    pub(super) guard: Guard,
    /// It fails by itself and has an exception.
    pub(super) throws: bool,
    /// Its status is error.
    pub(super) failed: bool,
    /// Nanoseconds since the trace began.
    pub(super) start: u64,
    /// Nanoseconds.
    pub(super) duration: u64,
}

/// Generates a tree of at most `most` spans, replacing the previous one in `nodes`.
pub(super) fn grow(nodes: &mut Vec<Node>, rng: &mut Rng, most: usize) {
    nodes.clear();
    let target = rng.usize(SPANS).min(most);
    nodes.push(server(None, 0, rng));
    while nodes.len() < target {
        let caller = pick_server(nodes, rng);
        let service = &SERVICES[nodes[caller].service];
        if nodes.len() + 2 <= target && !service.calls.is_empty() && rng.u32(..6) > 0 {
            call(nodes, caller, rng);
        } else {
            let role = Role::Work(rng.usize(..service.work.len()));
            nodes.push(node((caller, &nodes[caller]), role));
        }
    }
    fail(nodes, rng);
    set_times(nodes, rng);
}

/// Returns a span in the same pod as its parent.
fn node((parent, caller): (usize, &Node), role: Role) -> Node {
    Node {
        parent: Some(parent),
        service: caller.service,
        instance: caller.instance,
        role,
        guard: Guard::None,
        throws: false,
        failed: false,
        start: 0,
        duration: 0,
    }
}

fn server(parent: Option<usize>, service: usize, rng: &mut Rng) -> Node {
    let operation = rng.usize(..SERVICES[service].operations.len());
    Node {
        parent,
        service,
        instance: rng.usize(..INSTANCES),
        role: Role::Server(operation),
        guard: Guard::None,
        throws: false,
        failed: false,
        start: 0,
        duration: 0,
    }
}

fn pick_server(nodes: &[Node], rng: &mut Rng) -> usize {
    loop {
        let index = rng.usize(..nodes.len());
        if matches!(nodes[index].role, Role::Server(_)) {
            return index;
        }
    }
}

/// Adds a call to another service: the client's span and, unless a breaker rejects it, the server's.
fn call(nodes: &mut Vec<Node>, caller: usize, rng: &mut Rng) {
    let calls = SERVICES[nodes[caller].service].calls;
    let callee = calls[rng.usize(..calls.len())];
    let served = server(Some(nodes.len()), callee, rng);
    let Role::Server(operation) = served.role else {
        return;
    };
    let mut client = node((caller, &nodes[caller]), Role::Client { callee, operation });
    if rng.u32(..GUARDED_ONE_IN) == 0 {
        client.guard = Guard::Closed;
        if rng.u32(..REFUSED_ONE_IN) == 0 {
            client.guard = Guard::Refused;
            client.failed = true;
            nodes.push(client);
            return;
        }
    }
    nodes.push(client);
    nodes.push(served);
}

/// Occasionally lets a span fail, together with its ancestors up to a random one.
fn fail(nodes: &mut [Node], rng: &mut Rng) {
    if rng.u32(..FAILS_ONE_IN) != 0 {
        return;
    }
    let mut index = rng.usize(..nodes.len());
    nodes[index].throws = nodes[index].guard != Guard::Refused;
    nodes[index].failed = true;
    while let Some(parent) = nodes[index].parent
        && rng.bool()
    {
        index = parent;
        nodes[index].failed = true;
    }
}

/// Places every span's time inside its parent's; parents precede their children.
fn set_times(nodes: &mut [Node], rng: &mut Rng) {
    // From 3 ms to about a second, short ones far more often.
    let scale = rng.f64();
    nodes[0].duration = 3_000_000 + (scale * scale * scale * 1e9) as u64 + rng.u64(..1_000_000);
    for index in 1..nodes.len() {
        let Some(parent) = nodes[index].parent else {
            continue;
        };
        let (start, room) = (nodes[parent].start, nodes[parent].duration);
        let node = &mut nodes[index];
        if node.guard == Guard::Refused {
            node.start = start + rng.u64(..room / 2 + 1);
            node.duration = rng.u64(2_000..20_000).min(room / 2);
            continue;
        }
        let (least, most) = match node.role {
            Role::Server(_) => (0.85, 0.99),
            Role::Client { .. } => (0.2, 0.7),
            Role::Work(_) => (0.02, 0.4),
        };
        let share = least + rng.f64() * (most - least);
        node.duration = (room as f64 * share) as u64;
        node.start = start + rng.u64(..room - node.duration + 1);
    }
}
