//! Calls between services, by the minute in which they began: by minute for two hours, by hour for the
//! retention. A call whose minute was written to the journal before it arrived is late; late calls are written
//! with the next minute.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use crate::live::aging::{Age, longest_idle};
use crate::live::names::{CircuitId, NodeId, Nodes};
use crate::live::red::Total;
use crate::model::{HOUR, MINUTE, TimeRange, UnixNanos, nanos};
use crate::store::hash::Seed;

/// Pairs of services with their own edge; further ones are counted under the pair (other, other).
pub(in crate::live) const EDGES_MAX: usize = 4_096;
const CIRCUITS_PER_EDGE_MAX: usize = 64;
/// Minutes kept individually.
const MINUTES: u64 = 120;
/// Late calls that wait to be written, by minute and edge; further ones count in the minute of their arrival.
const LATE_MAX: usize = 16_384;
/// The edge for everything beyond the limit.
const REST: (NodeId, NodeId) = (Nodes::OTHER, Nodes::OTHER);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::live) struct EdgeId(pub(super) u32);

#[derive(Debug)]
pub(in crate::live) struct Edges {
    ids: HashMap<(NodeId, NodeId), EdgeId, Seed>,
    edges: Vec<Edge>,
    free: Vec<EdgeId>,
    is_short: bool,
    minutes: VecDeque<Slot>,
    hours: VecDeque<Slot>,
    /// Hours kept: those of the retention and the current one. An edge takes about 40 bytes in each.
    hours_kept: u64,
    /// What the journal has of each edge's last minute: a run that starts within that minute must not write
    /// it again.
    restored: HashMap<u32, (u64, Calls)>,
    /// The first minute that is not in the journal yet.
    unwritten: u64,
    /// Late calls, by minute and edge.
    late: HashMap<(u64, u32), Calls>,
}

#[derive(Debug)]
struct Edge {
    parent: NodeId,
    child: NodeId,
    circuits: Vec<CircuitId>,
    total: Calls,
    durations: Durations,
    /// The minute of its last call.
    used: u64,
}

/// Durations since the start, by the spans of each half; calls with a missing half are left out.
#[derive(Debug, Clone, Default)]
pub(in crate::live) struct Durations {
    pub(in crate::live) server: Total,
    pub(in crate::live) client: Total,
}

/// Durations of both halves of a call, nanoseconds, if known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Took {
    pub(super) server: Option<u64>,
    pub(super) client: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::live) struct Calls {
    pub(in crate::live) calls: u64,
    /// Calls of which either half failed.
    pub(in crate::live) errors: u64,
}

/// An edge with its calls in some time range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::live) struct EdgeCalls {
    pub(in crate::live) parent: NodeId,
    pub(in crate::live) child: NodeId,
    pub(in crate::live) circuits: Vec<CircuitId>,
    pub(in crate::live) calls: Calls,
}

/// One minute or one hour, as a number since 1970.
#[derive(Debug)]
struct Slot {
    number: u64,
    calls: HashMap<u32, Calls, Seed>,
}

impl Edges {
    /// `retention` is how long hours are kept; `unwritten` is the first minute to be written to the journal.
    pub(super) fn new(retention: Duration, unwritten: u64) -> Self {
        Self {
            ids: HashMap::default(),
            edges: Vec::new(),
            free: Vec::new(),
            is_short: false,
            minutes: VecDeque::new(),
            hours: VecDeque::new(),
            hours_kept: nanos(retention).div_ceil(nanos(HOUR)) + 1,
            restored: HashMap::new(),
            unwritten,
            late: HashMap::new(),
        }
    }

    /// Returns the number of an edge, and whether it has its own entry.
    pub(super) fn edge(&mut self, parent: NodeId, child: NodeId) -> (EdgeId, bool) {
        let known = self.ids.contains_key(&(parent, child));
        let fits = known || self.edges.len() - self.free.len() < EDGES_MAX;
        self.is_short |= !fits;
        let ends = if fits { (parent, child) } else { REST };
        (self.between(ends), fits)
    }

    /// Returns the number of an edge, adding it if it is new.
    fn between(&mut self, ends: (NodeId, NodeId)) -> EdgeId {
        let (edges, free) = (&mut self.edges, &mut self.free);
        *self.ids.entry(ends).or_insert_with(|| {
            let edge = Edge {
                parent: ends.0,
                child: ends.1,
                circuits: Vec::new(),
                total: Calls::default(),
                durations: Durations::default(),
                used: 0,
            };
            if let Some(id) = free.pop() {
                edges[id.0 as usize] = edge;
                return id;
            }
            edges.push(edge);
            EdgeId(u32::try_from(edges.len() - 1).expect("the bound fits"))
        })
    }

