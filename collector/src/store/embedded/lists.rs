//! The lists that a segment's numbers refer to, as readers get them: short lists whole, of long ones only the
//! needed values.
//!
//! `segment::lending` takes them from memory or from a footer; `block::rows` resolves numbers through them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dictionary::{LOST, ValueList};
use super::limits::LIST_ENTRIES_MAX;
use crate::store::StoreError;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum List {
    Names,
    /// Encoded.
    Resources,
    /// Encoded.
    Scopes,
    /// Service names; in sealed segments only, as `Marks`.
    Services,
    Marks,
    Values(u32),
}

impl List {
    /// The lists before the columns in a footer, in their order.
    pub(crate) const TEXTS: [Self; 3] = [Self::Names, Self::Resources, Self::Scopes];
    /// The lists before the operations in a footer, in their order.
    pub(crate) const OF_SERVICES: [Self; 2] = [Self::Services, Self::Marks];

    /// Returns the replacement of a value lost with a damaged block: for a resource or scope, one with the
    /// name `(lost)`.
    pub(crate) fn lost(self) -> &'static [u8] {
        match self {
            Self::Resources => b"\x06(lost)\0\0",
            Self::Scopes => b"\x06(lost)\0",
            _ => LOST,
        }
    }
}

/// The lists of an open segment; a list is copied if it grows while a reader holds it.
#[derive(Debug, Default)]
pub(crate) struct ListSet {
    lists: BTreeMap<List, Arc<ValueList>>,
    empty: Arc<ValueList>,
}

impl ListSet {
    /// Appends the values from a block; `None` if they do not continue the list.
    pub(crate) fn absorb(&mut self, list: List, encoded: &[u8]) -> Option<()> {
        Arc::make_mut(self.lists.entry(list).or_default()).absorb_behind(list.lost(), encoded)
    }

    /// Extends a list with lost values until it has that number, at most to the limit of entries.
    pub(crate) fn fill_up(&mut self, list: List, number: u32) {
        let length = (number as usize + 1).min(LIST_ENTRIES_MAX);
        if self.get(list).len() < length {
            Arc::make_mut(self.lists.entry(list).or_default()).fill_up(length, list.lost());
        }
    }

    pub(crate) fn get(&self, list: List) -> &Arc<ValueList> {
        self.lists.get(&list).unwrap_or(&self.empty)
    }

    pub(crate) fn columns(&self) -> impl Iterator<Item = (u32, &ValueList)> {
        self.lists.iter().filter_map(|(list, values)| match list {
            List::Values(column) => Some((*column, &**values)),
            _ => None,
        })
    }

    /// Memory of the longest list, bytes.
    pub(crate) fn longest(&self) -> usize {
        let memory = self.lists.values().map(|list| list.memory());
        memory.max().unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Lent {
    Whole(Arc<ValueList>),
    /// Only the requested values.
    Picked(Arc<Picked>),
}

impl Lent {
    /// Returns a value; empty if it was lost with a damaged block.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> &[u8] {
        match self {
            Self::Whole(values) => values.get(number),
            Self::Picked(picked) => picked.get(number),
        }
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        std::str::from_utf8(self.get(number)).unwrap_or_default()
    }

    /// Returns whether a value was cut to save memory.
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

#[derive(Debug, Default)]
pub(crate) struct Picked {
    /// Ascending.
    numbers: Vec<u32>,
    values: ValueList,
    is_cut: Vec<bool>,
}

impl Picked {
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

pub(crate) trait Lists {
    /// Returns at least the given values of a list; numbers may repeat and need not be sorted.
    fn lend(&self, list: List, numbers: &[u64]) -> Result<Lent, StoreError>;
}
