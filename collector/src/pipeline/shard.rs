//! One shard: a thread that owns its log, takes messages from the queue, walks them, and commits what arrived
//! together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::queue::{Job, Next, Queue, Reply, Worker};
use super::{Health, IngestError, Log, count_repairs};
use crate::codec::Format;
use crate::codec::otlp::{Accepted, Limits, Tee};
use crate::counters::{Counters, Incident};
use crate::live::LiveTap;
use crate::model::{UnixNanos, nanos};
use crate::store::embedded::{Commit, SpanLog};
use crate::sync::LogThrottle;

/// Spans after which a block is committed: more would not compress better.
const BLOCK_SPANS_MAX: usize = 10_000;

/// Spans below which a commit costs more than the spans in it, so that it waits for those of other senders.
const BLOCK_SPANS_SMALL: usize = 1_000;

/// How long a small block waits if the one before had several requests: their senders now send again. A sync of an SSD
/// takes about as long.
const BLOCK_WAIT: Duration = Duration::from_micros(500);

/// Bytes after which a block is committed, which bounds a shard's memory.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// Age of the first request after which a block is committed, so that a steady stream gets its answers.
const BLOCK_AGE_MAX: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Shard<L, T> {
    queue: Worker,
    log: L,
    tap: T,
    limits: Limits,
    counters: Arc<Counters>,
    health: Health,
    warnings: LogThrottle,
    block: Block,
    /// Requests in the block before.
    previous_requests: usize,
    /// Set when a commit panicked: the state of the log is unknown, so nothing more is acknowledged on it.
    lost: bool,
}

/// The requests since the last commit.
#[derive(Debug, Default)]
struct Block {
    waiting: Vec<(Reply, Accepted)>,
    spans: u64,
    first_received: Option<Instant>,
}

impl<L: SpanLog, T: LiveTap> Shard<L, T> {
    pub(super) fn new(
        queue: Arc<Queue>,
        log: L,
        tap: T,
        limits: Limits,
        counters: Arc<Counters>,
        health: Health,
    ) -> Self {
        Self {
            queue: Worker::new(queue),
            log,
            tap,
            limits,
            counters,
            health,
            warnings: LogThrottle::default(),
            block: Block::default(),
            previous_requests: 0,
            lost: false,
        }
    }

    /// Runs until the queue is closed and empty; then commits, answers and seals.
    pub(super) fn run(mut self) {
        while !self.lost {
            let next = if self.block.is_empty() {
                self.queue.next_when_idle()
            } else {
                self.queue.next()
            };
            match next {
                Next::Job(job) => {
                    self.take(*job);
                    if self.block_is_full() {
                        self.commit();
                    }
                }
                Next::Nothing if self.block.is_empty() => self.maintain(),
                Next::Nothing if self.waits_for_more() => std::thread::sleep(BLOCK_WAIT),
                Next::Nothing => self.commit(),
                Next::Closed => return self.finish(),
            }
        }
        error!("an ingest shard ended: its log panicked at a commit");
    }

    fn finish(mut self) {
        self.commit();
        let sealed = guarded(&self.counters, || self.log.seal());
        if let Ok(Err(error)) = sealed {
            // The next start recovers an unsealed segment.
            warn!(%error, "could not seal the span log");
        }
    }

    /// Walks a message into the block; one without spans is answered at once.
    fn take(&mut self, job: Job) {
        let walked = self.walk(job.format, &job.message);
        // The bytes are no longer needed: release their memory before waiting for the disk.
        drop((job.message, job.reservation));
        match walked {
            Ok(accepted) => {
                self.count(&accepted);
                if accepted.spans == 0 {
                    answer(job.reply, Ok(accepted));
                } else {
                    self.block.add(job.reply, accepted, job.received);
                }
            }
            Err(error) => answer(job.reply, Err(error)),
        }
    }