    /// Returns whether an edge found the table full since the last eviction.
    pub(in crate::live) fn is_short(&self) -> bool {
        self.is_short
    }

    /// Removes the edges of evicted nodes, and evicts idle ones if others found the table full; their calls
    /// move to the edge of the rest. Returns whether any were removed.
    pub(super) fn forget_idle(
        &mut self,
        nodes: &HashSet<NodeId>,
        circuits: &HashSet<CircuitId>,
        age: Age,
    ) -> bool {
        if !circuits.is_empty() {
            for edge in &mut self.edges {
                edge.circuits.retain(|circuit| !circuits.contains(circuit));
            }
        }
        let mut gone: HashSet<EdgeId> = HashSet::new();
        if !nodes.is_empty() {
            let is_gone =
                |ends: &(NodeId, NodeId)| nodes.contains(&ends.0) || nodes.contains(&ends.1);
            let of_nodes = self.ids.iter().filter(|(ends, _)| is_gone(ends));
            gone.extend(of_nodes.map(|(_, id)| *id));
        }
        if self.is_short {
            let own = self.ids.iter().filter(|(ends, _)| **ends != REST);
            let used = own.map(|(_, id)| (*id, self.edges[id.0 as usize].used));
            let idle = longest_idle(used, age, EDGES_MAX);
            self.is_short = idle.is_empty();
            gone.extend(idle);
        }
        if !gone.is_empty() {
            self.merge_into_rest(&gone);
        }
        !gone.is_empty()
    }

    fn merge_into_rest(&mut self, gone: &HashSet<EdgeId>) {
        let rest = self.between(REST);
        for slot in self.minutes.iter_mut().chain(&mut self.hours) {
            let moved = slot.calls.extract_if(|id, _| gone.contains(&EdgeId(*id)));
            let mut sum = Calls::default();
            moved.for_each(|(_, calls)| sum.add(calls));
            if sum.calls > 0 {
                slot.add(rest, sum);
            }
        }
        let moved: Vec<_> = self
            .late
            .extract_if(|(_, id), _| gone.contains(&EdgeId(*id)))
            .collect();
        for ((minute, _), calls) in moved {
            self.late.entry((minute, rest.0)).or_default().add(calls);
        }
        for id in gone {
            self.restored.remove(&id.0);
            let edge = &mut self.edges[id.0 as usize];
            self.ids.remove(&(edge.parent, edge.child));
            edge.circuits = Vec::new();
            // Waiting spans may still refer to it, if the clock was changed.
            (edge.parent, edge.child) = REST;
            let total = std::mem::take(&mut edge.total);
            let durations = std::mem::take(&mut edge.durations);
            let rest = &mut self.edges[rest.0 as usize];
            rest.total.add(total);
            rest.durations.server.add(&durations.server);
            rest.durations.client.add(&durations.client);
            self.free.push(*id);
        }
    }

    /// Counts calls in the minute in which they began.
    pub(super) fn count(&mut self, id: EdgeId, began: u64, now: u64, calls: Calls) {
        let edge = &mut self.edges[id.0 as usize];
        edge.total.add(calls);
        edge.used = now;
        let minute = self.kept_minute(id, began, now);
        if minute < self.unwritten {
            self.late.entry((minute, id.0)).or_default().add(calls);
        }
        let minutes = at(&mut self.minutes, minute, MINUTES);
        let hours = at(&mut self.hours, minute / 60, self.hours_kept);
        for slot in [minutes, hours].into_iter().flatten() {
            slot.add(id, calls);
        }
    }

    /// Returns the minute in which a call is counted: that of its beginning, or of its arrival if it began
    /// after it or so long ago that its hour is no longer kept, as by a wrong clock.
    fn kept_minute(&self, id: EdgeId, began: u64, now: u64) -> u64 {
        let newest_hour = self.hours.back().map_or(0, |hour| hour.number);
        // If the clock went back, calls count in the newest hour.
        let now = now.max(newest_hour * 60);
        let is_kept = began <= now && began / 60 + self.hours_kept > now / 60;
        let is_written = began < self.unwritten;
        let has_room = self.late.len() < LATE_MAX || self.late.contains_key(&(began, id.0));
        match is_kept && (!is_written || has_room) {
            true => began,
            false => now,
        }
    }

    /// Drops what was counted after a minute: the clock was ahead and has been corrected.
    pub(in crate::live) fn forget_after(&mut self, minute: u64) {
        self.minutes.retain(|slot| slot.number <= minute);
        self.hours.retain(|slot| slot.number <= minute / 60);
        self.late.retain(|(late, _), _| *late <= minute);
        self.restored.retain(|_, last| last.0 <= minute);
        for edge in &mut self.edges {
            edge.used = edge.used.min(minute);
        }
        self.unwritten = self.unwritten.min(minute + 1);
    }

