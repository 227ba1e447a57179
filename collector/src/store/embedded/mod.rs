//! The embedded store: columnar segments in a format of our own, written by one `ShardWriter` per core, read
//! concurrently.
//!
//! Spans come from the decoder of a request (`SpanVisitor`) and become a block at `commit`. Lookups by id use
//! blooms and trace indexes; searches use dictionaries and columns. `FORMAT.md` describes the bytes.

mod arrival;
mod block;
mod catalog;
mod damage;
mod dictionary;
pub(crate) mod fuzz;
mod groups;
mod journal;
mod limits;
mod lists;
mod open;
mod place_filter;
mod read;
mod rebuild;
mod retention;
mod sampling;
mod search;
mod segment;
mod shard_writer;
mod summary;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::TraceId;
use tokio::time::Instant;

use super::cancel::{TimeLimit, off_worker};
use super::search::deadline;
use super::{Follow, Partial, Received, ShipProgress, SpanSink, StoreError, TraceReader};
use crate::counters::Counters;
use crate::model::{TailSampling, TimeRange, Trace, TracePage, TraceQuery, UnixNanos};
pub(crate) use block::Columns;
#[cfg(test)]
pub(crate) use block::SpanCodec;
use catalog::Catalog;
pub(crate) use journal::{Journal, JournalSegment};
use read::Wanted;
pub(crate) use sampling::{Sampling, SlowRule};
use segment::Segment;
pub(crate) use segment::tokens;
pub use shard_writer::{Commit, ShardWriter, SpanLog};

/// Options of the embedded store.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The data directory; segments live under `spans/`.
    pub dir: PathBuf,
    /// Segments whose newest span arrived longer ago than this are deleted.
    pub retention: Duration,
    /// Beyond this the oldest segments are deleted.
    pub disk_budget_bytes: u64,
    /// Number of writers, one per ingest shard.
    pub shards: usize,
}

/// Opens the store, recovering after a crash, and returns its reader and one writer per shard.
///
/// # Errors
///
/// When the folder or a file in it cannot be read. Damage in files is not an error: it is repaired and
/// counted.
pub fn open(
    options: EmbeddedOptions,
    counters: Arc<Counters>,
) -> Result<(EmbeddedStore, Vec<ShardWriter>), StoreError> {
    open_followed(options, None, counters)
}

/// As `open`, for a store whose spans are also shipped.
pub(crate) fn open_followed(
    options: EmbeddedOptions,
    follow: Option<Follow>,
    counters: Arc<Counters>,
) -> Result<(EmbeddedStore, Vec<ShardWriter>), StoreError> {
    let catalog = Arc::new(Catalog::new(&options.dir, follow.is_some(), counters));
    open::load(&catalog)?;
    if let Some(follow) = &follow {
        continue_after(&follow.followed, &catalog);
    }
    let writers = (0..options.shards)
        .map(|shard| ShardWriter::new(shard, Arc::clone(&catalog)))
        .collect::<Result<_, _>>()?;
    let options = Arc::new(options);
    let store = EmbeddedStore {
        catalog,
        options,
        follow,
        sampling: None,
    };
    Ok((store, writers))
}

/// Lets a store go on after everything that was shipped or deleted: no number and no time is used again, even when no
/// segment is left.
fn continue_after(followed: &ShipProgress, catalog: &Catalog) {
    let (segment, until) = followed.position().latest();
    catalog.note_sequence(segment);
    catalog.arrival.note(until.max(followed.local_since()));
}

/// The reader of the store; cheap to clone.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    catalog: Arc<Catalog>,
    options: Arc<EmbeddedOptions>,
    follow: Option<Follow>,
    sampling: Option<Sampling>,
}

/// Size of the store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Number of segments, including open ones.
    pub segments: u64,
    /// Number of spans.
    pub spans: u64,
    /// Size on disk.
    pub bytes: u64,
    /// Start of the oldest span.
    pub oldest: Option<UnixNanos>,
}

