//! Rate, errors and duration per operation of each service, by the minute in which its spans arrived.
//!
//! A served call is a server or consumer span, or a span of another kind without a parent (a job, a timer).
//! Client spans are the other half of a call, which counts at the callee.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use fusebox::circuit_breaker::LatencyHistogram;
use opentelemetry::TraceId;

use super::aging::{Age, longest_idle};
use super::names::{NodeId, OTHER, cut};
use crate::codec::circuits::middle_seconds;
use crate::model::{MinuteCalls, OperationStats, RedStats, SpanKind, nanos};
use crate::store::series::{RedMinute, stored_buckets};

/// Complete minutes kept in memory.
pub(super) const MINUTES: usize = 60;
/// Operations per service with their own figures; names that contain an id make thousands.
pub(super) const OPERATIONS_PER_SERVICE_MAX: usize = 1_000;
/// Operations with their own figures in total, about 8 KiB each when busy all hour.
pub(super) const OPERATIONS_MAX: usize = 10_000;
/// Bucket bounds on `/metrics` as powers of two nanoseconds: 2^20 ns (1 ms) to 2^33 ns (8.6 s).
pub(crate) const LATENCY_DOUBLINGS: std::ops::RangeInclusive<u32> = 20..=33;
/// One bucket per bound, and one for the rest.
const BUCKETS: usize = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OperationId(u32);

#[derive(Debug, Default)]
pub(super) struct Red {
    services: HashMap<NodeId, HashMap<Box<str>, Vec<OperationId>>>,
    operations: Vec<Operation>,
    free: Vec<OperationId>,
    /// Services with an operation that found the table full.
    short: HashSet<NodeId>,
}

/// An operation's figures since the start, and by minute.
#[derive(Debug)]
struct Operation {
    service: NodeId,
    name: Box<str>,
    kind: SpanKind,
    total: Total,
    /// The latest call in each bucket of `total`; 32 bytes per used bucket.
    exemplars: Vec<Option<Exemplar>>,
    minutes: VecDeque<Minute>,
    /// Minutes of an earlier run: shown, but neither on `/metrics` nor written again.
    restored: Vec<Minute>,
}

/// A call as an example of its bucket, with its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exemplar {
    trace_id: [u8; 16],
    nanos: u64,
    time_ms: u64,
}

impl Exemplar {
    pub(crate) fn new(trace_id: [u8; 16], nanos: u64, time_ms: u64) -> Self {
        Self {
            trace_id,
            nanos,
            time_ms,
        }
    }

    pub(crate) fn trace_id(&self) -> TraceId {
        TraceId::from_bytes(self.trace_id)
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.nanos as f64 / 1e9
    }

    pub(crate) fn time_seconds(&self) -> f64 {
        self.time_ms as f64 / 1e3
    }

    /// Returns the first bucket of `/metrics` that includes the call.
    fn bucket(&self) -> usize {
        let mut doublings = LATENCY_DOUBLINGS;
        let fits = doublings.position(|doubling| self.nanos <= 1 << doubling);
        fits.unwrap_or(BUCKETS - 1)
    }
}

/// Cumulative counts since the start, for `/metrics`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Total {
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) nanos: u64,
    /// Calls that took at most each of `LATENCY_DOUBLINGS`.
    pub(crate) below: [u64; 14],
}

#[derive(Debug)]
pub(super) struct OperationTotal<'a> {
    pub(super) service: NodeId,
    pub(super) name: &'a str,
    pub(super) kind: SpanKind,
    pub(super) total: &'a Total,
    pub(super) exemplars: &'a [Option<Exemplar>],
}

#[derive(Debug)]
struct Minute {
    minute: u64,
    calls: u32,
    errors: u32,
    latency: LatencyHistogram,
}

#[derive(Debug)]
pub(super) struct FinishedRed<'a> {
    pub(super) service: NodeId,
    pub(super) name: &'a str,
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) latency: Vec<(i32, u64)>,
}

