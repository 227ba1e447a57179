//! Which spans of one id are parts of one span: a sender may report a span when it begins and again when it ends. Says it
//! for traces, which show the whole, and for the lists of a search, which count it.

use std::collections::{BTreeSet, HashMap};

use crate::model::SpanKind;
use crate::store::content::Key;

/// How many kinds there are.
const KINDS: usize = 6;

/// The spans of one id that are not part of another, by sender and kind, each with its place.
#[derive(Debug, Default)]
pub(crate) struct Wholes {
    places: HashMap<Key, [BTreeSet<usize>; KINDS]>,
}

impl Wholes {
    /// Adds one.
    pub(crate) fn add(&mut self, sender: Key, kind: SpanKind, place: usize) {
        let kinds = self.places.entry(sender).or_default();
        kinds[number(kind)].insert(place);
    }

    /// Finds the first that a span without an end may be a part of: of the same sender, and of the same kind where both
    /// say. It has the part's kind from then on, if it had none.
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

/// Returns where a kind comes among spans that start at once: callers before those they call.
pub(crate) fn rank(kind: SpanKind) -> u8 {
    match kind {
        SpanKind::Server => 6,
        other => other.as_otlp(),
    }
}

fn number(kind: SpanKind) -> usize {
    usize::from(kind.as_otlp())
}
