//! A segment: one append-only file of blocks and its indexes.
//!
//! The indexes of an open segment are in memory, those of a sealed one in the footer of its file; `Segment`
//! hides the difference.

mod bloom;
mod cache;
mod filter;
mod footer;
mod layout;
mod lending;
mod piece;
mod reach;
pub(crate) mod recovery;
pub(crate) mod repair;
mod schema_section;
pub(crate) mod seal;
mod sealed;
mod services;
mod state;
pub(crate) mod tokens;
mod traces;
mod zones;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLockReadGuard};

use super::block::BlockMeta;
use super::block::schema::Schema;
use super::limits::{
    BLOOM_CACHE_BYTES, OPERATIONS_MAX, SECTION_CACHE_BYTES, SERVICES_MAX, ZONE_CACHE_BYTES,
};
use super::lists::{List, Lists};
use crate::store::StoreError;
use crate::sync::RwLock;
use cache::SectionCache;
pub(crate) use footer::Footer;
pub(crate) use lending::LongLists;
pub(crate) use piece::NamedPiece;
pub(crate) use reach::Reach;
pub(crate) use sealed::SealedSegment;
use sealed::open_file;
pub(crate) use state::{SegmentState, Totals};
use traces::Piece;
use zones::ZoneNames;
pub(crate) use zones::{ServiceRange, Zones};

/// First bytes of a segment file.
pub(crate) const FILE_MAGIC: [u8; 8] = *b"FUSEBOX1";

#[derive(Debug)]
pub(crate) struct Caches {
    sections: SectionCache,
    blooms: SectionCache,
    zones: SectionCache,
}

impl Caches {
    /// Evicts what no search used since the last call. Filters and zones are what every search over a week
    /// needs of all segments, so they stay while there are searches.
    pub(crate) fn sweep(&self) {
        self.sections.sweep();
        self.blooms.sweep();
        self.zones.sweep();
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            sections: SectionCache::new(SECTION_CACHE_BYTES),
            blooms: SectionCache::new(BLOOM_CACHE_BYTES),
            zones: SectionCache::new(ZONE_CACHE_BYTES),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Increases with every segment of the store, over all shards.
    pub(crate) sequence: u64,
    pub(crate) path: PathBuf,
}

/// Why a segment takes the place of another: the number in its name where others have their shard; no shard has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// The footer was damaged.
    Rebuilt = 9_998,
    /// Some of its traces are kept.
    Sampled = 9_999,
}

impl Place {
    /// Returns the number of the segment that this one takes the place of: it is in the file's name.
    pub(crate) fn replaces(&self) -> Option<u64> {
        self.part_of_name(2)
    }

    pub(crate) fn is_sampled(&self) -> bool {
        let shard = self.part_of_name(1);
        self.replaces().is_some() && shard == Some(Replacement::Sampled as u64)
    }

    fn part_of_name(&self, number: usize) -> Option<u64> {
        let name = self.path.file_stem()?.to_str()?;
        name.split('-').nth(number)?.parse().ok()
    }
}

/// A segment that still grows, or that could not be sealed.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) place: Place,
    file: Arc<File>,
    state: RwLock<SegmentState>,
    bytes: AtomicU64,
    /// No longer written although not sealed.
    abandoned: AtomicBool,
}

#[derive(Debug, Clone)]
pub(crate) enum Segment {
    Open(Arc<OpenSegment>),
    /// Immutable.
    Sealed(Arc<SealedSegment>),
}

impl OpenSegment {
    pub(crate) fn new(place: Place, file: Arc<File>, state: SegmentState, bytes: u64) -> Self {
        Self {
            place,
            file,
            state: RwLock::new(state),
            bytes: bytes.into(),
            abandoned: AtomicBool::new(false),
        }
    }

