//! From a request's bytes to durable spans and live figures: a bounded queue, one shard per core, group
//! commit.
//!
//! Receivers pass an inflated message, its format and the `Reservation` that accounts for its memory. A shard
//! (a plain thread that owns its segment) walks a traces message once, into the store and the live figures,
//! commits what arrived together, and only then replies. Metrics and logs bypass the queue: they are few and
//! are decoded with prost, so they go straight to the circuits and the log store, which have logs of their
//! own.

mod error;
pub(crate) mod fuzz;
mod health;
mod ingest;
mod messages;
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
pub(crate) use health::Log;
pub use ingest::Ingest;
pub(crate) use reservation::Budget;
pub use reservation::Reservation;

use crate::codec::otlp::{Limits, Repairs};
use crate::counters::Counters;
use crate::live::LiveTap;
use crate::live::circuits::CircuitSink;
use crate::store::embedded::SpanLog;
use crate::store::logs::LogStore;
use queue::Queue;
use shard::Shard;

fn count_repairs(counters: &Counters, repairs: &Repairs) {
    counters.texts_replaced.add(repairs.replaced);
    counters.values_left_out.add(repairs.left_out);
    let is_empty = repairs.empty.is_some();
    counters.messages_empty.add(u64::from(is_empty));
}

#[derive(Debug, Clone)]
pub(crate) struct PipelineOptions {
    /// Total bytes of requests while they are received, inflated, or waiting for a shard.
    pub(crate) queue_bytes: usize,
    pub(crate) limits: Limits,
}

/// The running shards; if dropped without `stop`, they still finish the waiting requests.
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
    /// When a thread cannot be started.
    pub(crate) fn start<L: SpanLog, T: LiveTap>(
        shards: impl IntoIterator<Item = (L, T)>,
        (circuits, logs): (Arc<dyn CircuitSink>, LogStore),
        options: &PipelineOptions,
        counters: &Arc<Counters>,
        health: &Health,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let budget = Budget::new(options.queue_bytes, Arc::clone(counters));
        let threads = shards
            .into_iter()
            .enumerate()
            .map(|(index, (log, tap))| {
                let counters = Arc::clone(counters);
                let limits = options.limits.clone();
                let shard = Shard::new(
                    Arc::clone(&queue),
                    log,
                    tap,
                    limits,
                    counters,
                    health.clone(),
                );
                std::thread::Builder::new()
                    .name(format!("ingest-{index}"))
                    .spawn(move || shard.run())
            })
            .collect::<Result<_, _>>()?;
        let ingest = Ingest {
            queue: Arc::clone(&queue),
            budget,
            circuits,
            logs,
            limits: options.limits.clone(),
            counters: Arc::clone(counters),
            health: health.clone(),
        };
        Ok(Self {
            ingest,
            queue,
            threads,
        })
    }

    pub(crate) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Rejects further requests, commits and answers waiting ones, and ends the shards. Blocks.
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
