//! Requests that wait for a shard: one line for all shards, first in, first out.
//!
//! One shared line rather than one per shard: a single busy connection can use every shard, and a shard that waits for
//! its disk holds up nobody. But few large blocks cost less than many small ones, so an idle shard leaves a short line
//! to the shard that is at work: that one takes all of it after its commit. Its length is bounded by the reservation
//! that every request brings along.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{IngestError, Reservation};
use crate::codec::otlp::WalkReport;

/// How often an idle shard gets to look whether its segment is old enough to be sealed.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// At this many waiting bytes (three requests of 500 spans) an idle shard helps the one at work.
/// Measured over four connections: blocks of one request cost more than twice the CPU a span of larger ones.
const HELP_AT_BYTES: usize = 1 << 20;

/// After this long an idle shard helps however short the line is: the other may be waiting for its disk.
const HELP_AFTER: Duration = Duration::from_millis(10);

/// Where the answer to a request goes.
pub(super) type Reply = oneshot::Sender<Result<WalkReport, IngestError>>;

/// A trace request on its way to a shard.
#[derive(Debug)]
pub(super) struct Job {
    /// The protobuf bytes.
    pub(super) request: Bytes,
    /// What they count for while they are held.
    pub(super) reservation: Reservation,
    /// When they were complete.
    pub(super) accepted: Instant,
    /// Who waits.
    pub(super) reply: Reply,
}

/// What a shard gets when it asks for work.
#[derive(Debug)]
pub(super) enum Next {
    /// A request.
    Job(Box<Job>),
    /// Nothing: a shard with a block has no reason to wait, an idle one has waited for a second.
    Nothing,
    /// Nothing, and nothing will come any more.
    Closed,
}

/// The line.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct Line {
    jobs: VecDeque<Box<Job>>,
    /// The bytes of their requests.
    bytes: usize,
    closed: bool,
    /// Shards that take from the line.
    shards: usize,
    /// Those that took something and have not come back idle.
    at_work: usize,
}

/// A shard's place at the line; the line knows when it is gone.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Arc<Queue>,
    at_work: bool,
}

impl Queue {
    /// Puts a request in line.
    ///
    /// # Errors
    /// `Stopping` once the line is closed.
    pub(super) fn push(&self, job: Job) -> Result<(), IngestError> {
        let mut line = self.lock();
        if line.closed {
            return Err(IngestError::Stopping);
        }
        line.bytes += job.request.len();
        line.jobs.push_back(Box::new(job));
        drop(line);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes no more; what is in line is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waits while that holds, so long at most, and not once the line is closed.
    fn wait<'a>(
        &'a self,
        line: MutexGuard<'a, Line>,
        longest: Duration,
        holds: impl Fn(&Line) -> bool,
    ) -> MutexGuard<'a, Line> {
        self.arrived
            .wait_timeout_while(line, longest, |line| !line.closed && holds(line))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    /// Returns whether an idle shard should take from the line rather than leave it to who is at work.
    fn needs_another(&self) -> bool {
        !self.jobs.is_empty() && (self.at_work == 0 || self.bytes >= HELP_AT_BYTES)
    }

    fn take(&mut self) -> Next {
        match self.jobs.pop_front() {
            Some(job) => {
                self.bytes -= job.request.len();
                Next::Job(job)
            }
            None if self.closed => Next::Closed,
            None => Next::Nothing,
        }
    }
}

impl Worker {
    /// Stands at that line.
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        queue.lock().shards += 1;
        Self {
            queue,
            at_work: false,
        }
    }

    /// Takes what comes next for a shard that has a block to commit: at once, or nothing.
    pub(super) fn next(&mut self) -> Next {
        self.queue.lock().take()
    }

    /// Takes what comes next for a shard that has nothing to do: waits for a request that no other will take soon.
    pub(super) fn next_when_idle(&mut self) -> Next {
        let queue = Arc::clone(&self.queue);
        let mut line = queue.lock();
        self.rest(&mut line);
        line = queue.wait(line, IDLE_TICK, |line| line.jobs.is_empty());
        line = queue.wait(line, HELP_AFTER, |line| {
            !line.jobs.is_empty() && !line.needs_another()
        });
        let next = line.take();
        if matches!(next, Next::Job(_)) {
            line.at_work += 1;
            self.at_work = true;
        }
        next
    }

    /// Says that it is no longer at work.
    fn rest(&mut self, line: &mut Line) {
        if std::mem::take(&mut self.at_work) {
            line.at_work -= 1;
        }
    }
}

impl Drop for Worker {
    /// With the last shard gone, what is in line is dropped and nothing gets in any more.
    fn drop(&mut self) {
        let queue = Arc::clone(&self.queue);
        let mut line = queue.lock();
        self.rest(&mut line);
        line.shards -= 1;
        let unserved = if line.shards == 0 {
            line.closed = true;
            std::mem::take(&mut line.jobs)
        } else {
            VecDeque::new()
        };
        drop(line);
        queue.arrived.notify_all();
        // Dropping a job tells its sender that it was not stored.
        drop(unserved);
    }
}
