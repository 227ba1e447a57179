//! The footer section of names, resources, scopes and columns. Columns are few and most lists short; long
//! lists are skipped here and lent value by value (`lending`).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::block::PartStream;
use super::super::block::schema::Schema;
use super::super::dictionary::ValueList;
use super::super::limits::LIST_WHOLE_BYTES_MAX;
use super::super::lists::{List, ListSet};
use crate::store::bytes::put_bytes;

pub(super) fn encode(schema: &Schema, lists: &ListSet) -> Vec<u8> {
    let (mut out, mut part) = (Vec::new(), Vec::new());
    for list in List::TEXTS {
        part.clear();
        lists.get(list).encode_from(0, &mut part);
        put_bytes(&mut out, &part);
    }
    schema.encode(&mut out);
    out
}

/// The part of the section that readers keep.
#[derive(Debug, Default)]
pub(super) struct SchemaSection {
    pub(super) schema: Arc<Schema>,
    /// Its short lists.
    pub(super) texts: BTreeMap<List, Arc<ValueList>>,
}

impl SchemaSection {
    pub(super) fn read(section: &mut PartStream<'_>) -> Option<Self> {
        let texts = read_short(section, &List::TEXTS)?;
        let mut schema = Schema::default();
        for kind in Schema::PARTS {
            let length = usize::try_from(section.varint()?).ok()?;
            schema.absorb(kind, &section.take(length)?)?;
        }
        let schema = Arc::new(schema);
        section.is_at_end().then_some(Self { schema, texts })
    }

    pub(super) fn memory(&self) -> usize {
        let texts = self.texts.values().map(|list| list.memory());
        self.schema.memory() + texts.sum::<usize>()
    }
}

/// Reads the lists at the start of a section, skipping long ones.
pub(super) fn read_short(
    section: &mut PartStream<'_>,
    lists: &[List],
) -> Option<BTreeMap<List, Arc<ValueList>>> {
    let mut short = BTreeMap::new();
    for list in lists {
        let length = section.varint()?;
        if length > LIST_WHOLE_BYTES_MAX as u64 {
            section.skip(length)?;
            continue;
        }
        let mut values = ValueList::default();
        values.absorb(&section.take(length as usize)?)?;
        short.insert(*list, Arc::new(values));
    }
    Some(short)
}
