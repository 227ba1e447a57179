//! Requests that wait for a shard: one line for all shards, first in, first out.
//!
//! One shared line rather than one per shard: whichever shard is free takes the next request, so two shards share
//! the work of a single busy connection, and a shard that waits for its disk holds up nobody.
//! Its length is bounded by the reservation that every request brings along.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{IngestError, Reservation};
use crate::codec::otlp::WalkReport;

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
    /// Nothing within the time it was ready to wait.
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
    closed: bool,
    /// Shards that take from the line.
    shards: usize,
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
        line.jobs.push_back(Box::new(job));
        drop(line);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes the first in line, waiting that long for one to come.
    pub(super) fn next(&self, wait: Duration) -> Next {
        let mut line = self.lock();
        if line.jobs.is_empty() && !line.closed && !wait.is_zero() {
            line = self
                .arrived
                .wait_timeout_while(line, wait, |line| line.jobs.is_empty() && !line.closed)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        match line.jobs.pop_front() {
            Some(job) => Next::Job(job),
            None if line.closed => Next::Closed,
            None => Next::Nothing,
        }
    }

    /// Takes no more; what is in line is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Counts a shard that will take from the line.
    pub(super) fn join(&self) {
        self.lock().shards += 1;
    }

    /// Counts a shard that is gone; with the last one, what is in line is dropped and nothing gets in any more.
    pub(super) fn leave(&self) {
        let mut line = self.lock();
        line.shards -= 1;
        if line.shards == 0 {
            line.closed = true;
            // Dropping a job tells its sender that it was not stored.
            let unserved = std::mem::take(&mut line.jobs);
            drop(line);
            drop(unserved);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