impl Red {
    /// Returns the number of an operation, and whether it has its own entry or shares that of its service's
    /// rest.
    pub(super) fn operation(
        &mut self,
        service: NodeId,
        name: &str,
        kind: SpanKind,
    ) -> (OperationId, bool) {
        let name = cut(name);
        let known = self.services.entry(service).or_default();
        let count = self.operations.len() - self.free.len();
        let full = count >= OPERATIONS_MAX || known.len() >= OPERATIONS_PER_SERVICE_MAX;
        let fits = !full || known.contains_key(name);
        if !fits {
            self.short.insert(service);
        }
        let name = if fits { name } else { OTHER };
        if !known.contains_key(name) {
            known.insert(Box::from(name), Vec::new());
        }
        let of_name = known.get_mut(name).expect("just inserted");
        let found = of_name
            .iter()
            .find(|id| self.operations[id.0 as usize].kind == kind);
        if let Some(id) = found {
            return (*id, fits);
        }
        let operation = Operation {
            service,
            name: Box::from(name),
            kind,
            total: Total::default(),
            exemplars: Vec::new(),
            minutes: VecDeque::new(),
            restored: Vec::new(),
        };
        let id = if let Some(id) = self.free.pop() {
            self.operations[id.0 as usize] = operation;
            id
        } else {
            self.operations.push(operation);
            OperationId(u32::try_from(self.operations.len() - 1).expect("the bound fits"))
        };
        of_name.push(id);
        (id, fits)
    }

    /// Returns whether an operation found the table full since the last eviction.
    pub(super) fn is_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// Removes the operations of evicted services, and evicts idle ones if others found the table full;
    /// returns whether any were removed.
    pub(super) fn forget_idle(&mut self, services: &HashSet<NodeId>, age: Age) -> bool {
        let of_services = services
            .iter()
            .filter_map(|node| self.services.remove(node));
        let mut gone: Vec<_> = of_services
            .flat_map(HashMap::into_values)
            .flatten()
            .collect();
        let short = &self.short;
        if !short.is_empty() {
            let is_full = self.operations.len() - self.free.len() >= OPERATIONS_MAX;
            let services = self.services.iter();
            let affected = services.filter(|(node, _)| is_full || short.contains(node));
            let known = affected.flat_map(|(_, names)| names.values()).flatten();
            let used = known.map(|id| (*id, self.operations[id.0 as usize].used()));
            let idle = longest_idle(used, age, OPERATIONS_MAX);
            if !idle.is_empty() {
                self.short.clear();
            }
            for id in &idle {
                let operation = &self.operations[id.0 as usize];
                if let Some(names) = self.services.get_mut(&operation.service) {
                    forget_operation(names, &operation.name, *id);
                }
            }
            gone.extend(idle);
        }
        for id in &gone {
            self.operations[id.0 as usize].clear();
        }
        self.free.extend(&gone);
        !gone.is_empty()
    }

    pub(super) fn count(&mut self, id: OperationId, minute: u64, call: Exemplar, error: bool) {
        let operation = &mut self.operations[id.0 as usize];
        let nanos = call.nanos;
        operation.total.count(nanos, error);
        operation.remember(call);
        let slot = operation.minute(minute);
        slot.calls = slot.calls.saturating_add(1);
        slot.errors = slot.errors.saturating_add(u32::from(error));
        slot.latency
            .add(LatencyHistogram::index_of(Duration::from_nanos(nanos)), 1);
    }

    /// Restores a minute counted by an earlier run.
    pub(super) fn restore(&mut self, service: NodeId, minute: u64, red: &RedMinute) {
        // The record does not hold the kind; nearly all called operations have this one.
        let (id, _) = self.operation(service, &red.operation, SpanKind::Server);
        let clamped = |count| u32::try_from(count).unwrap_or(u32::MAX);
        self.operations[id.0 as usize].restored.push(Minute {
            minute,
            calls: clamped(red.calls),
            errors: clamped(red.errors),
            latency: red.latency(),
        });
    }

