//! The clock for deleting stored data. The wall clock may be wrong at the start or step later, so it is used
//! only as far as the monotonic clock confirms it, counted from an earlier trusted time that is kept on disk.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::model::{UnixNanos, nanos};
use crate::store::StoreError;
use crate::store::durable;

const CLOCK_FILE: &str = "clock.json";
/// A difference between two clocks that is not a step: they are constantly adjusted a little.
const DRIFT_MAX: Duration = Duration::from_secs(10);
/// How long the wall clock must run without a step before it is trusted again. Time daemons ask their server
/// at least every 2,048 s (systemd-timesyncd; chrony and ntpd 1,024 s), so a clock that can be corrected is
/// correct by then.
pub(super) const TRUSTED_AFTER: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(super) struct RetentionClock {
    path: PathBuf,
    trusted: Anchor,
    /// The wall clock since its last step.
    wall: Anchor,
}

/// A time that the monotonic clock advances.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    time: UnixNanos,
    at: Instant,
}

#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    #[serde(rename = "trusted_unix_nanos")]
    trusted: UnixNanos,
}

impl Anchor {
    fn new(time: UnixNanos) -> Self {
        let at = Instant::now();
        Self { time, at }
    }

    fn now(&self) -> UnixNanos {
        self.time + self.at.elapsed()
    }

    fn agrees_with(&self, time: UnixNanos) -> bool {
        (self.now() - time).max(time - self.now()) <= DRIFT_MAX
    }
}

impl RetentionClock {
    /// Continues from the time that an earlier run saved, or else from the last write to the data. Call it
    /// before the data is opened, which may write.
    pub(super) fn open(data_dir: &Path, wall: UnixNanos) -> Self {
        let path = data_dir.join(CLOCK_FILE);
        let saved = saved(&path).or_else(|| last_write(data_dir));
        Self {
            path,
            trusted: Anchor::new(saved.unwrap_or(wall)),
            wall: Anchor::new(wall),
        }
    }

    /// Returns the time to use for deleting data: the wall clock's, or the trusted one while that is earlier.
    pub(super) fn now(&mut self, wall: UnixNanos) -> UnixNanos {
        if !self.wall.agrees_with(wall) {
            self.wall = Anchor::new(wall);
        }
        // In either direction: a trusted time that was wrong must not stay ahead for good.
        if self.trusted.agrees_with(wall) || self.wall.at.elapsed() >= TRUSTED_AFTER {
            self.trusted = Anchor::new(wall);
        }
        wall.min(self.trusted.now())
    }

    pub(super) fn save(&self) -> Result<(), StoreError> {
        let saved = Saved {
            trusted: self.trusted.now(),
        };
        let text = serde_json::to_vec(&saved).expect("a number is always JSON");
        durable::write(&self.path, &text)
    }
}

/// Reads the saved time; a damaged file counts as missing.
fn saved(path: &Path) -> Option<UnixNanos> {
    let read = durable::read_json(path).and_then(|json| {
        let saved = json.map(serde_json::from_value::<Saved>).transpose();
        saved.map_err(|error| StoreError::damaged(path, &error.to_string()))
    });
    let saved = read.unwrap_or_else(|error| {
        warn!(%error, "the saved time is unreadable; the last write to the data is taken instead");
        None
    });
    saved.map(|saved| saved.trusted)
}

/// Returns when a file of the stores was last written, according to its timestamp; `None` without files.
fn last_write(data_dir: &Path) -> Option<UnixNanos> {
    let folders = ["spans", "series"].map(|store| data_dir.join(store));
    let days = folders.iter().flat_map(|folder| entries(folder));
    let files = days.flat_map(|day| entries(&day.path()));
    let written = files.filter_map(|file| file.metadata().and_then(|meta| meta.modified()).ok());
    let newest = written.max()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(UnixNanos::new(nanos(newest)))
}

/// Lists a folder; empty if it cannot be read.
fn entries(folder: &Path) -> Vec<fs::DirEntry> {
    let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>();
    list().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const T0: UnixNanos = UnixNanos::new(1_795_397_400_000_000_000);

    async fn run_for(length: Duration) {
        tokio::time::advance(length).await;
    }

    /// Returns a clock that was trusted at `T0` in an earlier run, opened at wall time `wall`.
    fn clock(wall: UnixNanos) -> (tempfile::TempDir, RetentionClock) {
        let dir = tempfile::tempdir().unwrap();
        RetentionClock::open(dir.path(), T0).save().unwrap();
        let clock = RetentionClock::open(dir.path(), wall);
        (dir, clock)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_runs_evenly_is_followed() {
        let (_dir, mut clock) = clock(T0);
        for day in 1..9 {
            run_for(DAY).await;
            let wall = T0 + DAY * day;
            assert_eq!(clock.now(wall), wall);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_ahead_counts_once_it_stood_for_an_hour() {
        let step = DAY * 8;
        for opened in [T0 + step, T0] {
            let (_dir, mut clock) = clock(opened);
            let begun = Instant::now();
            for _ in 0..59 {
                let real = T0 + begun.elapsed();
                let now = clock.now(real + step);
                assert_eq!(now, real);
                run_for(Duration::from_secs(60)).await;
            }
            run_for(Duration::from_secs(60)).await;
            let wall = T0 + begun.elapsed() + step;
            assert_eq!(clock.now(wall), wall);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_step_begins_the_hour_again() {
        let (_dir, mut clock) = clock(T0 + DAY * 8);
        run_for(TRUSTED_AFTER / 2).await;
        let real = T0 + TRUSTED_AFTER / 2;
        assert_eq!(clock.now(real + DAY * 9), real);
        run_for(TRUSTED_AFTER * 2 / 3).await;
        let real = T0 + TRUSTED_AFTER / 2 + TRUSTED_AFTER * 2 / 3;
        assert_eq!(clock.now(real + DAY * 9), real);
        assert_eq!(clock.now(real), real, "corrected");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_back_and_its_correction_change_nothing() {
        let (_dir, mut clock) = clock(T0);
        let behind = T0 - DAY * 8;
        assert_eq!(clock.now(behind), behind);
        run_for(TRUSTED_AFTER / 2).await;
        let real = T0 + TRUSTED_AFTER / 2;
        assert_eq!(clock.now(real), real);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_time_that_was_wrong_is_given_up() {
        let (_dir, mut clock) = clock(T0 - DAY * 8);
        run_for(TRUSTED_AFTER).await;
        let real = T0 - DAY * 8 + TRUSTED_AFTER;
        assert_eq!(clock.now(real), real);
        assert_eq!(clock.now(real + DAY * 8), real);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_readable_file_the_last_write_is_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("spans/2026-11-23");
        fs::create_dir_all(&folder).unwrap();
        let file = fs::File::create(folder.join("0000000001-0.seg")).unwrap();
        let written = std::time::UNIX_EPOCH + Duration::from_nanos(T0.get());
        file.set_modified(written).unwrap();
        for damage in [None, Some("{"), Some("{}")] {
            if let Some(text) = damage {
                fs::write(dir.path().join(CLOCK_FILE), text).unwrap();
            }
            let ahead = T0 + DAY * 8;
            assert_eq!(RetentionClock::open(dir.path(), ahead).now(ahead), T0);
        }
    }
}
