//! Where a writer gets its batches: a lane turns a part of the journal into lines, in order, and knows its position.
//!
//! A lane's lines follow from the journal alone: made again after a crash they are the same points, and InfluxDB keeps
//! one of them. So a position may be saved late, never early: only once everything before it is acknowledged.

use crate::model::UnixNanos;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// Lines for one request, at most `BATCH_POINTS_MAX` points and about `BATCH_BYTES_MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Line protocol.
    pub(crate) lines: String,
    /// Points in it.
    pub(crate) points: u64,
    /// Spans that are wholly in InfluxDB once it is written.
    pub(crate) spans: u64,
}

/// Points in one request: InfluxDB's documents advise 5,000.
pub(crate) const BATCH_POINTS_MAX: usize = 5_000;
/// Bytes in one request: InfluxDB 3 takes 10 MiB, 1.8 takes 25 MB.
pub(crate) const BATCH_BYTES_MAX: usize = 4 << 20;

/// A part of the journal on its way to InfluxDB.
pub(crate) trait Lane: Send + 'static {
    /// The name of its position's file, and of its figures.
    const NAME: &'static str;

    /// A place in the journal.
    type Position: Serialize + DeserializeOwned + Clone + Send + std::fmt::Debug;

    /// Returns the next batch and moves the position behind it; `None` while there is none. Blocks the thread on files.
    fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError>;

    /// Returns the position behind the last batch.
    fn position(&self) -> Self::Position;

    /// Notes that everything before a position is written or dropped, and that the position is saved.
    fn acknowledged(&mut self, _position: Self::Position) {}
}
