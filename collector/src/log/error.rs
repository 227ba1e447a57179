//! Why a log or a store could not do what it was asked.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// Why a store could not do what it was asked. Cheap to clone: every caller that waited for a write gets its error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("could not {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: String,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A file holds what no version of this program writes.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A server that stores for us did not do what it was asked.
    #[error("could not {action} {url}: {problem}")]
    Remote {
        /// What was being done.
        action: &'static str,
        /// Its address.
        url: String,
        /// The server's or the network's error.
        problem: String,
    },
    /// The time of a question is over.
    #[error("the store took too long to answer")]
    TimeOver,
    /// The caller no longer waits for the answer.
    #[error("the caller no longer waits for the answer")]
    Cancelled,
}

impl StoreError {
    /// Makes the error of a file operation.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.display().to_string(),
            source: Arc::new(source),
        }
    }

    /// Makes the error of a file that holds what no version of this program writes.
    pub(crate) fn damaged(path: &Path, what: &str) -> Self {
        Self::Damaged {
            path: path.display().to_string(),
            what: what.to_owned(),
        }
    }

    /// Returns whether something else stands under a file's name: a folder, a FIFO, a device.
    pub(crate) fn is_no_file(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::InvalidInput)
    }

    /// Returns whether the disk, or the quota on it, is full.
    pub fn is_disk_full(&self) -> bool {
        let is_full = |kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        matches!(self, Self::Io { source, .. } if is_full(source.kind()))
    }
}
