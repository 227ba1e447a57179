//! Zones: per-service summaries of runs of blocks, so that a search reads only blocks that may match.
//!
//! They also hold the segment's attribute keys with the types and the range of their numbers. An open segment
//! collects both, a sealed one has them in its footer; segments without them are searched block by block.

use std::collections::{BTreeMap, HashSet};

use super::super::block::attributes::{StoredResource, StoredScope};
use super::super::block::schema::{ColumnKind, Schema};
use super::super::dictionary::ValueList;
use super::super::limits::{ZONE_NAMES_MAX, ZONE_ROWS, ZONE_SERVICES_MAX};
use super::super::lists::{List, ListSet};
use super::tokens::{self, Tokens};
use crate::codec::otlp::AttributeView;
use crate::store::bytes::{Reader, put_bytes, put_varint};
use crate::store::hash::Seed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceRange {
    pub(crate) service: u32,
    /// Nanoseconds.
    pub(crate) min_duration: u64,
    pub(crate) max_duration: u64,
    /// A bit per status that occurs.
    pub(crate) statuses: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) blocks: u32,
    /// `None` if there are too many.
    pub(crate) services: Option<Vec<ServiceRange>>,
}

/// The span names of each zone; `None` if there are too many.
#[derive(Debug, Default)]
pub(crate) struct ZoneNames(pub(crate) Vec<Option<Vec<u32>>>);

/// Summary of an attribute key's values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct KeyValues {
    /// A bit per column type, and one for values that are not on spans.
    kinds: u8,
    /// Minimum and maximum.
    range: (f64, f64),
}

/// Zones and keys of a sealed segment.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    pub(crate) services: ValueList,
    /// In block order; empty if the segment has no zones.
    pub(crate) list: Vec<Zone>,
    /// Sorted by the hash of the key; `None` if not every attribute has a column.
    keys: Option<Vec<(u32, KeyValues)>>,
}

/// Types for which the range decides whether a number can occur.
const NUMBERS: u8 = 1 << ColumnKind::Int as u8 | 1 << ColumnKind::Double as u8;
/// `NUMBERS`, and types without numeric values.
const NO_TEXT: u8 = NUMBERS | 1 << ColumnKind::Bool as u8 | 1 << ColumnKind::Empty as u8;
/// Values on resources, events or links.
const ELSEWHERE: u8 = 1 << 7;
/// Types that may contain lists.
const LISTS: u8 = ELSEWHERE | 1 << ColumnKind::Encoded as u8;

/// The zones of an open segment; the last one is still growing.
#[derive(Debug)]
pub(crate) struct ZoneTable {
    list: Vec<Zone>,
    names: ZoneNames,
    rows: u64,
    current_names: HashSet<u32, Seed>,
    /// Index of the previous row's service in the last zone.
    last: usize,
}

impl ZoneTable {
    pub(super) fn new(seed: Seed) -> Self {
        Self {
            list: Vec::new(),
            names: ZoneNames::default(),
            rows: ZONE_ROWS,
            current_names: HashSet::with_hasher(seed),
            last: 0,
        }
    }

    /// Returns the zone of the block.
    pub(super) fn begin_block(&mut self, rows: usize) -> usize {
        if self.rows >= ZONE_ROWS {
            self.end_zone();
            self.rows = 0;
            self.list.push(Zone {
                blocks: 0,
                services: Some(Vec::new()),
            });
        }
        self.rows += rows as u64;
        if let Some(zone) = self.list.last_mut() {
            zone.blocks += 1;
        }
        self.list.len() - 1
    }

    pub(super) fn list(&self) -> &[Zone] {
        &self.list
    }

    #[inline]
    pub(super) fn add(&mut self, row: ServiceRange) {
        let Some(services) = self.list.last_mut().and_then(|zone| zone.services.as_mut()) else {
            return;
        };
        if services
            .get(self.last)
            .is_none_or(|s| s.service != row.service)
        {
            let found = services.iter().position(|s| s.service == row.service);
            self.last = found.unwrap_or(services.len());
        }
        if let Some(service) = services.get_mut(self.last) {
            service.min_duration = service.min_duration.min(row.min_duration);
            service.max_duration = service.max_duration.max(row.max_duration);
            service.statuses |= row.statuses;
        } else if services.len() < ZONE_SERVICES_MAX {
            services.push(row);
        } else if let Some(zone) = self.list.last_mut() {
            zone.services = None;
        }
    }

