//! Bounds the tags: names from outside may be random, and every new tag value is a series that InfluxDB keeps in
//! memory for a week. What does not fit is written as `__other__`, and counted.
//!
//! Names that were admitted stay admitted over restarts: the tables are in a file of the data directory, saved before the
//! position that was reached with them. Remaining slots are filled with names that the server already has (`learn`), so that
//! a second collector, or one without its file, does not double the series. A name is removed once the server has nothing
//! of it; where a table refused a name, the longest idle ones make room hour by hour.
//!
//! Names are compared as they stand in a tag (`tag_value`), which is how the server knows them.

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

/// Stands for every name past a bound.
pub(crate) const OTHER: &str = "__other__";
/// Services with names of their own, as on the live map.
pub(crate) const SERVICES_MAX: usize = 1_000;
/// Operations with names of their own in one service, as in the live figures; a name with an id in it makes thousands.
pub(crate) const OPERATIONS_PER_SERVICE_MAX: usize = 1_000;
/// Operations with names of their own in all services together.
pub(crate) const OPERATIONS_MAX: usize = 10_000;
/// Breakers with names of their own in all services together.
pub(crate) const BREAKERS_MAX: usize = 4_000;
/// Instances with names of their own in one service: a week of restarts makes many.
pub(crate) const INSTANCES_PER_SERVICE_MAX: usize = 1_000;
/// Instances with names of their own in all services together, as many as breakers' instances are followed live.
pub(crate) const INSTANCES_MAX: usize = 10_000;
/// Peers that are called, with names of their own, services included.
pub(crate) const PEERS_MAX: usize = 2_000;

/// The file of the tables.
const FILE: &str = "names.json";
/// A series stays known until the last shard goes that has a point of it: so long after the retention, or a part of it
/// where that is longer.
const SHARD_GROUP: Duration = Duration::from_secs(24 * 3_600);
const SHARD_GROUPS: u32 = 24;

/// The names that are tags; shared by all that write.
#[derive(Debug, Default)]
pub(crate) struct Names {
    tables: Mutex<Tables>,
    capped: AtomicU64,
    file: Option<NamesFile>,
}

/// Where the tables are kept, and for how long a name.
#[derive(Debug)]
struct NamesFile {
    path: PathBuf,
    kept_hours: u64,
    /// Held while it is written, so that an older state never replaces a newer one.
    writing: Mutex<()>,
}

/// A kind of name that belongs to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owned {
    /// A span name.
    Operation,
    /// A breaker.
    Breaker,
    /// An instance.
    Instance,
}

impl Names {
    /// Takes over what an earlier run admitted; `retention` is how long the server keeps points. A damaged file costs
    /// that the names are those which the server knows.
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

    /// Keeps for good what was admitted, unless that is done; blocks the thread.
    ///
    /// # Errors
    /// When the file cannot be written; the next call tries again.
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

    /// Returns the tables as text where something is to be saved: names at once, when they were used hour by hour.
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

    /// Returns the hour that names used now are noted for: who remembers tags asks again in the next.
    pub(crate) fn hour(&self) -> u64 {
        self.tables().hour()
    }

    /// Returns the service's name as a tag.
    pub(crate) fn service<'a>(&self, name: &'a str) -> &'a str {
        self.admit(self.tables().service(&tag_value(name)), name)
    }

    /// Returns a called peer's name as a tag.
    pub(crate) fn peer<'a>(&self, name: &'a str) -> &'a str {
        self.admit(self.tables().peer(&tag_value(name)), name)
    }

    /// Returns a name within a service (as tagged) as a tag.
    pub(crate) fn owned<'a>(&self, kind: Owned, service: &str, name: &'a str) -> &'a str {
        let (service, key) = (tag_value(service), tag_value(name));
        self.admit(self.tables().owned(kind, &service, &key), name)
    }

    /// Takes over a service that the server knows, while there is room.
    pub(crate) fn learn_service(&self, name: &str) {
        self.tables().as_idle(|tables| {
            tables.service(name);
        });
    }

    /// Takes over a peer that the server knows, while there is room.
    pub(crate) fn learn_peer(&self, name: &str) {
        self.tables().as_idle(|tables| {
            tables.peer(name);
        });
    }

    /// Takes over a name within a service that the server knows, while there is room.
    pub(crate) fn learn_owned(&self, kind: Owned, service: &str, name: &str) {
        self.tables().as_idle(|tables| {
            tables.owned(kind, service, name);
        });
    }

    /// Returns how often a name was written as `__other__`.
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
