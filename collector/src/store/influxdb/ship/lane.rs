//! The source of a writer's batches: a lane turns a part of the journal into lines, in order, and knows its
//! position.
//!
//! A lane's lines depend on the journal alone: after a crash it produces the same points again, and InfluxDB
//! keeps one of them. So a position may be saved late but never early: only once everything before it is
//! acknowledged.

use crate::model::UnixNanos;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// Lines of one request, at most `BATCH_POINTS_MAX` points and about `BATCH_BYTES_MAX` bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) lines: String,
    pub(crate) points: u64,
    /// Spans that are complete in InfluxDB once this is written.
    pub(crate) spans: u64,
    /// Log records that are.
    pub(crate) log_records: u64,
}

/// Points in one request: InfluxDB's documentation recommends 5,000.
pub(crate) const BATCH_POINTS_MAX: usize = 5_000;
/// Bytes in one request: InfluxDB 3 accepts 10 MiB, 1.8 accepts 25 MB.
pub(crate) const BATCH_BYTES_MAX: usize = 4 << 20;

/// A part of the journal to be shipped to InfluxDB.
pub(crate) trait Lane: Send + 'static {
    /// The lane's name in figures and in the name of its position file.
    const NAME: &'static str;

    type Position: Serialize + DeserializeOwned + Clone + Send + std::fmt::Debug;

    /// Returns the next batch and advances the position; `None` if there is none. Reads files, so it blocks
    /// the thread.
    fn next(&mut self, now: UnixNanos) -> Result<Option<Batch>, StoreError>;

    fn position(&self) -> Self::Position;

    /// Called once everything before a position is written or dropped and the position is saved.
    fn acknowledged(&mut self, _position: Self::Position) {}
}