    /// Returns the late calls, and what an edge's minutes before `unwritten` get from now on is late.
    pub(in crate::live) fn take_late(&mut self, unwritten: u64) -> Vec<(u64, EdgeCalls)> {
        self.unwritten = unwritten;
        let late = std::mem::take(&mut self.late).into_iter();
        let late = late.map(|((minute, edge), calls)| (minute, self.with(edge, calls)));
        late.collect()
    }

    /// Adds the durations of counted calls.
    pub(super) fn time(&mut self, id: EdgeId, took: Took, calls: u64) {
        let durations = &mut self.edges[id.0 as usize].durations;
        for (half, nanos) in [
            (&mut durations.server, took.server),
            (&mut durations.client, took.client),
        ] {
            if let Some(nanos) = nanos {
                half.count_alike(nanos, calls);
            }
        }
    }

    /// Restores the calls that an earlier run counted in a minute.
    pub(super) fn restore(&mut self, id: EdgeId, minute: u64, calls: Calls) {
        let used = &mut self.edges[id.0 as usize].used;
        *used = minute.max(*used);
        let minutes = at(&mut self.minutes, minute, MINUTES);
        let hours = at(&mut self.hours, minute / 60, self.hours_kept);
        for slot in [minutes, hours].into_iter().flatten() {
            slot.add(id, calls);
        }
        let last = self.restored.entry(id.0).or_default();
        if last.0 < minute {
            *last = (minute, Calls::default());
        }
        if last.0 == minute {
            last.1.add(calls);
        }
    }

    /// Records that a breaker protects an edge; returns whether that is new.
    pub(super) fn protect(&mut self, id: EdgeId, circuit: CircuitId) -> bool {
        let circuits = &mut self.edges[id.0 as usize].circuits;
        if circuits.contains(&circuit) || circuits.len() >= CIRCUITS_PER_EDGE_MAX {
            return false;
        }
        circuits.push(circuit);
        true
    }

    pub(super) fn child(&self, id: EdgeId) -> NodeId {
        self.edges[id.0 as usize].child
    }

    /// Returns the edges used in a range: by whole minutes for the last two hours, by whole hours before.
    pub(in crate::live) fn in_range(&self, range: TimeRange) -> Vec<EdgeCalls> {
        let newest_minute = self.minutes.back().map_or(0, |slot| slot.number);
        // All hours from this one on are available by minute.
        let first_in_minutes = newest_minute.saturating_sub(MINUTES - 1).div_ceil(60);
        let mut sums: BTreeMap<u32, Calls> = BTreeMap::new();
        let old = self
            .hours
            .iter()
            .filter(|hour| hour.number < first_in_minutes);
        let recent = self
            .minutes
            .iter()
            .filter(|minute| minute.number / 60 >= first_in_minutes);
        let slots = old
            .map(|slot| (slot, HOUR))
            .chain(recent.map(|slot| (slot, MINUTE)));
        for (slot, length) in slots {
            if slot.overlaps(range, length) {
                for (edge, calls) in &slot.calls {
                    sums.entry(*edge).or_default().add(*calls);
                }
            }
        }
        sums.into_iter()
            .map(|(edge, calls)| self.with(edge, calls))
            .collect()
    }

    pub(in crate::live) fn totals(&self) -> Vec<(EdgeCalls, &Durations)> {
        let edges = self.ids.values();
        let total = |id: &EdgeId| {
            let edge = &self.edges[id.0 as usize];
            (self.with(id.0, edge.total), &edge.durations)
        };
        let mut totals: Vec<_> = edges.map(total).collect();
        totals.sort_by_key(|(edge, _)| std::cmp::Reverse(edge.calls.calls));
        totals
    }

    /// Returns the calls over each edge in a minute, without those that an earlier run wrote.
    pub(in crate::live) fn finished(&self, minute: u64) -> Vec<EdgeCalls> {
        let slot = self.minutes.iter().rev().find(|slot| slot.number == minute);
        let calls = slot.into_iter().flat_map(|slot| &slot.calls);
        let unwritten = calls.map(|(edge, calls)| {
            let written = self.restored.get(edge).filter(|last| last.0 == minute);
            let written = written.map_or_else(Calls::default, |last| last.1);
            let rest = Calls {
                calls: calls.calls.saturating_sub(written.calls),
                errors: calls.errors.saturating_sub(written.errors),
            };
            (*edge, rest)
        });
        unwritten
            .filter(|(_, calls)| calls.calls > 0)
            .map(|(edge, calls)| self.with(edge, calls))
            .collect()
    }