    /// Marks it as no longer written, so that retention may delete it.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Locks the state for a lookup; never held while a file is read.
    pub(crate) fn state(&self) -> RwLockReadGuard<'_, SegmentState> {
        self.state.read()
    }

    /// Changes the state when the shard adds a block.
    pub(crate) fn change(&self, bytes: u64, change: impl FnOnce(&mut SegmentState)) {
        change(&mut self.state.write());
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

impl Segment {
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Open(segment) => &segment.place,
            Self::Sealed(segment) => &segment.place,
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Open(segment) => segment.bytes.load(Ordering::Relaxed),
            Self::Sealed(segment) => segment.bytes,
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        match self {
            Self::Open(segment) => segment.state().totals,
            Self::Sealed(segment) => segment.footer.totals,
        }
    }

    pub(crate) fn blocks(&self) -> Arc<Vec<BlockMeta>> {
        match self {
            Self::Open(segment) => Arc::clone(&segment.state().blocks),
            Self::Sealed(segment) => Arc::clone(&segment.footer.blocks),
        }
    }

    /// Opens its file. A sealed file is opened for each read and closed afterwards, because there are many.
    pub(crate) fn file(&self) -> Result<Arc<File>, StoreError> {
        match self {
            Self::Open(segment) => Ok(Arc::clone(&segment.file)),
            Self::Sealed(segment) => Ok(Arc::new(open_file(&segment.place.path)?)),
        }
    }

    pub(crate) fn schema(&self) -> Result<Arc<Schema>, StoreError> {
        match self {
            Self::Open(segment) => Ok(Arc::clone(&segment.state().schema)),
            Self::Sealed(segment) => Ok(Arc::clone(&segment.schema_section()?.schema)),
        }
    }

    pub(crate) fn blocks_of(&self, id: u128) -> Result<Vec<u32>, StoreError> {
        match self {
            Self::Open(segment) => {
                let state = segment.state();
                let found = state.traces.get(id);
                Ok(found.map_or_else(Vec::new, |partial| state.traces.blocks(partial)))
            }
            Self::Sealed(segment) => {
                if !segment.may_contain(id as u64)? {
                    return Ok(Vec::new());
                }
                let index = segment.index()?;
                let found = index.find(id);
                Ok(found.map_or_else(Vec::new, |place| index.blocks(place).to_vec()))
            }
        }
    }

    /// Returns the summaries of those traces, each with its index in `ids`.
    pub(crate) fn pieces(&self, ids: &[u128]) -> Result<Vec<(usize, NamedPiece)>, StoreError> {
        match self {
            Self::Open(segment) => {
                let state = segment.state();
                let piece = |(at, &id): (usize, &u128)| Some((at, open_piece(&state, id)?));
                Ok(ids.iter().enumerate().filter_map(piece).collect())
            }
            Self::Sealed(segment) => self.sealed_pieces(segment, ids),
        }
    }

    /// As `pieces`, for a sealed segment: all names are looked up in one pass.
    fn sealed_pieces(
        &self,
        segment: &SealedSegment,
        ids: &[u128],
    ) -> Result<Vec<(usize, NamedPiece)>, StoreError> {
        let pieces = segment.pieces(ids)?;
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let all = || pieces.iter().map(|(_, piece, _)| piece);
        let names: Vec<u64> = all().flat_map(Piece::names).collect();
        let services: Vec<u64> = all().flat_map(Piece::service_numbers).collect();
        let marks: Vec<u64> = all().flat_map(Piece::marks).collect();
        let names = self.lend(List::Names, &names)?;
        let services = self.lend(List::Services, &services)?;
        let marks = self.lend(List::Marks, &marks)?;
        let named = pieces.iter().map(|(at, piece, blocks)| {
            let name = |number| names.text(number);
            let service = |number| services.text(number);
            let mark = |number| marks.get(number);
            let blocks = blocks.clone();
            (*at, NamedPiece::new(piece, blocks, name, service, mark))
        });
        Ok(named.collect())
    }

    /// Returns the traces whose id has these low 64 bits.
    pub(crate) fn by_low_half(&self, low: u64) -> Result<Vec<u128>, StoreError> {
        match self {
            Self::Open(segment) => {
                let state = segment.state();
                let partials = state.traces.partials().iter();
                let ids = partials.map(|partial| partial.id);
                Ok(ids.filter(|&id| id as u64 == low).collect())
            }
            Self::Sealed(segment) => {
                if !segment.may_contain(low)? {
                    return Ok(Vec::new());
                }
                Ok(segment.index()?.by_low_half(low).to_vec())
            }
        }
    }

    /// Returns its zones; empty if unknown.
    pub(crate) fn zones(&self) -> Result<Arc<Zones>, StoreError> {
        match self {
            Self::Open(_) => Ok(Arc::default()),
            Self::Sealed(segment) => segment.zones(),
        }
    }

    /// Returns the span names of its zones; empty if unknown.
    pub(crate) fn zone_names(&self) -> Result<Arc<ZoneNames>, StoreError> {
        match self {
            Self::Open(_) => Ok(Arc::default()),
            Self::Sealed(segment) => segment.zone_names(),
        }
    }

    /// Returns the zones in which a span may have one of these tokens.
    pub(crate) fn zones_of(&self, tokens: &[u64]) -> Result<Reach, StoreError> {
        match self {
            Self::Open(_) => Ok(Reach::Everything),
            Self::Sealed(segment) => segment.zones_of(tokens),
        }
    }

    pub(crate) fn add_services(&self, names: &mut BTreeSet<String>) -> Result<(), StoreError> {
        let mut add = |name: &[u8]| {
            let name = std::str::from_utf8(name).unwrap_or_default();
            // Most names are in many segments.
            if !name.is_empty() && !names.contains(name) {
                names.insert(name.to_owned());
                if names.len() > SERVICES_MAX {
                    names.pop_last();
                }
            }
        };
        match self {
            Self::Open(segment) => segment.state().services.list().iter().for_each(add),
            Self::Sealed(segment) => match segment.zones()? {
                zones if zones.list.is_empty() => self.each(List::Services, |_, name| {
                    add(name);
                    Ok(true)
                })?,
                zones => zones.services.iter().for_each(add),
            },
        }
        Ok(())
    }

    pub(crate) fn add_operations(
        &self,
        service: &str,
        names: &mut BTreeSet<String>,
    ) -> Result<(), StoreError> {
        let mut of_service: Vec<u32> = self.operations(service)?;
        of_service.sort_unstable();
        let mut of_service = of_service.into_iter().peekable();
        self.each(List::Names, |number, name| {
            if of_service.next_if_eq(&number).is_some() {
                let name = std::str::from_utf8(name).unwrap_or_default();
                names.insert(name.to_owned());
                if names.len() > OPERATIONS_MAX {
                    names.pop_last();
                }
            }
            Ok(of_service.peek().is_some())
        })
    }

    fn operations(&self, service: &str) -> Result<Vec<u32>, StoreError> {
        let of = |id: Option<u32>, pairs: &mut dyn Iterator<Item = (u32, u32)>| {
            pairs
                .filter(|pair| Some(pair.0) == id)
                .map(|pair| pair.1)
                .collect()
        };
        Ok(match self {
            Self::Open(segment) => {
                let state = segment.state();
                let id = state.services.find(service.as_bytes());
                of(id, &mut state.operations.iter().copied())
            }
            Self::Sealed(segment) => {
                let table = segment.services()?;
                let id = self.find(List::Services, service.as_bytes())?;
                of(id, &mut table.operations.iter().copied())
            }
        })
    }

    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Self::Open(segment) => segment.abandoned.load(Ordering::Relaxed),
            Self::Sealed(_) => true,
        }
    }

    /// Whether its footer turned out damaged, so that only its blocks are readable.
    pub(crate) fn is_broken(&self) -> bool {
        match self {
            Self::Open(_) => false,
            Self::Sealed(segment) => segment.broken.load(Ordering::Relaxed),
        }
    }
}

fn open_piece(state: &SegmentState, id: u128) -> Option<NamedPiece> {
    let partial = state.traces.get(id)?;
    let blocks = state.traces.blocks(partial);
    Some(NamedPiece::new(
        &Piece::new(state, partial),
        blocks,
        |number| state.lists.get(List::Names).text(number),
        |number| state.services.list().text(number),
        |number| state.marks.get(number),
    ))
}