    /// Returns the figures since `from_minute` of a service and of its operations, busiest first.
    pub(super) fn service(
        &self,
        service: NodeId,
        from_minute: u64,
        elapsed_seconds: f64,
    ) -> (RedStats, Vec<OperationStats>) {
        let mut all = Sum::default();
        let mut operations = Vec::new();
        for (name, ids) in self.services.get(&service).into_iter().flatten() {
            let mut sum = Sum::default();
            for id in ids {
                for minute in self.operations[id.0 as usize].since(from_minute) {
                    sum.add(minute);
                    all.add(minute);
                }
            }
            operations.push(OperationStats {
                name: name.to_string(),
                red: sum.stats(elapsed_seconds),
            });
        }
        operations.sort_by(|a, b| {
            let busiest = b.red.calls.cmp(&a.red.calls);
            busiest.then_with(|| a.name.cmp(&b.name))
        });
        (all.stats(elapsed_seconds), operations)
    }

    /// Returns the calls of a service in each of the last complete minutes, the oldest first.
    pub(super) fn minutes(&self, service: NodeId, current: u64) -> Vec<MinuteCalls> {
        let mut calls = vec![MinuteCalls::default(); MINUTES];
        let from_minute = current.saturating_sub(MINUTES as u64);
        let names = self.services.get(&service).into_iter();
        let ids = names.flat_map(HashMap::values).flatten();
        for minute in ids.flat_map(|id| self.operations[id.0 as usize].since(from_minute)) {
            let place = usize::try_from(minute.minute - from_minute).unwrap_or(MINUTES);
            if let Some(slot) = calls.get_mut(place) {
                slot.calls += u64::from(minute.calls);
                slot.errors += u64::from(minute.errors);
            }
        }
        calls
    }

    /// Returns the totals, busiest first.
    pub(super) fn totals(&self) -> Vec<OperationTotal<'_>> {
        let counted = self.operations.iter().filter(|o| o.total.calls > 0);
        let mut totals: Vec<_> = counted
            .map(|operation| OperationTotal {
                service: operation.service,
                name: &operation.name,
                kind: operation.kind,
                total: &operation.total,
                exemplars: &operation.exemplars,
            })
            .collect();
        totals.sort_by_key(|operation| std::cmp::Reverse(operation.total.calls));
        totals
    }

    /// Returns each operation's figures in that minute.
    pub(super) fn finished(&self, minute: u64) -> Vec<FinishedRed<'_>> {
        fn of_minute(operation: &Operation, minute: u64) -> Option<FinishedRed<'_>> {
            let slot = operation
                .minutes
                .iter()
                .rev()
                .find(|slot| slot.minute == minute)?;
            Some(FinishedRed {
                service: operation.service,
                name: &operation.name,
                calls: u64::from(slot.calls),
                errors: u64::from(slot.errors),
                latency: stored_buckets(&slot.latency),
            })
        }
        let operations = self.operations.iter();
        operations
            .filter_map(|operation| of_minute(operation, minute))
            .collect()
    }
}

fn forget_operation(names: &mut HashMap<Box<str>, Vec<OperationId>>, name: &str, id: OperationId) {
    let Some(ids) = names.get_mut(name) else {
        return;
    };
    ids.retain(|one| *one != id);
    if ids.is_empty() {
        names.remove(name);
    }
}

impl Operation {
    /// Keeps the call as the latest of its bucket.
    fn remember(&mut self, call: Exemplar) {
        let bucket = call.bucket();
        if self.exemplars.len() <= bucket {
            self.exemplars.resize(bucket + 1, None);
        }
        self.exemplars[bucket] = Some(call);
    }

    fn used(&self) -> u64 {
        let restored = self.restored.iter().map(|minute| minute.minute);
        let own = self.minutes.back().map(|minute| minute.minute);
        restored.chain(own).max().unwrap_or(0)
    }