    /// Walks a message into log and tap, all of it or nothing.
    fn walk(&mut self, format: Format, message: &[u8]) -> Result<Accepted, IngestError> {
        let walked = guarded(&self.counters, || {
            self.log.begin_request();
            self.tap.begin_request();
            let mut tee = Tee(&mut self.log, &mut self.tap);
            format.walk_spans(message, &self.limits, UnixNanos::now().get(), &mut tee)
        });
        let refusal = match walked {
            Ok(Ok(accepted)) => return Ok(accepted),
            Ok(Err(malformed)) => malformed.into(),
            Err(Panicked) => IngestError::Internal(PANICKED.to_owned()),
        };
        self.log.rollback_request();
        self.tap.rollback_request();
        Err(refusal)
    }

    fn count(&self, accepted: &Accepted) {
        let counters = &self.counters;
        counters
            .spans_received
            .add(accepted.spans + accepted.rejected_total());
        for (rejection, spans) in &accepted.rejected {
            counters.spans_refused.add(rejection.as_str(), *spans);
        }
        counters.spans_queued.add(accepted.spans);
        counters.items_truncated.add(accepted.truncated);
        count_repairs(counters, &accepted.repairs);
    }

    fn block_is_full(&self) -> bool {
        self.log.pending_spans() >= BLOCK_SPANS_MAX
            || self.log.pending_bytes() >= BLOCK_BYTES_MAX
            || self
                .block
                .first_received
                .is_some_and(|received| received.elapsed() >= BLOCK_AGE_MAX)
    }

    /// Returns whether to wait for more requests, which happens once per block.
    fn waits_for_more(&mut self) -> bool {
        let is_small = self.log.pending_spans() < BLOCK_SPANS_SMALL;
        is_small && std::mem::take(&mut self.previous_requests) > 1
    }

    /// Makes the block durable, and only then answers its senders.
    fn commit(&mut self) {
        let block = std::mem::take(&mut self.block);
        self.previous_requests = block.waiting.len();
        if block.is_empty() {
            return;
        }
        let committed = guarded(&self.counters, || self.log.commit());
        self.counters.spans_queued.sub(block.spans);
        match committed {
            Ok(Ok(commit)) => self.committed(block, commit),
            Ok(Err(error)) => self.failed(block, &error.into()),
            Err(Panicked) => {
                self.lost = true;
                self.health.shard_ended();
                return self.failed(block, &IngestError::ShardEnded);
            }
        }
        self.maintain();
    }

    fn committed(&mut self, block: Block, commit: Commit) {
        self.health.commit_succeeded(Log::Spans);
        self.counters.spans_written.add(block.spans);
        self.counters.bytes_written.add(commit.bytes);
        if let Some(received) = block.first_received {
            let lag = nanos(received.elapsed());
            self.counters.commit_lag_nanos.store(lag, Ordering::Relaxed);
        }
        self.tap.publish(UnixNanos::now());
        for (reply, accepted) in block.waiting {
            answer(reply, Ok(accepted));
        }
    }

    fn failed(&mut self, block: Block, error: &IngestError) {
        self.health.commit_failed(Log::Spans, error);
        if self.warnings.is_due() {
            error!(%error, spans = block.spans, "could not commit a block");
        }
        self.counters.spans_refused.add("store_error", block.spans);
        for (reply, _) in block.waiting {
            answer(reply, Err(error.clone()));
        }
    }

    fn maintain(&mut self) {
        let maintained = guarded(&self.counters, || self.log.maintain(UnixNanos::now()));
        if let Ok(Err(error)) = maintained {
            self.counters.incidents.add(Incident::MaintenanceFailed, 1);
            if self.warnings.is_due() {
                warn!(%error, "could not maintain the span log");
            }
        }
    }
}

impl Block {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, reply: Reply, accepted: Accepted, received: Instant) {
        self.spans += accepted.spans;
        self.first_received.get_or_insert(received);
        self.waiting.push((reply, accepted));
    }
}

/// Marker error: a guarded step panicked.
struct Panicked;

/// The error text of a panic; its own message may contain data of other senders.
const PANICKED: &str = "an internal error";

/// Runs a step whose panic must not end the thread; the panic is counted.
fn guarded<R>(counters: &Counters, step: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_payload| {
        counters.incidents.add(Incident::ShardPanicked, 1);
        Panicked
    })
}

/// Answers a sender, which may have left; its spans are kept anyway.
fn answer(reply: Reply, answer: Result<Accepted, IngestError>) {
    let _gone = reply.send(answer);
}
