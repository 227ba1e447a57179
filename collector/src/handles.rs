//! File handles of this process: the limit, the number of open ones, and a reserve for what must not fail.
//!
//! Clients decide how many handles connections take, while segments and journals may need one at any moment.
//! So the limit is raised at the start, connections get what it leaves beyond a share for everything else,
//! and a few spare handles are released when a file cannot be opened for lack of handles.

use std::fs::File;
use std::io;

use tracing::warn;

use crate::sync::Mutex;

/// Connections per listener: SDKs hold one to three each, so this serves over a thousand processes.
const CONNECTIONS_MAX: usize = 4_096;

/// Pages, OTLP over gRPC, OTLP over HTTP.
const LISTENERS: u64 = 3;

/// Handles left for segments, journals, queries and InfluxDB. Open segments and journals need some 40, each
/// concurrent query one or two.
const FILES_MAX: u64 = 256;

/// Spare handles: a segment, its folder and its reader, for every shard of a usual machine at once.
const SPARE: usize = 24;

/// Spare handles released for opening one file: itself, its folder, a second handle for readers.
const SPARE_AT_ONCE: usize = 4;

/// How often opening is retried while others take the released handles.
const ATTEMPTS: usize = SPARE / SPARE_AT_ONCE;

/// What macOS allows when it says "unlimited" (`OPEN_MAX`).
#[cfg(unix)]
const UNLIMITED_MEANS: u64 = 10_240;

/// "Too many open files" of the process and of the system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

static SPARES: Mutex<Vec<File>> = Mutex::new(Vec::new());

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Handles {
    max: Option<u64>,
}

impl Handles {
    /// Raises the soft limit of this process to the hard one, and reserves the spare handles.
    pub(crate) fn raise() -> Self {
        let handles = Self { max: raised() };
        refill();
        let connections = handles.connections_max();
        if connections < CONNECTIONS_MAX {
            let limit = handles.max;
            warn!(
                limit,
                connections, "few file handles (ulimit -n): each listener holds fewer connections"
            );
        }
        handles
    }

    pub(crate) fn connections_max(self) -> usize {
        let Some(max) = self.max else {
            return CONNECTIONS_MAX;
        };
        let files = FILES_MAX.min(max / 2);
        let each = usize::try_from((max - files) / LISTENERS).unwrap_or(usize::MAX);
        each.clamp(1, CONNECTIONS_MAX)
    }

    pub(crate) fn max(self) -> Option<u64> {
        self.max
    }

    /// Counts the open handles; `None` if the system does not report them.
    pub(crate) fn open(self) -> Option<u64> {
        let listed = std::fs::read_dir("/dev/fd").ok()?;
        // One of them is used for listing.
        u64::try_from(listed.count()).ok()?.checked_sub(1)
    }
}

/// Opens files; if no handle is left, releases spare ones.
pub(crate) fn with_spare<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        match open() {
            Err(error) if is_exhausted(&error) && give_up() => {}
            done => return done,
        }
    }
    open()
}

/// Reserves the released spare handles again. Blocks briefly.
pub(crate) fn refill() {
    let mut spares = SPARES.lock();
    while spares.len() < SPARE {
        let Ok(spare) = File::open("/dev/null") else {
            return;
        };
        spares.push(spare);
    }
}

fn give_up() -> bool {
    let mut spares = SPARES.lock();
    let kept = spares.len().saturating_sub(SPARE_AT_ONCE);
    let given_up = spares.split_off(kept);
    !given_up.is_empty()
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

#[cfg(unix)]
fn raised() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let found = getrlimit(Resource::Nofile);
    let raise = |current| {
        let maximum = found.maximum;
        setrlimit(Resource::Nofile, Rlimit { current, maximum })
    };
    if raise(found.maximum).is_err() && found.current.is_some_and(|max| max < UNLIMITED_MEANS) {
        // If this fails too, the limit stays unchanged.
        let _unchanged = raise(Some(UNLIMITED_MEANS));
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(not(unix))]
fn raised() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exhausted() -> io::Error {
        io::Error::from_raw_os_error(EMFILE)
    }

    #[test]
    fn connections_leave_handles_to_files() {
        let connections = |max| Handles { max }.connections_max();
        assert_eq!(connections(None), CONNECTIONS_MAX);
        assert_eq!(connections(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(connections(Some(1_024)), 256);
        assert_eq!(connections(Some(64)), 10);
        assert_eq!(connections(Some(1)), 1);
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let max = Handles::raise().max().unwrap();
        assert!(Handles::default().open().unwrap() < max);
        assert_eq!(
            rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
            Some(max)
        );
    }

    #[test]
    fn a_file_is_opened_with_a_spare_handle_where_none_is_left() {
        refill();
        let mut attempts = 0;
        let opened = with_spare(|| {
            attempts += 1;
            if attempts < 3 {
                Err(exhausted())
            } else {
                Ok(attempts)
            }
        });
        assert_eq!(opened.unwrap(), 3);
        let mut attempts = 0;
        let failed = with_spare(|| -> io::Result<()> {
            attempts += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(attempts, 1);
        let never = with_spare(|| -> io::Result<()> { Err(exhausted()) });
        assert!(is_exhausted(&never.unwrap_err()));
    }
}