    /// Clears the figures of a slot that may be reused.
    fn clear(&mut self) {
        self.total = Total::default();
        self.minutes = VecDeque::new();
        self.restored = Vec::new();
    }

    /// Returns the slot of a minute; the newest one if the clock went back by less than two minutes. Slots further in the
    /// future are of a clock that was ahead, and dropped.
    fn minute(&mut self, minute: u64) -> &mut Minute {
        let is_ahead = |newest: &Minute| newest.minute > minute + 1;
        while self.minutes.back().is_some_and(is_ahead) {
            self.minutes.pop_back();
        }
        if self
            .minutes
            .back()
            .is_none_or(|newest| newest.minute < minute)
        {
            self.minutes.push_back(Minute {
                minute,
                calls: 0,
                errors: 0,
                latency: LatencyHistogram::default(),
            });
            // One is the current minute.
            while self.minutes.len() > MINUTES + 1 {
                self.minutes.pop_front();
            }
        }
        self.minutes.back_mut().expect("just pushed")
    }

    fn since(&self, from_minute: u64) -> impl Iterator<Item = &Minute> {
        let newest_first = self.minutes.iter().rev();
        let own = newest_first.take_while(move |slot| slot.minute >= from_minute);
        let restored = self.restored.iter();
        own.chain(restored.filter(move |slot| slot.minute >= from_minute))
    }
}

impl Total {
    fn count(&mut self, nanos: u64, error: bool) {
        self.count_alike(nanos, 1);
        self.errors += u64::from(error);
    }

    /// Counts several calls of one duration.
    pub(super) fn count_alike(&mut self, nanos: u64, calls: u64) {
        self.calls = self.calls.saturating_add(calls);
        self.nanos = self.nanos.saturating_add(nanos.saturating_mul(calls));
        self.count_below(nanos, calls);
    }

    fn count_below(&mut self, nanos: u64, calls: u64) {
        for (below, doubling) in self.below.iter_mut().zip(LATENCY_DOUBLINGS) {
            *below = below.saturating_add(calls * u64::from(nanos <= 1 << doubling));
        }
    }

    /// Counts calls of which some have durations. Where only the buckets are known, not their sum, it is that
    /// of their middles.
    pub(super) fn count_all(&mut self, calls: u64, latency: &LatencyHistogram) {
        self.calls = self.calls.saturating_add(calls);
        self.count_below(0, latency.zero_count);
        let mut middles = 0_u64;
        for (index, calls) in latency.buckets() {
            let middle = (middle_seconds(*index, LatencyHistogram::SCALE) * 1e9) as u64;
            middles = middles.saturating_add(middle.saturating_mul(*calls));
            self.count_below(middle, *calls);
        }
        let sum = match latency.sum_nanos {
            0 => middles,
            known => known,
        };
        self.nanos = self.nanos.saturating_add(sum);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.errors = self.errors.saturating_add(other.errors);
        self.nanos = self.nanos.saturating_add(other.nanos);
        for (below, other) in self.below.iter_mut().zip(other.below) {
            *below = below.saturating_add(other);
        }
    }
}

/// Sum over minutes.
#[derive(Debug, Default)]
struct Sum {
    calls: u64,
    errors: u64,
    latency: LatencyHistogram,
}

impl Sum {
    fn add(&mut self, minute: &Minute) {
        self.calls += u64::from(minute.calls);
        self.errors += u64::from(minute.errors);
        self.latency.merge(&minute.latency);
    }

    fn stats(&self, elapsed_seconds: f64) -> RedStats {
        let quantile = |share| self.latency.quantile(share).map(nanos);
        RedStats {
            calls: self.calls,
            errors: self.errors,
            calls_per_second: self.calls as f64 / elapsed_seconds.max(1.0),
            p50_nanos: quantile(0.5),
            p90_nanos: quantile(0.9),
            p99_nanos: quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests;
