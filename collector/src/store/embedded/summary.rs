//! What one segment knows of each trace, without its spans: enough for a row of a list, and where its spans lie.
//!
//! A trace is scattered over shards and segments, so what stands here is partial; `merge` makes rows of it.
//! `TraceTable` is the open segment's table, filled at each commit; `segment::traces` writes and reads it sealed.

use std::collections::HashMap;

use super::limits::{CIRCUITS_PER_TRACE_MAX, SERVICES_PER_TRACE_MAX};
use crate::store::hash::Seed;

/// End of a list in a pool.
const END: u32 = u32::MAX;

/// A span that may name a trace: the root or the earliest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Its start.
    pub(crate) start: u64,
    /// Number of its service.
    pub(crate) service: u32,
    /// Number of its name.
    pub(crate) name: u32,
    /// Whether its status is error.
    pub(crate) failed: bool,
}

/// What one segment knows of a trace.
#[derive(Debug, Clone)]
pub(crate) struct Partial {
    /// Its id.
    pub(crate) id: u128,
    /// Latest end.
    pub(crate) max_end: u64,
    /// Spans.
    pub(crate) spans: u32,
    /// Spans with status error.
    pub(crate) errors: u32,
    /// The earliest span without parent.
    pub(crate) root: Option<Origin>,
    /// The earliest span.
    pub(crate) first: Origin,
    services: u32,
    service_count: u16,
    circuits: u32,
    blocks: u32,
}

/// Spans and errors of a service in a trace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceSpans {
    /// Number of the service.
    pub(crate) service: u32,
    /// Its spans.
    pub(crate) spans: u32,
    /// Those with status error.
    pub(crate) errors: u32,
}

/// A breaker that a trace went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circuit {
    /// Number of the service that holds it.
    pub(crate) service: u32,
    /// Number of the mark.
    pub(crate) mark: u32,
}

/// One span, as far as summaries care.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanFacts {
    /// Its start.
    pub(crate) start: u64,
    /// Its end, not before the start.
    pub(crate) end: u64,
    /// Whether its status is error.
    pub(crate) error: bool,
    /// Whether it has no parent.
    pub(crate) root: bool,
    /// Number of its service.
    pub(crate) service: u32,
    /// Number of its name.
    pub(crate) name: u32,
}

/// Lists that share one vector: each entry knows the next, so that no trace allocates.
#[derive(Debug)]
struct Pool<T> {
    entries: Vec<(T, u32)>,
}

impl<T: Copy> Pool<T> {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Puts an entry before a list and returns the list's new head.
    fn prepend(&mut self, entry: T, head: u32) -> u32 {
        self.entries.push((entry, head));
        self.entries.len() as u32 - 1
    }

    /// Returns the entries of a list, newest first.
    fn list(&self, head: u32) -> impl Iterator<Item = T> {
        let mut at = head;
        std::iter::from_fn(move || {
            let &(entry, next) = self.entries.get(at as usize)?;
            at = next;
            Some(entry)
        })
    }

    /// Finds an entry to change.
    fn find(&mut self, head: u32, wanted: impl Fn(&T) -> bool) -> Option<&mut T> {
        let mut at = head;
        while at != END {
            let (entry, next) = self.entries.get(at as usize)?;
            if wanted(entry) {
                return Some(&mut self.entries[at as usize].0);
            }
            at = *next;
        }
        None
    }
}

/// Every trace of the open segment.
#[derive(Debug)]
pub(crate) struct TraceTable {
    slots: HashMap<u128, u32, Seed>,
    partials: Vec<Partial>,
    services: Pool<ServiceSpans>,
    circuits: Pool<Circuit>,
    blocks: Pool<u32>,
}

impl TraceTable {
    /// Makes an empty table.
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            slots: HashMap::with_hasher(seed),
            partials: Vec::new(),
            services: Pool::new(),
            circuits: Pool::new(),
            blocks: Pool::new(),
        }
    }

    /// Returns every trace in the order first seen.
    pub(crate) fn partials(&self) -> &[Partial] {
        &self.partials
    }

    /// Finds a trace.
    pub(crate) fn get(&self, id: u128) -> Option<&Partial> {
        let slot = *self.slots.get(&id)?;
        self.partials.get(slot as usize)
    }

    /// Notes that a block has spans of a trace and returns the trace's slot.
    pub(crate) fn enter(&mut self, id: u128, block: u32) -> u32 {
        let slot = *self.slots.entry(id).or_insert_with(|| {
            self.partials.push(Partial {
                id,
                max_end: 0,
                spans: 0,
                errors: 0,
                root: None,
                first: Origin {
                    start: u64::MAX,
                    service: 0,
                    name: 0,
                    failed: false,
                },
                services: END,
                service_count: 0,
                circuits: END,
                blocks: END,
            });
            self.partials.len() as u32 - 1
        });
        let partial = &mut self.partials[slot as usize];
        partial.blocks = self.blocks.prepend(block, partial.blocks);
        slot
    }

    /// Adds a span to the trace in that slot.
    pub(crate) fn add(&mut self, slot: u32, span: SpanFacts) {
        let partial = &mut self.partials[slot as usize];
        let origin = Origin {
            start: span.start,
            service: span.service,
            name: span.name,
            failed: span.error,
        };
        partial.spans = partial.spans.saturating_add(1);
        partial.errors = partial.errors.saturating_add(u32::from(span.error));
        partial.max_end = partial.max_end.max(span.end);
        if partial.spans == 1 || span.start < partial.first.start {
            partial.first = origin;
        }
        if span.root && partial.root.is_none_or(|root| span.start < root.start) {
            partial.root = Some(origin);
        }
        let found = self
            .services
            .find(partial.services, |entry| entry.service == span.service);
        if let Some(entry) = found {
            entry.spans = entry.spans.saturating_add(1);
            entry.errors = entry.errors.saturating_add(u32::from(span.error));
        } else if partial.service_count < SERVICES_PER_TRACE_MAX {
            partial.service_count += 1;
            let entry = ServiceSpans {
                service: span.service,
                spans: 1,
                errors: u32::from(span.error),
            };
            partial.services = self.services.prepend(entry, partial.services);
        }
    }

    /// Notes that the trace in that slot went through a breaker.
    pub(crate) fn add_circuit(&mut self, slot: u32, circuit: Circuit) {
        let partial = &mut self.partials[slot as usize];
        let known = self.circuits.list(partial.circuits);
        let mut count = 0;
        for other in known {
            count += 1;
            if other == circuit {
                return;
            }
        }
        if count < CIRCUITS_PER_TRACE_MAX {
            partial.circuits = self.circuits.prepend(circuit, partial.circuits);
        }
    }

    pub(crate) fn services(&self, partial: &Partial) -> impl Iterator<Item = ServiceSpans> {
        self.services.list(partial.services)
    }

    /// Returns the breakers of a trace.
    pub(crate) fn circuits(&self, partial: &Partial) -> impl Iterator<Item = Circuit> {
        self.circuits.list(partial.circuits)
    }

    /// Returns the blocks that hold spans of a trace, earliest first.
    pub(crate) fn blocks(&self, partial: &Partial) -> Vec<u32> {
        let mut blocks: Vec<u32> = self.blocks.list(partial.blocks).collect();
        blocks.reverse();
        blocks
    }
}
