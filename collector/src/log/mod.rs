//! The append-only log behind spans, circuit series and log records: files of checksummed blocks that survive
//! a crash.
//!
//! A log has a folder per day with append-only files. The content and header of a block are up to its codec
//! (`store::embedded::block`, `store::series::block`, `store::logs::block`); appending, recovery, damage,
//! retention and positions are implemented here once for all logs.

mod commit;
mod damage;
mod day;
mod disk;
mod error;
mod file;
mod position;
mod retention;
mod scan;
mod stretch;
#[cfg(test)]
mod tests;

pub(crate) use commit::Committer;
pub(crate) use damage::Damage;
pub(crate) use day::Day;
#[cfg(test)]
pub(crate) use disk::faults::{Fault, FaultyDisk};
pub use error::StoreError;
pub(crate) use file::LogFile;
pub(crate) use position::{Offset, Position};
pub(crate) use retention::{Deletions, Reason, Retention, is_older};
pub(crate) use scan::{Block, BlockCodec, Scan, behind_record, blocks, read, scan};
pub(crate) use stretch::{Opened, Stretch};
