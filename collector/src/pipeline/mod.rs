//! From a request's bytes to durable spans and live figures: a bounded queue, one shard per core, group commit.
//!
//! Receivers hand over inflated protobuf bytes with the `Reservation` that accounts for them. A shard (a plain
//! thread that owns its segment) walks them once into the store and the live figures, commits what came together,
//! and only then answers. Metrics and logs take the short way to the circuits.

mod error;
mod health;
mod ingest;
mod messages;
mod parts;
mod queue;
mod reservation;
mod shard;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::JoinHandle;

pub use error::IngestError;
pub use health::Health;
pub use ingest::Ingest;
pub(crate) use parts::{CircuitSink, LiveTap, SpanLog};
pub(crate) use reservation::{Budget, Patience, Reservation};

use crate::counters::Counters;
use queue::Queue;
use shard::Shard;

/// The running shards; dropped without `stop`, they finish what waits on their own.
#[derive(Debug)]
pub(crate) struct Pipeline {
    ingest: Ingest,
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Starts one thread per log.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<L: SpanLog, T: LiveTap>(
        shards: impl IntoIterator<Item = (L, T)>,
        circuits: Arc<dyn CircuitSink>,
        queue_bytes: usize,
        counters: &Arc<Counters>,
        health: &Health,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let budget = Budget::new(queue_bytes, Arc::clone(counters));
        let threads = shards
            .into_iter()
            .enumerate()
            .map(|(index, (log, tap))| {
                let counters = Arc::clone(counters);
                let shard = Shard::new(Arc::clone(&queue), log, tap, counters, health.clone());
                std::thread::Builder::new()
                    .name(format!("ingest-{index}"))
                    .spawn(move || shard.run())
            })
            .collect::<Result<_, _>>()?;
        let ingest = Ingest::new(
            Arc::clone(&queue),
            budget,
            circuits,
            Arc::clone(counters),
            health.clone(),
        );
        Ok(Self {
            ingest,
            queue,
            threads,
        })
    }

    /// Returns the way in.
    pub(crate) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Refuses what comes from now on, commits and answers what waits, and ends the shards. Blocks.
    pub(crate) fn stop(mut self) {
        self.ingest.refuse_new();
        self.queue.close();
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("an ingest shard ended by a panic");
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.queue.close();
    }
}
