//! Which spans with the same id are parts of one span: a sender may report a span when it begins and again
//! when it ends. Used for traces, which show the merged span, and for search lists, which count it once.

use std::collections::{BTreeSet, HashMap};

use crate::model::SpanKind;
use crate::store::content::Key;

const KINDS: usize = 6;

/// Places of the complete spans with one id, by sender and kind.
#[derive(Debug, Default)]
pub(crate) struct Wholes {
    places: HashMap<Key, [BTreeSet<usize>; KINDS]>,
}

impl Wholes {
    pub(crate) fn add(&mut self, sender: Key, kind: SpanKind, place: usize) {
        let kinds = self.places.entry(sender).or_default();
        kinds[number(kind)].insert(place);
    }

    /// Finds the first span that an unfinished one may be part of: same sender, and same kind where both have
    /// one. A span without a kind takes that of the part.
    pub(crate) fn find(&mut self, sender: Key, kind: SpanKind) -> Option<usize> {
        let kinds = self.places.get_mut(&sender)?;
        let first = |kind: usize| kinds[kind].first().copied();
        let (own, unsaid) = (number(kind), number(SpanKind::Unspecified));
        let place = match kind {
            SpanKind::Unspecified => (0..KINDS).filter_map(first).min()?,
            _ => [own, unsaid].into_iter().filter_map(first).min()?,
        };
        if kinds[unsaid].remove(&place) {
            kinds[own].insert(place);
        }
        Some(place)
    }
}

pub(crate) fn sender(service: &str, instance: &str) -> Key {
    Key::of(&(service, instance))
}

/// Rank of a kind among spans that start at the same time: callers before callees.
pub(crate) fn rank(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Server => 6,
        other => other.as_otlp(),
    }
}

fn number(kind: SpanKind) -> usize {
    usize::from(kind.as_otlp())
}
