//! The name, the counts and the listeners of every policy.

use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use tracing::{Span, field};

use super::event::{Event, EventKind, Kind, Listeners};
use super::snapshot::Snapshot;
use crate::isolated::PanicWatch;
use crate::name::Name;
use crate::semconv::{ERROR_TYPE, POLICY_EVENT};
use crate::sharded::Sharded;
use crate::sharded::counter::Counter;

/// The identity and the counts of a policy.
#[derive(Debug)]
pub(super) struct Instrument {
    pub(super) kind: Kind,
    pub(super) name: Name,
    created: SystemTime,
    counts: Sharded<Counts>,
    listeners: Arc<Listeners>,
    /// Guards of the two warnings that would otherwise be repeated.
    pub(super) conflict: Once,
    pub(super) beyond_deadline: Once,
}

/// The events that one thread has counted, aligned so that the adjacent-line prefetcher does not share them with the next
/// one's.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Counts([Counter; EventKind::ALL.len()]);

impl Instrument {
    pub(super) fn new(kind: Kind, name: Name, listeners: Arc<Listeners>) -> Self {
        Self {
            kind,
            name,
            created: SystemTime::now(),
            counts: Sharded::new(),
            listeners,
            conflict: Once::new(),
            beyond_deadline: Once::new(),
        }
    }

    /// Counts an event of a policy without attempts.
    #[inline]
    pub(super) fn note(&self, kind: EventKind, wait: Duration) {
        self.note_attempt(kind, 0, wait);
    }

    /// Counts an event and notifies the listeners.
    #[inline]
    pub(super) fn note_attempt(&self, kind: EventKind, attempt: u32, wait: Duration) {
        self.counts.write(|counts| counts.0[kind.index()].add(1));
        self.listeners.notify(|| Event {
            policy: self.kind,
            name: self.name.clone(),
            kind,
            attempt,
            wait,
        });
    }

    /// Returns the counts, without the figures that only the policy itself has.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            policy: self.kind,
            name: self.name.clone(),
            created: self.created,
            counts: std::array::from_fn(|at| self.counts.sum(|counts| counts.0[at].get())),
            available: None,
            limit: None,
            waiting: None,
        }
    }

    /// Opens a span for an action of a policy: a wait, a refusal, or an attempt after the first.
    pub(super) fn span(&self, attempt: Option<u32>) -> Span {
        tracing::info_span!(
            target: "fusebox",
            "policy",
            otel.name = format!("{} {}", self.kind.noun(), self.name),
            otel.status_code = field::Empty,
            resilience.policy.kind = self.kind.as_str(),
            resilience.policy.name = &*self.name,
            resilience.policy.event = field::Empty,
            resilience.attempt = attempt.map(i64::from),
            error.type = field::Empty,
        )
    }
}

/// Records the outcome in a span.
pub(super) fn record(span: &Span, event: EventKind) {
    span.record(POLICY_EVENT, event.as_str());
}

/// As [`record`], for an error.
pub(super) fn record_error(span: &Span, event: EventKind, error_type: &str) {
    record(span, event);
    span.record(ERROR_TYPE, error_type);
    span.record("otel.status_code", "ERROR");
}

/// A running call. If it is dropped before its end, it counts as cancelled, or as panicked if a panic drops it.
#[derive(Debug)]
pub(super) struct Running<'a> {
    pub(super) instrument: &'a Instrument,
    pub(super) attempt: u32,
    ended: bool,
    watch: PanicWatch,
}

impl<'a> Running<'a> {
    #[inline]
    pub(super) fn start(instrument: &'a Instrument, attempt: u32) -> Self {
        Self {
            instrument,
            attempt,
            ended: false,
            watch: PanicWatch::start(),
        }
    }

    /// Records how the call ended.
    #[inline]
    pub(super) fn end(&mut self, event: EventKind, wait: Duration) {
        self.ended = true;
        self.instrument.note_attempt(event, self.attempt, wait);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let event = match self.watch.panics() {
            true => EventKind::Panicked,
            false => EventKind::Cancelled,
        };
        self.end(event, Duration::ZERO);
    }
}
