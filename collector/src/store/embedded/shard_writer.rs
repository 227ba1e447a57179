//! The writer of one shard: collects spans, commits them as blocks, seals full or old segments.

use std::sync::Arc;

use tracing::warn;

use super::block::{BlockBuilder, BlockEncoder};
use super::catalog::Catalog;
use super::limits::{
    IDLE_AFTER, IDLE_SEGMENT_SPANS, REWRITE_BLOCK_BYTES, SEGMENT_AGE_MAX, SEGMENT_BYTES_MAX,
    SEGMENT_DICTIONARY_BYTES_MAX, SEGMENT_SPANS_MAX, SMALL_BLOCK_ROWS,
};
use super::segment::seal::absorb;
use super::segment::{FILE_MAGIC, OpenSegment, Segment, SegmentState};
use crate::codec::otlp::{ResourceView, ScopeView, SpanView, SpanVisitor};
use crate::counters::Incident;
use crate::log::LogFile;
use crate::model::UnixNanos;
use crate::store::StoreError;
use crate::store::hash::Seed;

/// The writer of one shard.
#[derive(Debug)]
pub struct ShardWriter {
    shard: usize,
    catalog: Arc<Catalog>,
    seed: Seed,
    builder: BlockBuilder,
    encoder: BlockEncoder,
    active: Option<Active>,
    /// When the last block was written; `None` once its buffers were released.
    last_block: Option<UnixNanos>,
}

#[derive(Debug)]
struct Active {
    file: LogFile,
    open: Arc<OpenSegment>,
    created: u64,
}

/// The result of a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Commit {
    /// Spans that are now durable and visible.
    pub spans: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// The durable log of one ingest shard.
pub trait SpanLog: SpanVisitor + Send + 'static {
    /// Starts a request; `rollback_request` undoes everything since.
    fn begin_request(&mut self);

    /// Drops every span visited since `begin_request`.
    fn rollback_request(&mut self);

    /// Returns the number of spans in the next commit.
    fn pending_spans(&self) -> usize;

    /// Returns the approximate bytes of the next commit.
    fn pending_bytes(&self) -> usize;

    /// Compresses, writes and syncs the pending spans. Once it returns, senders may be acknowledged and
    /// readers see the spans.
    ///
    /// # Errors
    ///
    /// When the disk fails: the pending spans are then dropped, because senders retry them.
    fn commit(&mut self) -> Result<Commit, StoreError>;

    /// Seals a segment that is full or old; called after commits and when idle.
    ///
    /// # Errors
    ///
    /// When the disk fails: the segment then stays readable and is sealed at the next start.
    fn maintain(&mut self, now: UnixNanos) -> Result<(), StoreError>;

    /// Commits the pending spans and seals the segment; called once at shutdown.
    ///
    /// # Errors
    ///
    /// As `commit` and `maintain`.
    fn seal(&mut self) -> Result<(), StoreError>;
}

impl ShardWriter {
    pub(crate) fn new(shard: usize, catalog: Arc<Catalog>) -> Result<Self, StoreError> {
        let seed = Seed::random();
        let encoder = BlockEncoder::new()
            .map_err(|error| StoreError::io("compress blocks for", catalog.folder(), error))?;
        Ok(Self {
            shard,
            seed,
            builder: BlockBuilder::new(seed),
            encoder,
            catalog,
            active: None,
            last_block: None,
        })
    }

    fn write_block(&mut self) -> Result<Commit, StoreError> {
        let now = UnixNanos::now();
        if self.active.is_none() {
            self.active = Some(self.begin_segment(now)?);
        }
        let rows = self.builder.len() as u64;
        let catalog = Arc::clone(&self.catalog);
        let arrival = catalog.arrival.reserve(rows, now.get());
        let active = self.active.as_mut().expect("a segment was just begun");
        // Blocks of a store that is followed are never joined, and large ones are copied.
        let is_joined = !catalog.is_followed
            && self.builder.bytes() < REWRITE_BLOCK_BYTES / 2
            && active.open.state().has_small_blocks();
        let plain_below = if is_joined { SMALL_BLOCK_ROWS } else { 0 };
        self.encoder.leave_plain_below(plain_below);
        let block = self
            .encoder
            .encode(&self.builder, arrival.first)
            .map_err(|error| {
                StoreError::io("compress a block of", &active.open.place.path, error)
            })?;
        let before = active.file.length();
        let appended = active.file.append(&block.bytes);
        let offset = match appended.and_then(|offset| active.file.sync().map(|()| offset)) {
            Ok(offset) => offset,
            Err(error) => {
                if let Err(cut) = active.file.cut(before) {
                    warn!(error = %cut, "could not take a failed block back");
                }
                return Err(error);
            }
        };
        let length = active.file.length();
        let builder = &self.builder;
        active
            .open
            .change(length, |state| absorb(state, offset, &block, builder));
        let commit = Commit {
            spans: self.builder.len() as u64,
            bytes: block.bytes.len() as u64,
        };
        if offset == FILE_MAGIC.len() as u64 {
            // A segment becomes visible with its first block.
            self.catalog.put(Segment::Open(Arc::clone(&active.open)));
        }
        let incidents = &self.catalog.counters.incidents;
        incidents.add(Incident::AttributeOverflow, self.builder.overflow_rows());
        incidents.add(Incident::DictionaryOverflow, self.builder.refused_values());
        self.builder.finish_block();
        self.last_block = Some(now);
        Ok(commit)
    }

