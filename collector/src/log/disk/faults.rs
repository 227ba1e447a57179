//! A simulated disk below one folder that fails on demand, for tests.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::sync::Mutex;

/// How a call fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// The returned error: `StorageFull`, or `Other` for a broken disk.
    pub(crate) error: ErrorKind,
    /// How many bytes a write still puts on disk.
    pub(crate) written: usize,
}

/// The simulated disk of a folder; dropping this restores the real one.
#[derive(Debug)]
pub(crate) struct FaultyDisk {
    root: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    root: PathBuf,
    calls: u64,
    fault: Option<(Range<u64>, Fault)>,
    /// Number of failed calls.
    met: u64,
    /// Length of each file that survives a power loss.
    synced: HashMap<PathBuf, u64>,
}

static DISKS: Mutex<Vec<State>> = Mutex::new(Vec::new());

impl FaultyDisk {
    /// Replaces the disk below a folder.
    pub(crate) fn below(root: &Path) -> Self {
        let root = root.to_owned();
        DISKS.lock().push(State {
            root: root.clone(),
            ..State::default()
        });
        Self { root }
    }

    /// Makes calls fail, starting with the `after`th from now.
    pub(crate) fn fail(&self, after: u64, calls: u64, fault: Fault) {
        with(&self.root, |state| {
            let begin = state.calls + after;
            state.fault = Some((begin..begin + calls, fault));
        });
    }

    /// Ends the failures; returns how many calls failed since the last time.
    pub(crate) fn heal(&self) -> u64 {
        with(&self.root, |state| {
            state.fault = None;
            std::mem::take(&mut state.met)
        })
        .unwrap_or_default()
    }

    /// Drops unsynced data from each file: `keeps` gets its length and decides how much is kept, and whether
    /// that is zeros, as if it had never been written.
    pub(crate) fn lose_power(&self, mut keeps: impl FnMut(u64) -> (u64, bool)) {
        let files = with(&self.root, |state| state.synced.clone()).unwrap_or_default();
        for (path, safe) in files {
            let Ok(file) = File::options().write(true).open(&path) else {
                continue;
            };
            let length = file.metadata().unwrap().len();
            let (kept, is_zero) = keeps(length.saturating_sub(safe));
            if is_zero {
                file.set_len(safe.min(length)).unwrap();
            }
            file.set_len(safe.min(length) + kept).unwrap();
            synced(&path, safe.min(length) + kept);
        }
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        DISKS.lock().retain(|state| state.root != self.root);
    }
}

/// Counts a call and fails it if it is due; `partly` then executes a part of it.
pub(super) fn meet(path: &Path, partly: impl FnOnce(usize) -> io::Result<()>) -> io::Result<()> {
    let fault = with(path, |state| {
        let call = state.calls;
        state.calls += 1;
        state.synced.entry(path.to_owned()).or_insert(0);
        let fault = state
            .fault
            .as_ref()
            .filter(|(calls, _)| calls.contains(&call));
        let fault = fault.map(|(_, fault)| *fault);
        state.met += u64::from(fault.is_some());
        fault
    });
    match fault.flatten() {
        None => Ok(()),
        Some(fault) => {
            partly(fault.written)?;
            Err(io::Error::from(fault.error))
        }
    }
}

/// Records that so many bytes of a file are on disk.
pub(super) fn synced(path: &Path, length: u64) {
    with(path, |state| state.synced.insert(path.to_owned(), length));
}

pub(super) fn renamed(from: &Path, to: &Path) {
    with(from, |state| {
        if let Some(length) = state.synced.remove(from) {
            state.synced.insert(to.to_owned(), length);
        }
    });
}

fn with<T>(path: &Path, change: impl FnOnce(&mut State) -> T) -> Option<T> {
    let mut disks = DISKS.lock();
    let state = disks.iter_mut().find(|state| path.starts_with(&state.root));
    state.map(change)
}
