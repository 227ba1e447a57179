//! Interns texts and caches a value for each: a hit costs a lookup and no allocation.

use std::collections::HashMap;

use crate::store::hash::Seed;

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
    /// Returns the number of a text; `make` gives the value of a new one.
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

    #[inline]
    pub(super) fn value(&self, number: u32) -> &V {
        &self.values[number as usize]
    }

    #[inline]
    pub(super) fn value_mut(&mut self, number: u32) -> &mut V {
        &mut self.values[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.values.clear();
    }
}
