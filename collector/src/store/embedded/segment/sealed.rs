//! A sealed segment: footer sections are loaded on demand and kept in a bounded cache.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::block::{Blobs, PartStream};
use super::super::limits::{LIST_ENTRIES_MAX, ZONES_BYTES_MAX};
use super::super::place_filter::{self, PAGE_BYTES};
use super::bloom::{self, Bloom};
use super::filter;
use super::footer::{Footer, SectionKind};
use super::reach::Reach;
use super::schema_section::SchemaSection;
use super::services::ServiceTable;
use super::traces::{Piece, TraceIndex};
use super::zones::{ZoneNames, Zones};
use super::{Caches, Place};
use crate::files;
use crate::store::StoreError;

#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub(crate) place: Place,
    pub(crate) bytes: u64,
    pub(super) footer: Footer,
    caches: Arc<Caches>,
    /// Set when a section of the footer turned out damaged.
    pub(super) broken: AtomicBool,
}

impl SealedSegment {
    /// Opens a sealed file; `None` if it has no valid footer.
    pub(crate) fn open(place: Place, caches: Arc<Caches>) -> Result<Option<Self>, StoreError> {
        let read = || {
            let file = files::open_regular(&place.path)?;
            let bytes = file.metadata()?.len();
            Ok(Footer::read(&file, bytes)?.map(|footer| (footer, bytes)))
        };
        let found = read().map_err(|error| StoreError::io("open", &place.path, error))?;
        Ok(found.map(|(footer, bytes)| Self::new(place, bytes, footer, caches)))
    }

    pub(super) fn new(place: Place, bytes: u64, footer: Footer, caches: Arc<Caches>) -> Self {
        Self {
            place,
            bytes,
            footer,
            caches,
            broken: AtomicBool::new(false),
        }
    }

    pub(in super::super) fn damaged(&self, what: &str) -> StoreError {
        self.broken.store(true, Ordering::Relaxed);
        StoreError::damaged(&self.place.path, what)
    }

    /// Loads a section through the cache; `decode` also returns its size in memory.
    pub(super) fn section<T: Default + std::any::Any + Send + Sync>(
        &self,
        kind: SectionKind,
        column: u32,
        decode: impl FnOnce(&[u8]) -> Option<(T, usize)>,
    ) -> Result<Arc<T>, StoreError> {
        let cache = match kind {
            SectionKind::Bloom | SectionKind::BloomOfTenBits => &self.caches.blooms,
            SectionKind::Zones => &self.caches.zones,
            _ => &self.caches.sections,
        };
        let path = &self.place.path;
        cache.get((self.place.sequence, kind as u8, column), || {
            let file = open_file(path)?;
            match self.footer.section(&file, path, kind, column) {
                Ok(None) => Ok((T::default(), 0)),
                Ok(Some(raw)) => decode(&raw).ok_or_else(|| self.damaged("footer section")),
                Err(StoreError::Damaged { what, .. }) => Err(self.damaged(&what)),
                Err(error) => Err(error),
            }
        })
    }

    pub(super) fn index(&self) -> Result<Arc<TraceIndex>, StoreError> {
        self.section(SectionKind::Index, 0, |raw| {
            let index = TraceIndex::decode(raw)?;
            let memory = index.memory();
            Some((index, memory))
        })
    }

    /// Size of its trace index.
    pub(crate) fn index_bytes(&self) -> usize {
        self.footer.raw_bytes(SectionKind::Index, 0)
    }

    /// Reads the low halves of the ids of its traces, past the cache.
    pub(crate) fn trace_lows(&self) -> Result<Vec<u64>, StoreError> {
        let mut lows = Vec::new();
        self.stream_section(SectionKind::Index, 0, |section| {
            let count = section.varint()?.min(LIST_ENTRIES_MAX as u64);
            let mut id = Vec::new();
            for _ in 0..count {
                section.take_into(16, &mut id)?;
                lows.push(u64::from_be_bytes(*id.last_chunk()?));
            }
            Some(Ok(()))
        })?;
        Ok(lows)
    }

    /// Returns the ids of its traces.
    pub(crate) fn trace_ids(&self) -> Result<Vec<u128>, StoreError> {
        Ok(self.index()?.ids().to_vec())
    }

    pub(super) fn services(&self) -> Result<Arc<ServiceTable>, StoreError> {
        self.streamed(SectionKind::Services, |section| {
            let table = ServiceTable::read(section)?;
            let memory = table.memory();
            Some((table, memory))
        })
    }

    fn bloom(&self) -> Result<Arc<Bloom>, StoreError> {
        let (kind, probes) = if self.footer.has(SectionKind::Bloom) {
            (SectionKind::Bloom, bloom::PROBES)
        } else {
            (SectionKind::BloomOfTenBits, bloom::PROBES_OF_TEN_BITS)
        };
        self.section(kind, 0, |raw| {
            let bloom = Bloom::decode(raw, probes)?;
            let memory = bloom.memory();
            Some((bloom, memory))
        })
    }