    /// Releases block buffers after an idle period; returns whether one was just reached.
    fn release_memory(&mut self, now: UnixNanos) -> bool {
        let is_idle = |last: UnixNanos| now - last >= IDLE_AFTER;
        let is_reached = self.builder.len() == 0 && self.last_block.is_some_and(is_idle);
        if is_reached {
            self.builder.release_memory();
            self.encoder.release_memory();
            self.last_block = None;
        }
        is_reached
    }

    fn begin_segment(&self, now: UnixNanos) -> Result<Active, StoreError> {
        let place = self.catalog.place(self.shard, now);
        let created = LogFile::create(&place.path, &FILE_MAGIC).and_then(|file| {
            let reader = file.reader()?;
            Ok((file, Arc::new(reader)))
        });
        let (file, reader) = created.inspect_err(|_| self.catalog.take_back(&place))?;
        let state = SegmentState::new(self.seed);
        let length = file.length();
        Ok(Active {
            file,
            open: Arc::new(OpenSegment::new(place, reader, state, length)),
            created: now.get(),
        })
    }

    /// Abandons the segment after a disk error: committed blocks stay readable, new spans go to a new file.
    pub(super) fn abandon_segment(&mut self) {
        self.builder = BlockBuilder::new(self.seed);
        if let Some(active) = self.active.take() {
            active.open.abandon();
            if active.open.state().totals.rows == 0 {
                // No reader saw the file; without removal a full disk would collect one per attempt.
                let _ = std::fs::remove_file(&active.open.place.path);
                self.catalog.take_back(&active.open.place);
            }
        }
        self.catalog
            .counters
            .incidents
            .add(Incident::CommitFailed, 1);
    }
}

impl SpanLog for ShardWriter {
    fn begin_request(&mut self) {
        self.builder.begin_request();
    }

    fn rollback_request(&mut self) {
        self.builder.rollback_request();
    }

    fn pending_spans(&self) -> usize {
        self.builder.len()
    }

    fn pending_bytes(&self) -> usize {
        self.builder.bytes()
    }

    fn commit(&mut self) -> Result<Commit, StoreError> {
        if self.builder.len() == 0 {
            return Ok(Commit::default());
        }
        let result = self.write_block();
        if result.is_err() {
            self.abandon_segment();
        }
        result
    }

    fn maintain(&mut self, now: UnixNanos) -> Result<(), StoreError> {
        let is_idle = self.release_memory(now);
        let Some(active) = &self.active else {
            return Ok(());
        };
        let age = now.get().saturating_sub(active.created);
        let spans_max = if is_idle {
            IDLE_SEGMENT_SPANS
        } else {
            SEGMENT_SPANS_MAX
        };
        let full = active.open.state().totals.rows >= spans_max
            || active.file.length() >= SEGMENT_BYTES_MAX
            || self.builder.dictionary_bytes() >= SEGMENT_DICTIONARY_BYTES_MAX;
        // Pending spans refer to this segment's dictionaries, so it is sealed only after their commit.
        let ready = full || u128::from(age) >= SEGMENT_AGE_MAX.as_nanos();
        if ready && self.builder.len() == 0 {
            return self.seal();
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        let Some(mut active) = self.active.take() else {
            return Ok(());
        };
        self.builder = BlockBuilder::new(self.seed);
        match self.catalog.seal(&active.open, &mut active.file) {
            Ok(sealed) => {
                self.catalog.put(Segment::Sealed(Arc::new(sealed)));
                Ok(())
            }
            Err(error) => {
                active.open.abandon();
                self.catalog.counters.incidents.add(Incident::SealFailed, 1);
                Err(error)
            }
        }
    }
}

impl SpanVisitor for ShardWriter {
    fn resource(&mut self, resource: &ResourceView<'_>) {
        self.builder.resource(resource);
    }

    fn scope(&mut self, scope: &ScopeView<'_>) {
        self.builder.scope(scope);
    }

    fn span(&mut self, span: &SpanView<'_>) {
        self.builder.span(span);
    }

    const TAKES_SCOPES_AGAIN: bool = true;

    fn scope_again(&mut self, scope: &ScopeView<'_>) {
        self.builder.scope_again(scope);
    }
}
