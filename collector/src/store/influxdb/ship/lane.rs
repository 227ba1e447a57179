//! What a writer writes from: a lane turns a part of the journal into requests, in order, and remembers how far it is.
//!
//! A lane's lines follow from the journal alone: asked again after a crash it gives the same points, and InfluxDB
//! keeps one. So a position may be saved late, never early: it is taken when a parcel is made, and saved when that
//! parcel is settled.

use crate::store::StoreError;

/// Lines for one request, at most `PARCEL_POINTS_MAX` points and about `PARCEL_BYTES_MAX` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    /// Line protocol.
    pub(crate) lines: String,
    /// Points in it.
    pub(crate) points: u64,
    /// Spans that are wholly in InfluxDB once it is written.
    pub(crate) spans: u64,
}

/// Points in one request: InfluxDB's documents advise 5,000.
pub(crate) const PARCEL_POINTS_MAX: usize = 5_000;
/// Bytes in one request: InfluxDB 3 takes 10 MiB, 1.8 takes 25 MB.
pub(crate) const PARCEL_BYTES_MAX: usize = 4 << 20;

/// A part of the journal on its way to InfluxDB.
pub(crate) trait Lane: Send + 'static {
    /// The name of its position's file, and of its figures.
    const NAME: &'static str;

    /// Returns what to write next, `None` while there is nothing; blocks the thread on files.
    fn next(&mut self, now_unix_nanos: u64) -> Result<Option<Parcel>, StoreError>;

    /// Notes that what `next` gave last is taken over: `next` goes on after it, to be ready while it is sent. It is
    /// not written yet, so nothing may be let go of: that is `settled`'s to say.
    fn advance(&mut self);

    /// Returns how far `advance` went, as JSON to be given to it at the next start.
    fn position(&self) -> serde_json::Value;

    /// Learns that everything before a position is written (or refused for good), and that the position is saved.
    fn settled(&mut self, _position: &serde_json::Value) {}
}