    fn with(&self, id: u32, calls: Calls) -> EdgeCalls {
        let edge = &self.edges[id as usize];
        EdgeCalls {
            parent: edge.parent,
            child: edge.child,
            circuits: edge.circuits.clone(),
            calls,
        }
    }
}

/// Returns the slot of a number, or the newest one if that is later.
fn newest(slots: &mut VecDeque<Slot>, number: u64, keep: u64) -> &mut Slot {
    if slots.back().is_none_or(|slot| slot.number < number) {
        slots.push_back(Slot {
            number,
            calls: HashMap::default(),
        });
        while slots
            .front()
            .is_some_and(|slot| slot.number + keep <= number)
        {
            slots.pop_front();
        }
    }
    slots.back_mut().expect("just pushed")
}

/// Returns the slot of a number, inserting it in order; `None` if it is too old.
fn at(slots: &mut VecDeque<Slot>, number: u64, keep: u64) -> Option<&mut Slot> {
    if slots
        .back()
        .is_some_and(|newest| number + keep <= newest.number)
    {
        return None;
    }
    match slots.binary_search_by_key(&number, |slot| slot.number) {
        Ok(index) => slots.get_mut(index),
        Err(index) if index == slots.len() => Some(newest(slots, number, keep)),
        Err(index) => {
            let calls = HashMap::default();
            slots.insert(index, Slot { number, calls });
            slots.get_mut(index)
        }
    }
}

impl Slot {
    fn add(&mut self, id: EdgeId, calls: Calls) {
        self.calls.entry(id.0).or_default().add(calls);
    }

    fn overlaps(&self, range: TimeRange, length: Duration) -> bool {
        let start = UnixNanos::of_window(self.number, length);
        start < range.end && start + length > range.start
    }
}

impl Calls {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 86_400);
    const ONE: Calls = Calls {
        calls: 1,
        errors: 0,
    };

    fn range(from_minute: u64, to_minute: u64) -> TimeRange {
        TimeRange {
            start: UnixNanos::of_window(from_minute, MINUTE),
            end: UnixNanos::of_window(to_minute, MINUTE),
        }
    }

    fn calls(edges: &Edges, range: TimeRange) -> u64 {
        edges
            .in_range(range)
            .iter()
            .map(|edge| edge.calls.calls)
            .sum()
    }

    #[test]
    fn the_retention_is_answered_from_hours_and_the_last_hours_from_minutes() {
        let mut edges = Edges::new(WEEK, 0);
        let (id, _) = edges.edge(NodeId(1), NodeId(2));
        let first = 1_000_000 * 60;
        let last = first + 8 * 24 * 60;
        (first..last).for_each(|minute| edges.count(id, minute, minute, ONE));
        assert_eq!(calls(&edges, range(last - 10, last)), 10);
        assert_eq!(calls(&edges, range(last - 60, last - 30)), 30);
        assert_eq!(calls(&edges, range(last - 24 * 60, last)), 24 * 60);
        assert_eq!(calls(&edges, range(last - 25 * 60, last - 24 * 60)), 60);
        assert_eq!(calls(&edges, TimeRange::ALL), (7 * 24 + 1) * 60);
        assert_eq!(edges.totals()[0].0.calls.calls, 8 * 24 * 60);
        assert!(edges.minutes.len() as u64 <= MINUTES);
    }

    #[test]
    fn minutes_of_an_earlier_run_fall_into_place() {
        let mut edges = Edges::new(WEEK, 0);
        let (id, _) = edges.edge(NodeId(1), NodeId(2));
        let now = 1_000_000 * 60 + 30;
        edges.count(id, now, now, ONE);
        for minute in [now - 3 * 60, now - 10, now - 90, now, now - 30 * 24 * 60] {
            edges.restore(id, minute, ONE);
        }
        assert_eq!(calls(&edges, range(now, now + 1)), 2);
        assert_eq!(calls(&edges, range(now - 10, now)), 1);
        assert_eq!(calls(&edges, range(now - 4 * 60, now + 1)), 5);
        assert_eq!(calls(&edges, TimeRange::ALL), 5);
        assert_eq!(edges.totals()[0].0.calls.calls, 1);
    }

    #[test]
    fn edges_past_the_bound_become_the_rest() {
        let mut edges = Edges::new(WEEK, 0);
        for n in 0..EDGES_MAX as u16 {
            assert!(edges.edge(NodeId(n), NodeId(1)).1);
        }
        let (rest, fits) = edges.edge(NodeId(9_000), NodeId(1));
        assert!(!fits);
        edges.count(rest, 1, 1, ONE);
        assert_eq!(edges.in_range(TimeRange::ALL)[0].parent, Nodes::OTHER);
    }
}
