//! What one segment knows of each trace without reading its spans: enough for a row of a list, and where its
//! spans are.
//!
//! A trace is scattered over shards and segments, so a summary is partial; `merge` combines them to rows.
//! `TraceTable` belongs to the open segment and is filled at each commit; `segment::traces` writes and reads
//! it sealed.

use std::collections::HashMap;

use super::limits::{CIRCUITS_PER_TRACE_MAX, SERVICES_PER_TRACE_MAX};
use crate::store::hash::Seed;

const END: u32 = u32::MAX;

/// A span that may name a trace: the root or the earliest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) start: u64,
    /// Number in the segment's list of services.
    pub(crate) service: u32,
    /// Number in the segment's list of names.
    pub(crate) name: u32,
    pub(crate) failed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Partial {
    pub(crate) id: u128,
    pub(crate) max_end: u64,
    pub(crate) spans: u32,
    pub(crate) errors: u32,
    /// The earliest span without a parent.
    pub(crate) root: Option<Origin>,
    pub(crate) first: Origin,
    services: u32,
    service_count: u16,
    circuits: u32,
    blocks: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ServiceSpans {
    pub(crate) service: u32,
    pub(crate) spans: u32,
    pub(crate) errors: u32,
}

/// A breaker that spans of a trace passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circuit {
    pub(crate) service: u32,
    pub(crate) mark: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanFacts {
    pub(crate) start: u64,
    /// Not before the start.
    pub(crate) end: u64,
    pub(crate) error: bool,
    pub(crate) root: bool,
    pub(crate) service: u32,
    pub(crate) name: u32,
}

/// Linked lists in one shared vector, so that no trace allocates.
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

    /// Adds an entry at the front of a list and returns the new head.
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

#[derive(Debug)]
pub(crate) struct TraceTable {
    slots: HashMap<u128, u32, Seed>,
    partials: Vec<Partial>,
    services: Pool<ServiceSpans>,
    circuits: Pool<Circuit>,
    blocks: Pool<u32>,
}

impl TraceTable {
    pub(crate) fn new(seed: Seed) -> Self {
        Self {
            slots: HashMap::with_hasher(seed),
            partials: Vec::new(),
            services: Pool::new(),
            circuits: Pool::new(),
            blocks: Pool::new(),
        }
    }

    /// Traces in the order in which they were first seen.
    pub(crate) fn partials(&self) -> &[Partial] {
        &self.partials
    }

    pub(crate) fn get(&self, id: u128) -> Option<&Partial> {
        let slot = *self.slots.get(&id)?;
        self.partials.get(slot as usize)
    }

    /// Notes that a block has spans of a trace; returns the trace's slot.
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

    pub(crate) fn circuits(&self, partial: &Partial) -> impl Iterator<Item = Circuit> {
        self.circuits.list(partial.circuits)
    }

    /// Returns the blocks with spans of a trace, earliest first.
    pub(crate) fn blocks(&self, partial: &Partial) -> Vec<u32> {
        let mut blocks: Vec<u32> = self.blocks.list(partial.blocks).collect();
        blocks.reverse();
        blocks
    }
}
