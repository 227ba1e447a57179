//! Registry of unreadable places. A failure may be temporary, so reading is retried for a while. After that
//! the place is counted and skipped, so that a bad sector blocks neither queries nor followers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::StoreError;
use crate::counters::{Counters, Incident};
use crate::sync::Mutex;

/// How long, and at least how often, reading a place is retried.
const RETRY_FOR: Duration = Duration::from_secs(30);
const TRIES_MIN: u32 = 3;
/// After this many consecutive places of a file were given up, the file is bad: further ones are not retried
/// for long.
const PLACES_MAX: usize = 3;

/// The unreadable places of a log, by file and offset; shared by all readers.
#[derive(Debug)]
pub(crate) struct Damage<F> {
    /// The incident counted for a place.
    incident: Incident,
    counters: Arc<Counters>,
    known: Mutex<Known<F>>,
}

#[derive(Debug)]
struct Known<F> {
    retry_for: Duration,
    failing: BTreeMap<(F, u64), Failure>,
    /// Number of consecutive places given up, by file.
    in_a_row: BTreeMap<F, usize>,
    /// Places already counted and logged.
    reported: BTreeSet<(F, u64)>,
}

#[derive(Debug)]
struct Failure {
    tries: u32,
    since: Instant,
    is_given_up: bool,
}

impl<F: Ord + Copy + Debug> Damage<F> {
    pub(crate) fn new(incident: Incident, counters: Arc<Counters>) -> Self {
        Self {
            incident,
            counters,
            known: Mutex::new(Known {
                retry_for: RETRY_FOR,
                failing: BTreeMap::new(),
                in_a_row: BTreeMap::new(),
                reported: BTreeSet::new(),
            }),
        }
    }

    /// Counts and logs, once, that data at a place is lost; returns whether it is the first time.
    pub(crate) fn report(&self, file: F, offset: u64, problem: &dyn Display) -> bool {
        let is_new = self.known().reported.insert((file, offset));
        if is_new {
            self.counters.incidents.add(self.incident, 1);
            warn!(?file, offset, %problem, "a part of the log cannot be read; going on without it");
        }
        is_new
    }

    pub(crate) fn is_reported(&self, file: F, offset: u64) -> bool {
        self.known().reported.contains(&(file, offset))
    }

    /// Records a failure to read a place; returns true, and reports the place, if it was retried for long
    /// enough.
    pub(crate) fn gives_up(&self, file: F, offset: u64, error: &StoreError) -> bool {
        let is_given_up = self.known().fail(file, offset);
        if is_given_up {
            self.report(file, offset, error);
        }
        is_given_up
    }

    /// Records that a place was read.
    pub(crate) fn is_read(&self, file: F, offset: u64) {
        let mut known = self.known();
        known.failing.remove(&(file, offset));
        known.in_a_row.remove(&file);
    }

    pub(crate) fn forget(&self, is_gone: impl Fn(F) -> bool) {
        let mut known = self.known();
        known.failing.retain(|(file, _), _| !is_gone(*file));
        known.in_a_row.retain(|file, _| !is_gone(*file));
        known.reported.retain(|(file, _)| !is_gone(*file));
    }

    /// Sets how long reading a place is retried.
    #[cfg(test)]
    pub(crate) fn set_retry_for(&self, retry_for: Duration) {
        self.known().retry_for = retry_for;
    }

    fn known(&self) -> MutexGuard<'_, Known<F>> {
        self.known.lock()
    }
}

impl<F: Ord + Copy> Known<F> {
    fn fail(&mut self, file: F, offset: u64) -> bool {
        let given_up = self.in_a_row.entry(file).or_default();
        let failure = self
            .failing
            .entry((file, offset))
            .or_insert_with(|| Failure {
                tries: 0,
                since: Instant::now(),
                is_given_up: false,
            });
        failure.tries = failure.tries.saturating_add(1);
        let is_tried = failure.tries >= TRIES_MIN && failure.since.elapsed() >= self.retry_for;
        if !failure.is_given_up && (is_tried || *given_up >= PLACES_MAX) {
            failure.is_given_up = true;
            *given_up += 1;
        }
        failure.is_given_up
    }
}