    pub(super) fn add_name(&mut self, name: u32) {
        if self.current_names.len() <= ZONE_NAMES_MAX {
            self.current_names.insert(name);
        }
    }

    fn end_zone(&mut self) {
        if !self.list.is_empty() {
            self.names.0.push(listed(&self.current_names));
        }
        self.current_names.clear();
    }

    pub(super) fn encode_names(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let last = listed(&self.current_names);
        put_varint(&mut out, self.list.len() as u64);
        for names in self.names.0.iter().chain([&last]).take(self.list.len()) {
            put_varint(
                &mut out,
                names.as_ref().map_or(0, |names| names.len() as u64 + 1),
            );
            let mut before = 0;
            for &name in names.iter().flatten() {
                put_varint(&mut out, u64::from(name - before));
                before = name;
            }
        }
        out
    }
}

/// Returns sorted names; `None` if there are too many.
fn listed(names: &HashSet<u32, Seed>) -> Option<Vec<u32>> {
    let mut list: Vec<u32> = names.iter().copied().collect();
    list.sort_unstable();
    (list.len() <= ZONE_NAMES_MAX).then_some(list)
}

impl ZoneNames {
    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let mut zones = Vec::new();
        for _ in 0..reader.varint()? {
            let Some(count) = reader.varint()?.checked_sub(1) else {
                zones.push(None);
                continue;
            };
            let mut names = Vec::new();
            let mut name = 0u32;
            for _ in 0..count {
                name = name.checked_add(reader.varint_u32()?)?;
                names.push(name);
            }
            zones.push(Some(names));
        }
        reader.is_empty().then_some(Self(zones))
    }

    pub(crate) fn memory(&self) -> usize {
        self.0
            .iter()
            .map(|names| 24 + names.as_ref().map_or(0, |n| n.len() * 4))
            .sum()
    }
}

impl Zones {
    /// Encodes the zones of an open segment, and its keys if every attribute has a column.
    pub(super) fn encode(
        services: &ValueList,
        zones: &[Zone],
        columns: Option<(&Schema, &ListSet, &Tokens)>,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let mut names = Vec::new();
        services.encode_from(0, &mut names);
        put_bytes(&mut out, &names);
        out.push(u8::from(columns.is_some()));
        if let Some((schema, lists, tokens)) = columns {
            encode_keys(&keys(schema, lists, tokens), &mut out);
        }
        put_varint(&mut out, zones.len() as u64);
        for zone in zones {
            put_varint(&mut out, u64::from(zone.blocks));
            put_varint(
                &mut out,
                zone.services
                    .as_ref()
                    .map_or(0, |list| list.len() as u64 + 1),
            );
            for range in zone.services.iter().flatten() {
                put_varint(&mut out, u64::from(range.service));
                put_varint(&mut out, range.min_duration);
                put_varint(&mut out, range.max_duration - range.min_duration);
                put_varint(&mut out, u64::from(range.statuses));
            }
        }
        out
    }

    pub(crate) fn decode(encoded: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(encoded);
        let mut zones = Self::default();
        zones.services.absorb(reader.bytes()?)?;
        if reader.byte()? != 0 {
            zones.keys = Some(decode_keys(&mut reader)?);
        }
        for _ in 0..reader.varint()? {
            let blocks = reader.varint_u32()?;
            let services = match reader.varint()?.checked_sub(1) {
                None => None,
                Some(count) => {
                    let range = |_| decode_range(&mut reader);
                    Some((0..count).map(range).collect::<Option<_>>()?)
                }
            };
            zones.list.push(Zone { blocks, services });
        }
        reader.is_empty().then_some(zones)
    }

    pub(crate) fn memory(&self) -> usize {
        let services = |zone: &Zone| zone.services.as_ref().map_or(0, Vec::len);
        let zones = self.list.iter().map(|zone| 32 + services(zone) * 24);
        let keys = self.keys.as_ref().map_or(0, |keys| keys.len() * 32);
        self.services.memory() + keys + zones.sum::<usize>()
    }