    /// Returns whether the trace may be here, by the low half of its id.
    pub(super) fn may_contain(&self, low: u64) -> Result<bool, StoreError> {
        Ok(self.bloom()?.may_contain(u128::from(low)))
    }

    /// Returns the zones; empty if the section is too large to read.
    pub(super) fn zones(&self) -> Result<Arc<Zones>, StoreError> {
        if self.footer.raw_bytes(SectionKind::Zones, 0) > ZONES_BYTES_MAX {
            return Ok(Arc::default());
        }
        self.section(SectionKind::Zones, 0, |raw| {
            let zones = Zones::decode(raw)?;
            let memory = zones.memory();
            Some((zones, memory))
        })
    }

    pub(super) fn zone_names(&self) -> Result<Arc<ZoneNames>, StoreError> {
        self.section(SectionKind::ZoneNames, 0, |raw| {
            let names = ZoneNames::decode(raw)?;
            let memory = names.memory();
            Some((names, memory))
        })
    }

    /// Returns the zones that may have one of these tokens. The pages of the filter are cached by the operating
    /// system only.
    pub(super) fn zones_of(&self, tokens: &[u64]) -> Result<Reach, StoreError> {
        let kind = match self.footer.has(SectionKind::ZoneFilter) {
            true => SectionKind::ZoneFilter,
            false => SectionKind::Filter,
        };
        let Some(pages) = self.footer.pages(kind, PAGE_BYTES) else {
            return Ok(Reach::Everything);
        };
        let path = &self.place.path;
        let file = open_file(path)?;
        let mut reach = Reach::Nothing;
        for &token in tokens.iter().filter(|_| pages > 0) {
            let number = match kind {
                SectionKind::ZoneFilter => place_filter::page_of(token, pages),
                _ => filter::page_of(token, pages),
            };
            let page = self.footer.page(&file, path, kind, number)?;
            let found = match kind {
                SectionKind::ZoneFilter => {
                    place_filter::places(&page, token, pages).map(|zones| Reach::of_zones(&zones))
                }
                _ => filter::may_contain(&page, token).map(Reach::all_or_nothing),
            };
            reach = reach.or(found.ok_or_else(|| self.damaged("page of a filter"))?);
        }
        Ok(reach)
    }

    /// Returns the summaries of those traces, each with its index in `ids` and its blocks. The filter is
    /// checked for all of them at once: most segments have none.
    pub(super) fn pieces(&self, ids: &[u128]) -> Result<Vec<(usize, Piece, Vec<u32>)>, StoreError> {
        let bloom = self.bloom()?;
        let mut pieces = Vec::new();
        for (at, &id) in ids.iter().enumerate() {
            if bloom.may_contain(id)
                && let Some((piece, blocks)) = self.piece(id)?
            {
                pieces.push((at, piece, blocks));
            }
        }
        Ok(pieces)
    }

    fn piece(&self, id: u128) -> Result<Option<(Piece, Vec<u32>)>, StoreError> {
        let index = self.index()?;
        let Some(place) = index.find(id) else {
            return Ok(None);
        };
        let summaries = self.section(SectionKind::Summaries, 0, |raw| {
            let blobs = Blobs::decode(raw)?;
            let memory = raw.len() + blobs.len() * 4;
            Some((blobs, memory))
        })?;
        let piece = Piece::decode(summaries.get(place), self.footer.totals.min_start)
            .ok_or_else(|| self.damaged("trace summary"))?;
        Ok(Some((piece, index.blocks(place).to_vec())))
    }

    pub(super) fn schema_section(&self) -> Result<Arc<SchemaSection>, StoreError> {
        self.streamed(SectionKind::Schema, |section| {
            let loaded = SchemaSection::read(section)?;
            let memory = loaded.memory();
            Some((loaded, memory))
        })
    }

    /// As `section`, for a section that may be long; `read` keeps its short lists.
    fn streamed<T: Default + std::any::Any + Send + Sync>(
        &self,
        kind: SectionKind,
        read: impl FnOnce(&mut PartStream<'_>) -> Option<(T, usize)>,
    ) -> Result<Arc<T>, StoreError> {
        let id = (self.place.sequence, kind as u8, 0);
        self.caches.sections.get(id, || {
            let mut loaded = (T::default(), 0);
            self.stream_section(kind, 0, |section| {
                loaded = read(section)?;
                Some(Ok(()))
            })?;
            Ok(loaded)
        })
    }

    /// Streams a section; it is damaged if `read` returns `None`.
    pub(super) fn stream_section(
        &self,
        kind: SectionKind,
        column: u32,
        read: impl FnOnce(&mut PartStream<'_>) -> Option<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let path = &self.place.path;
        let file = open_file(path)?;
        match self.footer.stream(&file, path, kind, column) {
            Ok(None) => Ok(()),
            Ok(Some(mut section)) => {
                read(&mut section).unwrap_or_else(|| Err(self.damaged("footer section")))
            }
            Err(StoreError::Damaged { what, .. }) => Err(self.damaged(&what)),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn open_file(path: &Path) -> Result<File, StoreError> {
    files::open_regular(path).map_err(|error| StoreError::io("open", path, error))
}
