//! Spans that were sent twice: they have the same trace, id, kind, status, start and end. Traces are stored as received, so
//! whoever counts spans without reading traces must tell these apart.

use std::collections::HashMap;

use crate::model::{Span, UnixNanos};
use crate::store::hash::Seed;

/// Spans remembered at a time, 24 MiB: those between the earliest and the latest start of a few blocks.
const SEEN_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Repeats {
    seed: Seed,
    /// The start of each span, by its hash.
    seen: HashMap<u64, UnixNanos, Seed>,
    max: usize,
}

impl Default for Repeats {
    fn default() -> Self {
        Self {
            seed: Seed::random(),
            seen: HashMap::default(),
            max: SEEN_MAX,
        }
    }
}

impl Repeats {
    /// Forgets the spans that begin later than all that follow: their repeats have come. Returns whether there is room for
    /// more.
    pub(super) fn make_room(&mut self, latest: UnixNanos, more: usize) -> bool {
        if self.seen.len() + more > self.max {
            self.seen.retain(|_, start| *start <= latest);
        }
        self.seen.len() + more <= self.max
    }

    /// Returns whether a span comes for the first time.
    pub(super) fn is_new(&mut self, span: &Span) -> bool {
        let mut bytes = [0; 42];
        bytes[..16].copy_from_slice(&span.trace_id.to_bytes());
        bytes[16..24].copy_from_slice(&span.span_id.to_bytes());
        bytes[24..32].copy_from_slice(&span.start.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&span.end.get().to_le_bytes());
        bytes[40] = span.kind.as_otlp();
        bytes[41] = span.status.code.as_otlp();
        let key = self.seed.hash(&bytes);
        self.seen.insert(key, span.start).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::tests::support::span;

    #[test]
    fn spans_are_forgotten_once_their_repeats_have_come() {
        let mut repeats = Repeats {
            max: 4,
            ..Repeats::default()
        };
        let spans = [1, 2, 3].map(|id| span(id, 1, "shop"));
        assert!(spans.iter().all(|span| repeats.is_new(span)));
        assert!(spans.iter().all(|span| !repeats.is_new(span)));
        assert!(repeats.make_room(spans[2].start, 1));
        assert!(!repeats.make_room(spans[2].start, 2));
        assert!(repeats.make_room(spans[0].start - std::time::Duration::from_nanos(1), 2));
        assert!(repeats.is_new(&spans[1]));
    }
}