    /// Returns the summary of an attribute key: `None` if unknown, `Some(None)` if the segment does not have
    /// the key.
    pub(crate) fn key(&self, key: &str) -> Option<Option<KeyValues>> {
        let keys = self.keys.as_ref()?;
        let hash = tokens::key_hash(key.as_bytes()) as u32;
        let found = keys.binary_search_by_key(&hash, |(hash, _)| *hash);
        Some(found.ok().map(|at| keys[at].1))
    }
}

impl KeyValues {
    /// Returns minimum and maximum; `None` if numeric text is possible.
    pub(crate) fn numbers(&self) -> Option<(f64, f64)> {
        (self.kinds & !NO_TEXT == 0).then_some(self.range)
    }

    pub(crate) fn may_be_lists(&self) -> bool {
        self.kinds & LISTS != 0
    }

    fn join(&mut self, other: Self) {
        self.kinds |= other.kinds;
        self.range.0 = self.range.0.min(other.range.0);
        self.range.1 = self.range.1.max(other.range.1);
    }
}

/// Collects the keys of a segment by hash.
fn keys(schema: &Schema, lists: &ListSet, found: &Tokens) -> BTreeMap<u32, KeyValues> {
    const NO_NUMBER: (f64, f64) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut keys: BTreeMap<u32, KeyValues> = BTreeMap::new();
    let mut add = |hash: u64, kinds: u8, range| {
        let values = KeyValues { kinds, range };
        let entry = keys.entry(hash as u32);
        entry
            .and_modify(|known| known.join(values))
            .or_insert(values);
    };
    for (id, column) in schema.columns.iter().enumerate() {
        if let Some(kind) = column.kind {
            let hash = tokens::key_hash(schema.keys.get(column.key));
            let range = found.range(id).unwrap_or(NO_NUMBER);
            add(hash, 1 << kind as u8, range);
        }
    }
    let mut add_elsewhere = |attributes: &[AttributeView<'_>]| {
        for attribute in attributes {
            let hash = tokens::key_hash(attribute.key.as_bytes());
            add(hash, ELSEWHERE, NO_NUMBER);
        }
    };
    for encoded in lists.get(List::Resources).iter() {
        add_elsewhere(StoredResource::decode(encoded).view().attributes);
    }
    for encoded in lists.get(List::Scopes).iter() {
        add_elsewhere(StoredScope::decode(encoded).view().attributes);
    }
    for hash in found.item_keys() {
        add(hash, ELSEWHERE, NO_NUMBER);
    }
    keys
}

fn encode_keys(keys: &BTreeMap<u32, KeyValues>, out: &mut Vec<u8>) {
    put_varint(out, keys.len() as u64);
    for (hash, values) in keys {
        out.extend_from_slice(&hash.to_le_bytes());
        out.push(values.kinds);
        if values.kinds & NUMBERS != 0 {
            out.extend_from_slice(&values.range.0.to_bits().to_le_bytes());
            out.extend_from_slice(&values.range.1.to_bits().to_le_bytes());
        }
    }
}

fn decode_keys(reader: &mut Reader<'_>) -> Option<Vec<(u32, KeyValues)>> {
    let mut keys = Vec::new();
    for _ in 0..reader.varint()? {
        let hash = reader.fixed_u32()?;
        let kinds = reader.byte()?;
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        if kinds & NUMBERS != 0 {
            range = (
                f64::from_bits(reader.fixed_u64()?),
                f64::from_bits(reader.fixed_u64()?),
            );
        }
        keys.push((hash, KeyValues { kinds, range }));
    }
    keys.is_sorted_by_key(|(hash, _)| *hash).then_some(keys)
}

fn decode_range(reader: &mut Reader<'_>) -> Option<ServiceRange> {
    let service = reader.varint_u32()?;
    let min_duration = reader.varint()?;
    Some(ServiceRange {
        service,
        min_duration,
        max_duration: min_duration.checked_add(reader.varint()?)?,
        statuses: reader.varint_u32()? as u16,
    })
}
