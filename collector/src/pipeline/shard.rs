//! One shard: a thread that owns its log, takes requests from the line, walks them, and commits what came together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::parts::Tee;
use super::queue::{Job, Next, Queue, Reply, Worker};
use super::{Health, IngestError, LiveTap, SpanLog};
use crate::codec::otlp::{Limits, WalkReport, walk_traces};
use crate::counters::{Counters, Incident};
use crate::model::now_unix_nanos;
use crate::store::embedded::Commit;

/// A block is committed at this many spans: past it, columns compress no better.
const BLOCK_SPANS_MAX: usize = 10_000;

/// A block is committed at this many bytes, which bounds what a shard holds.
const BLOCK_BYTES_MAX: usize = 4 << 20;

/// A block is committed when its first request is this old, so that a steady stream still gets its answers.
const BLOCK_AGE_MAX: Duration = Duration::from_millis(100);

/// The thread's state.
#[derive(Debug)]
pub(super) struct Shard<L, T> {
    line: Worker,
    log: L,
    tap: T,
    limits: Limits,
    counters: Arc<Counters>,
    health: Health,
    block: Block,
    /// A commit panicked: nobody knows what the log still holds, so nothing more is promised on it.
    lost: bool,
}

/// The requests since the last commit.
#[derive(Debug, Default)]
struct Block {
    waiting: Vec<(Reply, WalkReport)>,
    spans: u64,
    first_accepted: Option<Instant>,
}

impl<L: SpanLog, T: LiveTap> Shard<L, T> {
    /// Returns a shard that takes from that line.
    pub(super) fn new(
        queue: Arc<Queue>,
        log: L,
        tap: T,
        counters: Arc<Counters>,
        health: Health,
    ) -> Self {
        Self {
            line: Worker::new(queue),
            log,
            tap,
            limits: Limits::default(),
            counters,
            health,
            block: Block::default(),
            lost: false,
        }
    }

    /// Works until the line is closed and empty; what was taken is then committed, answered and sealed.
    pub(super) fn run(mut self) {
        while !self.lost {
            let next = if self.block.is_empty() {
                self.line.next_when_idle()
            } else {
                self.line.next()
            };
            match next {
                Next::Job(job) => {
                    self.take(*job);
                    if self.block_is_full() {
                        self.commit();
                    }
                }
                Next::Nothing if self.block.is_empty() => self.maintain(),
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
            // The next start recovers what is not sealed.
            warn!(%error, "could not seal the span log");
        }
    }

    /// Walks a request into the block; a request without spans is answered at once.
    fn take(&mut self, job: Job) {
        let walked = self.walk(&job.request);
        // The bytes are shredded: make room for the next before the disk is waited for.
        drop((job.request, job.reservation));
        match walked {
            Ok(report) => {
                self.count(&report);
                if report.accepted == 0 {
                    answer(job.reply, Ok(report));
                } else {
                    self.block.add(job.reply, report, job.accepted);
                }
            }
            Err(error) => answer(job.reply, Err(error)),
        }
    }

    /// Walks a request into log and tap, all of it or nothing.
    fn walk(&mut self, request: &[u8]) -> Result<WalkReport, IngestError> {
        let walked = guarded(&self.counters, || {
            self.log.begin_request();
            self.tap.begin_request();
            let mut tee = Tee {
                first: &mut self.log,
                second: &mut self.tap,
            };
            walk_traces(request, &self.limits, now_unix_nanos(), &mut tee)
        });
        let refusal = match walked {
            Ok(Ok(report)) => return Ok(report),
            Ok(Err(malformed)) => malformed.into(),
            Err(Panicked) => IngestError::Internal(PANICKED.to_owned()),
        };
        self.log.rollback_request();
        self.tap.rollback_request();
        Err(refusal)
    }

    fn count(&self, report: &WalkReport) {
        let counters = &self.counters;
        counters
            .spans_received
            .add(report.accepted + report.rejected_total());
        for (rejection, spans) in &report.rejected {
            counters.spans_refused.add(rejection.as_str(), *spans);
        }
        counters.spans_queued.add(report.accepted);
        counters.items_truncated.add(report.truncated);
    }

    fn block_is_full(&self) -> bool {
        self.log.pending_spans() >= BLOCK_SPANS_MAX
            || self.log.pending_bytes() >= BLOCK_BYTES_MAX
            || self
                .block
                .first_accepted
                .is_some_and(|accepted| accepted.elapsed() >= BLOCK_AGE_MAX)
    }

    /// Makes the block durable and answers everyone in it; nobody is told OK before.
    fn commit(&mut self) {
        let block = std::mem::take(&mut self.block);
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
                return self.failed(block, &IngestError::ShardEnded);
            }
        }
        self.maintain();
    }

    fn committed(&mut self, block: Block, commit: Commit) {
        self.health.commit_succeeded();
        self.counters.spans_written.add(block.spans);
        self.counters.bytes_written.add(commit.bytes);
        if let Some(accepted) = block.first_accepted {
            let lag = u64::try_from(accepted.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.counters.commit_lag_nanos.store(lag, Ordering::Relaxed);
        }
        self.tap.publish(now_unix_nanos());
        for (reply, report) in block.waiting {
            answer(reply, Ok(report));
        }
    }

    fn failed(&mut self, block: Block, error: &IngestError) {
        self.health.commit_failed(error);
        error!(%error, spans = block.spans, "could not commit a block");
        self.counters.spans_refused.add("store_error", block.spans);
        for (reply, _) in block.waiting {
            answer(reply, Err(error.clone()));
        }
    }

    fn maintain(&mut self) {
        let maintained = guarded(&self.counters, || self.log.maintain(now_unix_nanos()));
        if let Ok(Err(error)) = maintained {
            self.counters.incidents.add(Incident::MaintenanceFailed, 1);
            warn!(%error, "could not maintain the span log");
        }
    }
}

impl Block {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, reply: Reply, report: WalkReport, accepted: Instant) {
        self.spans += report.accepted;
        self.first_accepted.get_or_insert(accepted);
        self.waiting.push((reply, report));
    }
}

/// That a step panicked.
struct Panicked;

/// What senders are told then.
const PANICKED: &str = "an internal error";

/// Runs a step that must not take the shard down with it; a panic is counted.
fn guarded<R>(counters: &Counters, step: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(|_payload| {
        counters.incidents.add(Incident::ShardPanicked, 1);
        Panicked
    })
}

/// Answers a sender, who may have given up: its spans are kept all the same.
fn answer(reply: Reply, outcome: Result<WalkReport, IngestError>) {
    let _gone = reply.send(outcome);
}
