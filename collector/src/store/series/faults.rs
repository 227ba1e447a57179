//! What of the files cannot be read. It may pass: reading is tried again for a while. Then it is read as far as it goes
//! and counted, so that neither who follows the journal nor who asks it waits for ever on a rotten file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::index::{Day, Extent, Found};
use super::record::SeriesKind;
use crate::counters::{Counters, Incident};
use crate::store::StoreError;

/// How long reading a place is tried, and how often at least.
const PATIENCE: Duration = Duration::from_secs(30);
const TRIES_MIN: u32 = 3;
/// After so many places of a file were given up, it is the file that is bad: the next is not tried for long.
const PLACES_MAX: usize = 3;
/// What is read at once of a place that was given up: a disk fails by sectors, a page at a time.
const PAGE_BYTES: usize = 4_096;

/// The places that cannot be read; shared by all who read.
#[derive(Debug)]
pub(super) struct Faults {
    counters: Arc<Counters>,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    patience: Duration,
    failing: BTreeMap<Place, Fault>,
    /// Places of a file given up one after the other.
    in_a_row: BTreeMap<(SeriesKind, Day), usize>,
    /// Counted and logged already.
    told: BTreeSet<Place>,
}

/// A run of blocks: kind, day, and where it begins in that file.
type Place = (SeriesKind, Day, u64);

#[derive(Debug)]
struct Fault {
    tries: u32,
    since: Instant,
    is_given_up: bool,
}

impl Faults {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            counters,
            known: Mutex::new(Known {
                patience: PATIENCE,
                failing: BTreeMap::new(),
                in_a_row: BTreeMap::new(),
                told: BTreeSet::new(),
            }),
        }
    }

    /// Notes that a place could not be read; returns whether that was tried for long enough.
    pub(super) fn gives_up(&self, kind: SeriesKind, found: Found, error: &StoreError) -> bool {
        let mut known = self.known();
        let file = (kind, found.day);
        let is_bad_file = known
            .in_a_row
            .get(&file)
            .is_some_and(|places| *places >= PLACES_MAX);
        let patience = known.patience;
        let place = (kind, found.day, found.extent.offset);
        let fault = known.failing.entry(place).or_insert_with(|| Fault {
            tries: 0,
            since: Instant::now(),
            is_given_up: false,
        });
        fault.tries = fault.tries.saturating_add(1);
        let is_tried = fault.tries >= TRIES_MIN && fault.since.elapsed() >= patience;
        let is_new = !fault.is_given_up && (is_tried || is_bad_file);
        fault.is_given_up |= is_new;
        let is_given_up = fault.is_given_up;
        *known.in_a_row.entry(file).or_default() += usize::from(is_new);
        drop(known);
        if is_given_up {
            self.tell(kind, found, error);
        }
        is_given_up
    }

    /// Notes that a place was read.
    pub(super) fn is_read(&self, kind: SeriesKind, found: Found) {
        let mut known = self.known();
        known
            .failing
            .remove(&(kind, found.day, found.extent.offset));
        known.in_a_row.remove(&(kind, found.day));
    }

    /// Counts and logs that something of a place is lost, once.
    pub(super) fn tell(&self, kind: SeriesKind, found: Found, problem: &dyn std::fmt::Display) {
        let place = (kind, found.day, found.extent.offset);
        if self.known().told.insert(place) {
            self.counters.incidents.add(Incident::UnreadableSeries, 1);
            let (kind, offset) = (kind.file_stem(), found.extent.offset);
            warn!(kind, offset, %problem, "a part of the series journal cannot be read; going on without it");
        }
    }

    /// Forgets days that are gone.
    pub(super) fn forget(&self, days: &[Day]) {
        let mut known = self.known();
        known.failing.retain(|(_, day, _), _| !days.contains(day));
        known.in_a_row.retain(|(_, day), _| !days.contains(day));
        known.told.retain(|(_, day, _)| !days.contains(day));
    }

    /// Changes how long reading a place is tried.
    #[cfg(test)]
    pub(super) fn set_patience(&self, patience: Duration) {
        self.known().patience = patience;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what can be read of an extent, with zeros for the rest.
pub(super) fn readable(path: &Path, extent: Extent) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(extent.len).unwrap_or(usize::MAX)];
    let Ok(mut file) = File::open(path) else {
        return bytes;
    };
    let mut at = extent.offset;
    for page in bytes.chunks_mut(PAGE_BYTES) {
        let _zeros = read_some(&mut file, at, page);
        at += page.len() as u64;
    }
    bytes
}

/// Reads a page up to the end of the file, or to what fails.
fn read_some(file: &mut File, at: u64, mut page: &mut [u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    while !page.is_empty() {
        match file.read(page)? {
            0 => break,
            read => page = &mut page[read..],
        }
    }
    Ok(())
}
