//! Bounds the tags. Names come from outside and may be random, and InfluxDB keeps a series in memory for
//! every new tag value for a week. Names beyond the limits are written as `__other__`, and counted.
//!
//! Admitted names stay admitted over restarts: the tables are in a file of the data directory, which is saved
//! before the position reached with them. Remaining slots are filled with names that the server already has
//! (`learn`), so that a second collector, or one without its file, does not double the series. A name is
//! removed once the server no longer has a point with it; where a table is full, the names that were idle
//! longest are evicted hour by hour.
//!
//! Names are compared in the form of a tag (`tag_value`), which is how the server knows them.

mod learn;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::wire::line::tag_value;
use crate::model::{HOUR, UnixNanos};
use crate::store::StoreError;
use crate::store::durable;
use crate::store::influxdb::folder;
use crate::sync::Mutex;
pub(crate) use learn::learn_names;
use tables::Tables;

/// Replaces every name beyond a limit.
pub(crate) const OTHER: &str = "__other__";
/// Services with their own tag value, as on the live map.
pub(crate) const SERVICES_MAX: usize = 1_000;
/// Operations per service with their own tag value, as in the live figures; names that contain an id make
/// thousands.
pub(crate) const OPERATIONS_PER_SERVICE_MAX: usize = 1_000;
/// Operations with their own tag value in total.
pub(crate) const OPERATIONS_MAX: usize = 10_000;
/// Breakers with their own tag value in total.
pub(crate) const BREAKERS_MAX: usize = 4_000;
/// Instances per service with their own tag value: a week of restarts makes many.
pub(crate) const INSTANCES_PER_SERVICE_MAX: usize = 1_000;
/// Instances with their own tag value in total, as many as live circuits follow.
pub(crate) const INSTANCES_MAX: usize = 10_000;
/// Called peers with their own tag value, services included.
pub(crate) const PEERS_MAX: usize = 2_000;

const FILE: &str = "names.json";
/// Added to the retention, since a series exists until the last shard with a point of it is deleted. Shards
/// of a longer retention last longer, so a part of the retention is used if that is more.
const SHARD_GROUP: Duration = Duration::from_secs(24 * 3_600);
const SHARD_GROUPS: u32 = 24;

/// The admitted names; shared by all writers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tables: Mutex<Tables>,
    capped: AtomicU64,
    file: Option<NamesFile>,
}

/// The file of the tables, and how long names are kept.
#[derive(Debug)]
struct NamesFile {
    path: PathBuf,
    kept_hours: u64,
    /// Held while writing, so that an older state never replaces a newer one.
    writing: Mutex<()>,
}

/// Kinds of names within a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owned {
    Operation,
    Breaker,
    Instance,
}

impl Names {
    /// Loads the names admitted by earlier runs; `retention` is how long the server keeps points. After
    /// damage to the file, only names on the server are loaded.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn open(
        data_dir: &Path,
        retention: Duration,
        now: UnixNanos,
    ) -> Result<Self, StoreError> {
        let kept = retention.saturating_add(SHARD_GROUP.max(retention / SHARD_GROUPS));
        let file = NamesFile {
            path: folder(data_dir).join(FILE),
            kept_hours: kept.as_secs() / HOUR.as_secs(),
            writing: Mutex::default(),
        };
        let mut tables = file.read()?;
        tables.set_hour(now.window(HOUR), file.kept_hours);
        Ok(Self {
            tables: Mutex::new(tables),
            capped: AtomicU64::default(),
            file: Some(file),
        })
    }

    /// Saves the tables if they changed; blocks the thread.
    ///
    /// # Errors
    /// When the file cannot be written; the next call retries.
    pub(crate) fn save(&self, now: UnixNanos) -> Result<(), StoreError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let _one_at_a_time = file.writing.lock();
        let hour = now.window(HOUR);
        let Some(text) = self.changes(hour, file.kept_hours) else {
            return Ok(());
        };
        let written = durable::write(&file.path, &text);
        if written.is_err() {
            self.tables().is_changed = true;
        }
        written
    }

    /// Returns the tables as text if they need saving: new names immediately, times of use once an hour.
    fn changes(&self, hour: u64, kept_hours: u64) -> Option<Vec<u8>> {
        let mut tables = self.tables();
        let is_next_hour = hour != tables.hour();
        if is_next_hour {
            tables.set_hour(hour, kept_hours);
            tables.forget_idle();
        }
        let is_due = tables.is_changed || is_next_hour && tables.is_used;
        is_due.then(|| {
            tables.is_changed = false;
            tables.is_used = false;
            serde_json::to_vec(&*tables).expect("maps with string keys are JSON")
        })
    }

    /// Returns the hour for which uses are recorded; a caller that caches tags must ask again in the next
    /// hour.
    pub(crate) fn hour(&self) -> u64 {
        self.tables().hour()
    }

    pub(crate) fn service<'a>(&self, name: &'a str) -> &'a str {
        self.admit(self.tables().service(&tag_value(name)), name)
    }

    pub(crate) fn peer<'a>(&self, name: &'a str) -> &'a str {
        self.admit(self.tables().peer(&tag_value(name)), name)
    }

    /// Returns the tag value of a name within a service, which is given as tagged.
    pub(crate) fn owned<'a>(&self, kind: Owned, service: &str, name: &'a str) -> &'a str {
        let (service, key) = (tag_value(service), tag_value(name));
        self.admit(self.tables().owned(kind, &service, &key), name)
    }

    /// Admits a service that the server has, unless full.
    pub(crate) fn learn_service(&self, name: &str) {
        self.tables().as_idle(|tables| {
            tables.service(name);
        });
    }

    /// Admits a peer that the server has, unless full.
    pub(crate) fn learn_peer(&self, name: &str) {
        self.tables().as_idle(|tables| {
            tables.peer(name);
        });
    }

    /// Admits a name within a service that the server has, unless full.
    pub(crate) fn learn_owned(&self, kind: Owned, service: &str, name: &str) {
        self.tables().as_idle(|tables| {
            tables.owned(kind, service, name);
        });
    }

    /// How often a name was written as `__other__`.
    pub(crate) fn capped(&self) -> u64 {
        self.capped.load(Ordering::Relaxed)
    }

    fn admit<'a>(&self, fits: bool, name: &'a str) -> &'a str {
        if fits {
            return name;
        }
        self.capped.fetch_add(1, Ordering::Relaxed);
        OTHER
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }
}

impl NamesFile {
    fn read(&self) -> Result<Tables, StoreError> {
        let damaged = |problem: &dyn std::fmt::Display| {
            tracing::warn!(path = %self.path.display(), %problem, "the names of an earlier run are lost");
            Tables::default()
        };
        Ok(match durable::read_json(&self.path) {
            Ok(None) => Tables::default(),
            Ok(Some(json)) => match serde_json::from_value::<Tables>(json) {
                Ok(tables) => tables.bounded(),
                Err(error) => damaged(&error),
            },
            Err(error @ StoreError::Damaged { .. }) => damaged(&error),
            Err(error) => return Err(error),
        })
    }
}

#[cfg(test)]
mod tests;