impl EmbeddedStore {
    /// Keeps only some traces once they are old; of a store that is followed all, as followers know spans by their place in a
    /// segment.
    pub(crate) fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = (!self.catalog.is_followed).then_some(sampling);
        self
    }

    /// Returns which traces are kept once they are old; `None` if all are.
    pub fn sampling(&self) -> Option<TailSampling> {
        self.sampling.as_ref().map(|sampling| sampling.rule)
    }

    /// Deletes what is not kept of old segments, some at a time.
    ///
    /// # Errors
    /// When a file cannot be read, written or deleted.
    pub(crate) fn sample(&self, now: UnixNanos) -> Result<(), StoreError> {
        let sampling = self.sampling.as_ref();
        sampling.map_or(Ok(()), |sampling| {
            sampling::sample(&self.catalog, sampling, now)
        })
    }

    /// Returns the segments as a journal.
    pub(crate) fn journal(&self) -> Journal {
        Journal::new(Arc::clone(&self.catalog))
    }

    /// Returns the size of the store.
    pub fn stats(&self) -> StoreStats {
        retention::stats(&self.catalog)
    }

    /// Evicts cached memory that no search has used since the last call.
    pub fn release_memory(&self) {
        self.catalog.caches.sweep();
    }

    /// Deletes whole segments that are past the retention at `now` or exceed the disk budget.
    ///
    /// # Errors
    ///
    /// When a file cannot be deleted.
    pub fn enforce_retention(&self, now: UnixNanos) -> Result<(), StoreError> {
        let follow = self.follow.as_ref();
        retention::enforce(&self.catalog, &self.options, follow, now)
    }

    /// Writes filters for segments that were sealed meanwhile.
    ///
    /// # Errors
    ///
    /// When a file cannot be read, written or deleted.
    pub fn group_segments(&self) -> Result<(), StoreError> {
        self.catalog.groups.maintain(&self.catalog.snapshot())
    }

    /// Returns a trace without blocks written after `as_of`.
    pub(crate) async fn trace_as_of(
        &self,
        id: TraceId,
        as_of: UnixNanos,
        bytes_max: usize,
    ) -> Result<Option<Trace>, StoreError> {
        let wanted = Wanted {
            id,
            as_of,
            bytes_max,
        };
        self.read(move |catalog| read::trace(catalog, wanted)).await
    }

    /// As `trace_as_of`, but with the spans as received.
    pub(crate) async fn received(
        &self,
        id: TraceId,
        as_of: UnixNanos,
        bytes_max: usize,
    ) -> Result<Received, StoreError> {
        let wanted = Wanted {
            id,
            as_of,
            bytes_max,
        };
        self.read(move |catalog| read::received(catalog, wanted))
            .await
    }

    /// Returns how many unshipped spans the retention would delete at `now`.
    pub(crate) fn expired_spans(&self, now: UnixNanos) -> u64 {
        let follow = self.follow.as_ref();
        retention::expired_spans(&self.catalog, &self.options, follow, now)
    }

    pub(crate) async fn find(
        &self,
        query: TraceQuery,
        deadline: Instant,
    ) -> Result<TracePage, StoreError> {
        self.read(move |catalog| search::search(catalog, &query, deadline))
            .await
    }

    /// Passes the matching spans, of which only these columns are read, to a sink until it wants no more; the sink is made
    /// anew if a footer had to be rebuilt meanwhile. Also returns whether the time was over before.
    pub(crate) async fn pass_spans<S: SpanSink>(
        &self,
        query: TraceQuery,
        columns: Columns,
        deadline: Instant,
        sink: impl Fn() -> S + Send + 'static,
    ) -> Result<(S, bool), StoreError> {
        let limit = TimeLimit::new(move || Instant::now() > deadline);
        self.read(move |catalog| {
            let _limited = limit.enter();
            let mut sink = sink();
            match search::spans::visit(catalog, &query, &columns, &mut sink) {
                Err(StoreError::TimeOver) => Ok((sink, true)),
                done => done.map(|()| (sink, false)),
            }
        })
        .await
    }

    /// Runs a reader on a blocking thread; a second time if it met a footer that had to be rebuilt.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Catalog) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let catalog = Arc::clone(&self.catalog);
        off_worker(self.catalog.folder(), move || {
            let segments = catalog.snapshot();
            let answer = read(&catalog);
            if !segments.iter().any(Segment::is_broken) {
                return answer;
            }
            rebuild::rebuild_broken(&catalog);
            read(&catalog)
        })
        .await
    }
}

impl TraceReader for EmbeddedStore {
    async fn trace_within(
        &self,
        id: TraceId,
        bytes_max: usize,
    ) -> Result<Option<Trace>, StoreError> {
        self.trace_as_of(id, UnixNanos::MAX, bytes_max).await
    }

    async fn traces_within(
        &self,
        ids: Vec<TraceId>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Trace>>, StoreError> {
        self.read(move |catalog| read::traces(catalog, &ids, bytes_max))
            .await
    }

    async fn trace_ids_by_low_half(&self, low: u64) -> Result<Vec<TraceId>, StoreError> {
        self.read(move |catalog| read::trace_ids_by_low_half(catalog, low))
            .await
    }

    async fn search(&self, query: TraceQuery) -> Result<TracePage, StoreError> {
        self.find(query, deadline()).await
    }

    async fn services(&self, range: TimeRange) -> Result<Partial<Vec<String>>, StoreError> {
        let services = self.read(move |catalog| read::services(catalog, range));
        Ok(services.await?.into())
    }

    async fn operations(
        &self,
        service: String,
        range: TimeRange,
    ) -> Result<Partial<Vec<String>>, StoreError> {
        let operations = self.read(move |catalog| read::operations(catalog, &service, range));
        Ok(operations.await?.into())
    }
}
