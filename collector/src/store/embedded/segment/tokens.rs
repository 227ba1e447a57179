//! Tokens: hashes of everything that an exact search can ask for, collected while a segment is open and
//! stored as its filter.
//!
//! A token stands for an attribute (key and formatted value, anywhere in the span) or a span name. Dictionary
//! texts, names and resources are added at sealing, without a zone; values that only blocks hold are collected at
//! each commit, with the zone of the block.

use std::borrow::Cow;
use std::collections::HashSet;

use super::super::block::attributes::{StoredResource, StoredScope};
use super::super::block::schema::{ColumnKind, Schema};
use super::super::block::{BlockValues, ColumnValues, unpack};
use super::super::limits::VALUE_TOKENS_MAX;
use super::super::lists::{List, ListSet};
use super::super::place_filter::{EVERYWHERE, at};
use crate::codec::otlp::decode::{event_attributes, link_attributes, value_of_view};
use crate::codec::otlp::{AttributeView, ValueView};
use crate::store::hash::Seed;

/// Seeds of the two kinds of tokens. The numbers are part of the file format.
const ATTRIBUTES: Seed = Seed::fixed(1);
const NAMES: Seed = Seed::fixed(2);
/// Tokens remembered so that those which repeat in a zone are noted once: a power of two. The spans of a trace come
/// in several requests, thousands of spans apart.
const RECENT_TOKENS: usize = if cfg!(test) { 4_096 } else { 65_536 };
/// Numbers remembered so that those which repeat are printed once.
const RECENT_NUMBERS: usize = 4_096;

pub(crate) fn of_key(key: &[u8]) -> Seed {
    Seed::fixed(ATTRIBUTES.hash(key))
}

pub(crate) fn of_attribute(key: &str, text: &str) -> u64 {
    of_key(key.as_bytes()).hash(text.as_bytes())
}

pub(crate) fn of_name(name: &[u8]) -> u64 {
    NAMES.hash(name)
}

/// The values of an open segment that are only in its blocks.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Each with its zone (`place_filter::at`).
    list: Vec<u64>,
    zone: u8,
    recent: Box<[u64]>,
    recent_numbers: Box<[u64]>,
    /// Minimum and maximum of each numeric column.
    ranges: Vec<Option<(f64, f64)>>,
    /// Hashes of keys on events and links.
    item_keys: HashSet<u64, Seed>,
}

