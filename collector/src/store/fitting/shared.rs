//! The resources and scopes of a trace, which many spans share: each is stored and counted once. Their total
//! memory is bounded as well; beyond it, or once spans are kept without details, only their names are kept.

use std::sync::Arc;

use super::{UNIT_BYTES, cut_pairs, heap, mark, pairs_bytes};
use crate::model::{EntityRef, Resource, Scope, Value};

/// A new resource or scope is compared with at most this many: a trace normally has few, and many must not
/// cost quadratic time.
const COMPARED_MAX: usize = 256;

pub(super) trait Shared: PartialEq + Sized {
    fn attributes(&mut self) -> &mut Vec<(String, Value)>;

    /// Memory of its texts and lists, bytes.
    fn heap_bytes(&self) -> usize;

    /// Keeps only its names; returns whether there was more.
    fn strip(&mut self) -> bool;

    /// Memory behind an `Arc`, bytes; the two reference counts take one unit.
    fn bytes(&self) -> usize {
        UNIT_BYTES + heap(size_of::<Self>()) + self.heap_bytes()
    }
}

impl Shared for Resource {
    fn attributes(&mut self) -> &mut Vec<(String, Value)> {
        &mut self.attributes
    }

    fn heap_bytes(&self) -> usize {
        texts_bytes(&[&self.service_name, &self.instance_id, &self.schema_url])
            + pairs_bytes(&self.attributes)
            + self.entities.iter().map(entity_bytes).sum::<usize>()
    }

    fn strip(&mut self) -> bool {
        let is_bare = self.attributes.is_empty() && self.entities.is_empty();
        let had_more = !is_bare || !self.schema_url.is_empty();
        self.attributes = Vec::new();
        self.entities = Vec::new();
        self.schema_url = String::new();
        had_more
    }
}

impl Shared for Scope {
    fn attributes(&mut self) -> &mut Vec<(String, Value)> {
        &mut self.attributes
    }

    fn heap_bytes(&self) -> usize {
        texts_bytes(&[&self.name, &self.version, &self.schema_url]) + pairs_bytes(&self.attributes)
    }

    fn strip(&mut self) -> bool {
        let had_more = !self.attributes.is_empty() || !self.schema_url.is_empty();
        self.attributes = Vec::new();
        self.schema_url = String::new();
        had_more
    }
}

#[derive(Debug)]
pub(super) struct Pool<T> {
    known: Vec<Arc<T>>,
    bytes: usize,
    bytes_max: usize,
}

impl<T: Shared> Pool<T> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            known: Vec::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the shared copy of a value, its texts cut to `text_bytes` (`None` drops details).
    pub(super) fn share(&mut self, mut value: T, text_bytes: Option<usize>) -> Arc<T> {
        if let Some(found) = self.find(&value) {
            return found;
        }
        let mut is_cut =
            text_bytes.is_some_and(|text_bytes| cut_pairs(value.attributes(), text_bytes));
        if text_bytes.is_none() || self.bytes + value.bytes() > self.bytes_max {
            is_cut |= value.strip();
        }
        if is_cut {
            mark(value.attributes());
            if let Some(found) = self.find(&value) {
                return found;
            }
        }
        self.bytes += value.bytes() + size_of::<Arc<T>>();
        let value = Arc::new(value);
        self.known.push(Arc::clone(&value));
        value
    }

    fn find(&self, value: &T) -> Option<Arc<T>> {
        let mut recent = self.known.iter().rev().take(COMPARED_MAX);
        recent.find(|known| ***known == *value).cloned()
    }
}

/// Sums the memory of distinct values; adjacent spans mostly share one.
pub(super) fn distinct_bytes<'a, T: Shared + 'a>(
    values: impl Iterator<Item = &'a Arc<T>>,
) -> usize {
    let mut values: Vec<&Arc<T>> = values.collect();
    values.sort_unstable_by_key(|value| Arc::as_ptr(value));
    values.dedup_by(|a, b| Arc::ptr_eq(a, b));
    values.into_iter().map(|value| value.bytes()).sum()
}

fn texts_bytes(texts: &[&String]) -> usize {
    texts.iter().map(|text| heap(text.len())).sum()
}

/// Approximate memory of an entity's key list: 24 bytes per key, with spare capacity.
fn entity_bytes(entity: &EntityRef) -> usize {
    let keys = |keys: &Vec<String>| {
        let texts: usize = keys.iter().map(|key| heap(key.len())).sum();
        heap(keys.capacity() * size_of::<String>()) + texts
    };
    size_of::<EntityRef>()
        + texts_bytes(&[&entity.schema_url, &entity.kind])
        + keys(&entity.id_keys)
        + keys(&entity.description_keys)
}
