//! The lists that a segment's numbers refer to, as a reader gets them: whole where they are short, otherwise those of
//! their values that it needs.
//!
//! `segment::lending` takes them from memory or from a footer; `block::rows` turns numbers into texts by them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dictionary::ValueList;
use crate::store::StoreError;

/// A list of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    /// Names of spans.
    Names,
    /// Resources, encoded.
    Resources,
    /// Scopes, encoded.
    Scopes,
    /// Names of services; of a sealed segment, as the marks.
    Services,
    /// Breaker marks.
    Marks,
    /// Values of that dictionary column.
    Values(u32),
}

impl List {
    /// Those that stand before the columns in a footer, in their order.
    pub(crate) const TEXTS: [Self; 3] = [Self::Names, Self::Resources, Self::Scopes];
    /// Those that stand before the operations in a footer, in their order.
    pub(crate) const OF_SERVICES: [Self; 2] = [Self::Services, Self::Marks];
}

/// The lists of a segment that grows; one is copied when it grows while a reader holds it.
#[derive(Debug, Default)]
pub(crate) struct ListSet {
    lists: BTreeMap<List, Arc<ValueList>>,
    empty: Arc<ValueList>,
}

impl ListSet {
    /// Appends what a block brings; `None` when it does not fit what came before.
    pub(crate) fn absorb(&mut self, list: List, encoded: &[u8]) -> Option<()> {
        Arc::make_mut(self.lists.entry(list).or_default()).absorb(encoded)
    }

    /// Returns a list; empty where there is none.
    pub(crate) fn get(&self, list: List) -> &Arc<ValueList> {
        self.lists.get(&list).unwrap_or(&self.empty)
    }

    /// Returns the values of each dictionary column.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (u32, &ValueList)> {
        self.lists.iter().filter_map(|(list, values)| match list {
            List::Values(column) => Some((*column, &**values)),
            _ => None,
        })
    }

    /// Returns the memory of the longest.
    pub(crate) fn longest(&self) -> usize {
        let memory = self.lists.values().map(|list| list.memory());
        memory.max().unwrap_or_default()
    }
}

/// Values of a list by their numbers.
#[derive(Debug, Clone)]
pub(crate) enum Lent {
    /// All of them.
    Whole(Arc<ValueList>),
    /// Those that were asked for.
    Picked(Arc<Picked>),
}

impl Lent {
    /// Returns a value; empty where a damaged block took it away.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> &[u8] {
        match self {
            Self::Whole(values) => values.get(number),
            Self::Picked(picked) => picked.get(number),
        }
    }

    /// Returns a value that is a text.
    pub(crate) fn text(&self, number: u32) -> &str {
        std::str::from_utf8(self.get(number)).unwrap_or_default()
    }

    /// Returns whether something of a value is missing because memory is bounded.
    pub(crate) fn is_cut(&self, number: u32) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Picked(picked) => picked.is_cut(number),
        }
    }
}

impl Default for Lent {
    fn default() -> Self {
        Self::Whole(Arc::default())
    }
}

/// Some values of a list.
#[derive(Debug, Default)]
pub(crate) struct Picked {
    /// Their numbers, ascending.
    numbers: Vec<u32>,
    values: ValueList,
    is_cut: Vec<bool>,
}

impl Picked {
    /// Adds a value behind the others, whole or cut.
    pub(crate) fn push(&mut self, number: u32, value: &[u8], is_cut: bool) {
        self.numbers.push(number);
        self.values.push(value);
        self.is_cut.push(is_cut);
    }

    fn get(&self, number: u32) -> &[u8] {
        let place = self.numbers.binary_search(&number);
        place.map_or(&[], |place| self.values.get(place as u32))
    }

    fn is_cut(&self, number: u32) -> bool {
        let place = self.numbers.binary_search(&number);
        place.is_ok_and(|place| self.is_cut[place])
    }
}

/// Lends the lists of a segment.
pub(crate) trait Lists {
    /// Returns those values of a list, or all of it; the numbers may repeat and be in any order.
    fn lend(&self, list: List, numbers: &[u64]) -> Result<Lent, StoreError>;
}