impl Tokens {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            list: Vec::new(),
            zone: 0,
            recent: nothing_recent(RECENT_TOKENS),
            recent_numbers: nothing_recent(RECENT_NUMBERS),
            ranges: Vec::new(),
            item_keys: HashSet::with_hasher(seed),
        }
    }

    /// Minimum and maximum of a column.
    pub(super) fn range(&self, column: usize) -> Option<(f64, f64)> {
        self.ranges.get(column).copied().flatten()
    }

    pub(super) fn item_keys(&self) -> impl Iterator<Item = u64> {
        self.item_keys.iter().copied()
    }

    /// Adds the values of a block in that zone; zones ascend.
    pub(super) fn add_block(&mut self, zone: usize, values: &BlockValues<'_>, schema: &Schema) {
        let zone = u8::try_from(zone).unwrap_or(EVERYWHERE);
        if zone != self.zone {
            self.zone = zone;
            forget(&mut self.recent);
            forget(&mut self.recent_numbers);
        }
        for (column, values) in &values.columns {
            let def = schema.columns.get(*column as usize);
            if let Some(def) = def.filter(|def| def.kind.is_some()) {
                let key = of_key(schema.keys.get(def.key));
                self.add_column(*column as usize, key, values);
            }
        }
        for (_, joined) in values.events.iter() {
            unpack(joined).for_each(|event| self.add_items(event_attributes(event)));
        }
        for (_, joined) in values.links.iter() {
            unpack(joined).for_each(|link| self.add_items(link_attributes(link)));
        }
    }

    fn add_column(&mut self, column: usize, key: Seed, values: &ColumnValues<'_>) {
        match values {
            ColumnValues::Texts(texts) => {
                (0..texts.len()).for_each(|at| self.add(key.hash(texts.get(at))));
            }
            ColumnValues::Encoded(blobs) => {
                let encoded = (0..blobs.len()).map(|at| ValueView::Encoded(blobs.get(at)));
                encoded.for_each(|value| self.add(key.hash(&text_of(&value))));
            }
            ColumnValues::Ints(ints) => {
                self.widen(column, ints.iter().map(|&int| int as f64));
                for &int in ints.iter() {
                    self.add_number(int as u64, 0, key, |add| {
                        add(itoa::Buffer::new().format(int).as_bytes());
                    });
                }
            }
            ColumnValues::Doubles(doubles) => {
                self.widen(column, doubles.iter().copied());
                for &double in doubles.iter() {
                    self.add_number(double.to_bits(), 1, key, |add| {
                        add(double.to_string().as_bytes());
                    });
                }
            }
            ColumnValues::Bools(bools) => {
                for truth in [false, true] {
                    if bools.contains(&truth) {
                        self.add(key.hash(truth.to_string().as_bytes()));
                    }
                }
            }
        }
    }

    /// Adds a number unless the same type and bits were seen recently; `print` formats it.
    #[inline]
    fn add_number(
        &mut self,
        bits: u64,
        of_type: u8,
        key: Seed,
        print: impl FnOnce(&mut dyn FnMut(&[u8])),
    ) {
        // An integer may have the same bits as a double.
        let mut typed = [of_type; 9];
        typed[1..].copy_from_slice(&bits.to_le_bytes());
        let mark = key.hash(&typed);
        let slot = &mut self.recent_numbers[mark as usize % RECENT_NUMBERS];
        if std::mem::replace(slot, mark) != mark {
            print(&mut |text| self.add(key.hash(text)));
        }
    }

    fn widen(&mut self, column: usize, numbers: impl Iterator<Item = f64>) {
        if self.ranges.len() <= column {
            self.ranges.resize(column + 1, None);
        }
        let range = &mut self.ranges[column];
        for number in numbers {
            let (min, max) = range.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
            *range = Some((min.min(number), max.max(number)));
        }
    }

    fn add_items<'a>(&mut self, attributes: impl Iterator<Item = AttributeView<'a>>) {
        for attribute in attributes {
            self.item_keys.insert(key_hash(attribute.key.as_bytes()));
            let key = of_key(attribute.key.as_bytes());
            self.add(key.hash(&text_of(&attribute.value)));
        }
    }

    #[inline]
    fn add(&mut self, token: u64) {
        let slot = &mut self.recent[token as usize % RECENT_TOKENS];
        if std::mem::replace(slot, token) != token && self.list.len() <= VALUE_TOKENS_MAX {
            self.list.push(at(token, self.zone));
        }
    }

    /// Returns every token of a segment with its zone; `None` if there are too many for a filter.
    pub(super) fn all(&self, schema: &Schema, lists: &ListSet) -> Option<Vec<u64>> {
        let mut tokens: Vec<u64> = lists.get(List::Names).iter().map(of_name).collect();
        for (column, values) in lists.columns() {
            if let Some(def) = schema.columns.get(column as usize) {
                let key = of_key(schema.keys.get(def.key));
                tokens.extend(values.iter().map(|text| key.hash(text)));
            }
        }
        for column in &schema.columns {
            if column.kind == Some(ColumnKind::Empty) {
                tokens.push(of_key(schema.keys.get(column.key)).hash(b""));
            }
        }
        let of_view = |attribute: &AttributeView<'_>| {
            of_key(attribute.key.as_bytes()).hash(&text_of(&attribute.value))
        };
        for encoded in lists.get(List::Resources).iter() {
            let resource = StoredResource::decode(encoded);
            tokens.extend(resource.view().attributes.iter().map(of_view));
        }
        for encoded in lists.get(List::Scopes).iter() {
            let scope = StoredScope::decode(encoded);
            tokens.extend(scope.view().attributes.iter().map(of_view));
        }
        let anywhere = tokens.into_iter().map(|token| at(token, EVERYWHERE));
        let all: Vec<u64> = self.list.iter().copied().chain(anywhere).collect();
        (all.len() <= VALUE_TOKENS_MAX).then_some(all)
    }
}

fn nothing_recent(length: usize) -> Box<[u64]> {
    let mut table = vec![0; length].into_boxed_slice();
    forget(&mut table);
    table
}

/// Empties a table: no entry is at the place where it would be looked up.
fn forget(table: &mut [u64]) {
    table
        .iter_mut()
        .zip(1..)
        .for_each(|(entry, other)| *entry = other);
}

pub(crate) fn key_hash(key: &[u8]) -> u64 {
    ATTRIBUTES.hash(key)
}

fn text_of<'a>(value: &ValueView<'a>) -> Cow<'a, [u8]> {
    match *value {
        ValueView::String(text) => Cow::Borrowed(text.as_bytes()),
        value => Cow::Owned(value_of_view(&value).to_string().into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// *Guarantees*: files of one release are readable by the next.
    #[test]
    fn tokens_are_a_file_format() {
        assert_eq!(of_attribute("k", "v"), 0x38e0_57b5_4398_ec33);
        assert_eq!(of_name(b"GET /"), 0xc890_8524_81f1_a466);
    }
}
