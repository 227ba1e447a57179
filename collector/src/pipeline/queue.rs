//! The queue of requests for the shards: one FIFO for all of them.
//!
//! It is shared rather than one per shard, so that a single busy connection can use every shard, and a shard
//! waiting for its disk delays no other. But a few large blocks cost less than many small ones, so an idle
//! shard leaves a short queue to a busy one, which takes all of it after its commit. The requests'
//! reservations bound the length of the queue.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{IngestError, Reservation};
use crate::codec::Format;
use crate::codec::otlp::Accepted;
use crate::sync::Mutex;

/// How often an idle shard checks whether its segment must be sealed.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// With this many waiting bytes (three requests of 500 spans) an idle shard helps the busy one. Measured over
/// four connections: blocks of one request cost more than twice the CPU per span of larger ones.
const HELP_AT_BYTES: usize = 1 << 20;

/// After this time an idle shard helps however short the queue is: the busy one may be waiting for its disk.
const HELP_AFTER: Duration = Duration::from_millis(10);

pub(super) type Reply = oneshot::Sender<Result<Accepted, IngestError>>;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) format: Format,
    pub(super) message: Bytes,
    pub(super) reservation: Reservation,
    /// When the message was complete.
    pub(super) received: Instant,
    pub(super) reply: Reply,
}

/// The result of asking for work.
#[derive(Debug)]
pub(super) enum Next {
    Job(Box<Job>),
    /// Nothing yet: returned at once to a shard with a block, after a second to an idle one.
    Nothing,
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Box<Job>>,
    bytes: usize,
    closed: bool,
    shards: usize,
    /// Shards that took a job and have not become idle since.
    busy: usize,
}

/// The receiving side of one shard; it keeps the counts of running and busy shards.
#[derive(Debug)]
pub(super) struct Worker {
    queue: Arc<Queue>,
    busy: bool,
}

impl Queue {
    /// Fails with `Stopping` once the queue is closed.
    pub(super) fn push(&self, job: Job) -> Result<(), IngestError> {
        let mut state = self.lock();
        if state.closed {
            return Err(IngestError::Stopping);
        }
        state.bytes += job.message.len();
        state.jobs.push_back(Box::new(job));
        drop(state);
        self.arrived.notify_one();
        Ok(())
    }

    /// Rejects further requests; queued ones are still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Waits while the condition holds, at most `longest`, and not once the queue is closed.
    fn wait<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        longest: Duration,
        holds: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.arrived
            .wait_timeout_while(state, longest, |state| !state.closed && holds(state))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Returns whether an idle shard should take a job instead of leaving it to a busy one.
    fn needs_another(&self) -> bool {
        !self.jobs.is_empty() && (self.busy == 0 || self.bytes >= HELP_AT_BYTES)
    }

    fn take(&mut self) -> Next {
        match self.jobs.pop_front() {
            Some(job) => {
                self.bytes -= job.message.len();
                Next::Job(job)
            }
            None if self.closed => Next::Closed,
            None => Next::Nothing,
        }
    }
}

impl Worker {
    pub(super) fn new(queue: Arc<Queue>) -> Self {
        queue.lock().shards += 1;
        Self { queue, busy: false }
    }

    /// Takes the next job, if any, for a shard that has a block to commit.
    pub(super) fn next(&mut self) -> Next {
        self.queue.lock().take()
    }

    /// Takes the next job for an idle shard: waits for one that no busy shard will take soon.
    pub(super) fn next_when_idle(&mut self) -> Next {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        self.rest(&mut state);
        state = queue.wait(state, IDLE_TICK, |state| state.jobs.is_empty());
        state = queue.wait(state, HELP_AFTER, |state| {
            !state.jobs.is_empty() && !state.needs_another()
        });
        let next = state.take();
        if matches!(next, Next::Job(_)) {
            state.busy += 1;
            self.busy = true;
        }
        next
    }

    /// Marks this shard as idle.
    fn rest(&mut self, state: &mut State) {
        if std::mem::take(&mut self.busy) {
            state.busy -= 1;
        }
    }
}

impl Drop for Worker {
    /// When the last shard ends, the queue closes and its jobs are dropped.
    fn drop(&mut self) {
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        self.rest(&mut state);
        state.shards -= 1;
        let unserved = if state.shards == 0 {
            state.closed = true;
            std::mem::take(&mut state.jobs)
        } else {
            VecDeque::new()
        };
        drop(state);
        queue.arrived.notify_all();
        // Dropping a job drops its reply, which tells the sender that it was not stored.
        drop(unserved);
    }
}
