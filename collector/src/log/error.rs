//! Errors of logs and stores.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// Errors of logs and stores. Cheap to clone: every caller that waits for a group commit gets its error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// The action that failed.
        action: &'static str,
        /// The file.
        path: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A file has contents that no version of this program writes.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A remote store failed.
    #[error("could not {action} {url}: {problem}")]
    Remote {
        /// The action that failed.
        action: &'static str,
        /// The server's URL.
        url: String,
        /// The server's or the network's error.
        problem: String,
    },
    /// The time of a query is over.
    #[error("the store took too long to answer")]
    TimeOver,
    /// The caller no longer waits.
    #[error("the caller no longer waits for the answer")]
    Cancelled,
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.display().to_string(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged {
            path: path.display().to_string(),
            what: what.to_owned(),
        }
    }

    /// Returns whether the name belongs to something other than a file: a folder, a FIFO, a device.
    pub(crate) fn is_no_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::InvalidInput)
    }

    /// Returns whether the disk, or the quota on it, is full.
    pub fn is_disk_full(&self) -> bool {
        let is_full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        matches!(self, Self::Io { source, .. } if is_full(source.kind()))
    }
}
