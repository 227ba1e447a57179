//! What is known of texts that come again and again, by number: a known one costs a look-up and no allocation.

use std::collections::HashMap;

use crate::store::hash::Seed;

/// Texts by number, each with what is known of it.
#[derive(Debug)]
pub(super) struct Table<V> {
    numbers: HashMap<Box<str>, u32, Seed>,
    values: Vec<V>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            numbers: HashMap::default(),
            values: Vec::new(),
        }
    }
}

impl<V> Table<V> {
    /// Returns the number of a text; what is known of a new one, `make` tells.
    #[inline]
    pub(super) fn number(&mut self, text: &str, make: impl FnOnce() -> V) -> u32 {
        match self.numbers.get(text) {
            Some(number) => *number,
            None => self.insert(text, make()),
        }
    }

    #[cold]
    fn insert(&mut self, text: &str, value: V) -> u32 {
        let number = u32::try_from(self.values.len()).expect("a block has fewer texts");
        self.numbers.insert(text.into(), number);
        self.values.push(value);
        number
    }

    /// Returns what is known of a text.
    #[inline]
    pub(super) fn value(&self, number: u32) -> &V {
        &self.values[number as usize]
    }

    /// Returns what is known of a text, to be changed.
    #[inline]
    pub(super) fn value_mut(&mut self, number: u32) -> &mut V {
        &mut self.values[number as usize]
    }

    /// Returns how many texts there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Forgets every text.
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.values.clear();
    }
}
