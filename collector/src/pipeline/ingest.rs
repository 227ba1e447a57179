//! The entry of the pipeline: takes a message, waits until its content is durable, and returns what was
//! accepted.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::messages;
use super::queue::{Job, Queue};
use super::{Budget, Health, IngestError, Log, Reservation, count_repairs};
use crate::codec::circuits::{MetricsBatch, decode_metrics, read_events};
use crate::codec::otlp::{Accepted, DecodeError, Limits, LogsRead, Repairs, read_logs};
use crate::codec::{Format, Signal};
use crate::counters::{Counters, Incident};
use crate::live::circuits::{CircuitSink, Kept};
use crate::model::{LogRecord, UnixNanos};
use crate::store::StoreError;
use crate::store::logs::LogStore;

/// Larger JSON is converted on a blocking thread: this much takes about a millisecond.
const INLINE_REWRITE_BYTES_MAX: usize = 64 << 10;

/// Metrics with more bytes, and logs with more decoded bytes, are read on a blocking thread: below, it takes less
/// than a millisecond.
const INLINE_DECODE_BYTES_MAX: usize = 1 << 20;

/// The entry of the pipeline; cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    pub(super) queue: Arc<Queue>,
    pub(super) budget: Budget,
    pub(super) circuits: Arc<dyn CircuitSink>,
    pub(super) logs: LogStore,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    pub(super) health: Health,
}

impl Ingest {
    /// Begins a request, which reserves memory as it grows and waits for it at most until the deadline.
    ///
    /// # Errors
    /// When the collector is stopping.
    pub fn begin(&self, deadline: Option<Instant>) -> Result<Reservation, IngestError> {
        if self.budget.is_closed() {
            return Err(IngestError::Stopping);
        }
        Ok(self.budget.begin(deadline))
    }

    /// Ingests a traces message; returns once its spans are durable.
    ///
    /// # Errors
    /// When nothing of it is stored; the error says whether sending it again may help.
    pub async fn spans(
        &self,
        format: Format,
        message: Bytes,
        mut reservation: Reservation,
    ) -> Result<Accepted, IngestError> {
        let rewritten = format.rewritten_bytes(&message);
        reservation.resize(message.len() + rewritten).await?;
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job {
            format,
            message,
            reservation,
            received: Instant::now(),
            reply,
        })?;
        // The reply is dropped if the shard dropped the job.
        answer.await.unwrap_or(Err(IngestError::ShardEnded))
    }

    /// Ingests a metrics message; returns once its circuit points are durable.
    ///
    /// # Errors
    /// When nothing of it is stored; the error says whether sending it again may help.
    pub async fn metrics(
        &self,
        format: Format,
        message: Bytes,
        mut reservation: Reservation,
    ) -> Result<Accepted, IngestError> {
        let rewritten = self.rewrite(Signal::Metrics, format, message, &mut reservation);
        let (message, repairs) = rewritten.await?;
        let (batch, replaced) = self.read_metrics(message, &mut reservation).await?;
        let stored = self.circuits.ingest_metrics(batch, UnixNanos::now());
        let repairs = repairs.and_replaced(replaced);
        let (points_not_kept, accepted) = self.record(stored.await, repairs)?;
        Ok(Accepted {
            points_not_kept,
            ..accepted
        })
    }

    /// Ingests a logs message; returns once its circuit events and its other records are durable.
    ///
    /// # Errors
    /// When nothing of it is stored; the error says whether sending it again may help.
    pub async fn logs(
        &self,
        format: Format,
        message: Bytes,
        mut reservation: Reservation,
    ) -> Result<Accepted, IngestError> {
        let rewritten = self.rewrite(Signal::Logs, format, message, &mut reservation);
        let (message, repairs) = rewritten.await?;
        let now = UnixNanos::now();
        let read = self.read_logs(message, now, &mut reservation).await?;
        let stored = self.circuits.ingest_events(read_events(&read.events), now);
        let repairs = repairs.and_replaced(read.replaced);
        let (records_not_kept, accepted) = self.record(stored.await, repairs)?;
        self.store_logs(read.records, reservation).await?;
        Ok(Accepted {
            records_not_kept,
            records_refused: read.refused,
            truncated: read.truncated,
            ..accepted
        })
    }

    /// Decodes log records, for which memory is reserved first.
    async fn read_logs(
        &self,
        message: Bytes,
        now: UnixNanos,
        reservation: &mut Reservation,
    ) -> Result<LogsRead, IngestError> {
        let decoded_bytes = messages::logs_bytes(&message)?;
        reservation.resize(message.len() + decoded_bytes).await?;
        let limits = self.limits.clone();
        let is_long =
            message.len() > INLINE_REWRITE_BYTES_MAX || decoded_bytes > INLINE_DECODE_BYTES_MAX;
        let read = move || read_logs(&message, &limits, now);
        Ok(self.off_worker(is_long, read).await??)
    }

    async fn store_logs(
        &self,
        records: Vec<LogRecord>,
        reservation: Reservation,
    ) -> Result<(), IngestError> {
        if records.is_empty() {
            return Ok(());
        }
        let logs = self.logs.clone();
        // Spawned, so that records and their memory wait for the disk even if the sender leaves.
        let appending = tokio::spawn(async move {
            let stored = logs.append(records).await;
            drop(reservation);
            stored
        });
        let stored = match appending.await {
            Ok(stored) => stored.map_err(IngestError::from),
            Err(panic) => Err(IngestError::Internal(format!("could not append: {panic}"))),
        };
        match &stored {
            Ok(()) => self.health.commit_succeeded(Log::Logs),
            Err(error) => self.health.commit_failed(Log::Logs, error),
        }
        stored
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Rejects further requests.
    pub(crate) fn refuse_new(&self) {
        self.budget.close();
    }

    /// Reports the result of storing circuits; returns how much was over the limit. Without records nothing
    /// was written, so the disk's health is unchanged.
    fn record(
        &self,
        stored: Result<Kept, StoreError>,
        repairs: Repairs,
    ) -> Result<(u64, Accepted), IngestError> {
        let not_kept = match stored {
            Ok(kept) => {
                if kept.records > 0 {
                    self.health.commit_succeeded(Log::Circuits);
                }
                kept.not_kept
            }
            Err(error) => {
                let error = IngestError::from(error);
                self.health.commit_failed(Log::Circuits, &error);
                return Err(error);
            }
        };
        count_repairs(&self.counters, &repairs);
        let accepted = Accepted {
            repairs,
            ..Accepted::default()
        };
        Ok((not_kept, accepted))
    }

    /// Converts a message to OTLP's protobuf, and reserves memory for it.
    async fn rewrite(
        &self,
        signal: Signal,
        format: Format,
        message: Bytes,
        reservation: &mut Reservation,
    ) -> Result<(Bytes, Repairs), IngestError> {
        let rewritten = format.rewritten_bytes(&message);
        reservation.resize(message.len() + rewritten).await?;
        if rewritten == 0 {
            return Ok((message, Repairs::default()));
        }
        let rewrite = move || {
            let (otlp, repairs) = format.to_otlp(signal, &message)?;
            Ok::<_, DecodeError>((Bytes::from(otlp.into_owned()), repairs))
        };
        let is_long = rewritten > INLINE_REWRITE_BYTES_MAX;
        Ok(self.off_worker(is_long, rewrite).await??)
    }

    /// Decodes metrics; returns the number of repaired strings too.
    async fn read_metrics(
        &self,
        message: Bytes,
        reservation: &mut Reservation,
    ) -> Result<(MetricsBatch, u64), IngestError> {
        let error = match self.try_metrics(message.clone(), reservation).await {
            Ok(batch) => return Ok((batch, 0)),
            Err(error) => error,
        };
        // A message is rejected for one string that is not UTF-8.
        reservation.resize(4 * message.len()).await?;
        let is_long = message.len() > INLINE_DECODE_BYTES_MAX;
        let repair = move || messages::repaired_metrics(&message);
        let (message, replaced) = self.off_worker(is_long, repair).await?.ok_or(error)?;
        let batch = self.try_metrics(message.into(), reservation).await?;
        Ok((batch, replaced))
    }

    /// Decodes metrics whose text is UTF-8.
    async fn try_metrics(
        &self,
        message: Bytes,
        reservation: &mut Reservation,
    ) -> Result<MetricsBatch, IngestError> {
        let bytes = message.len() + messages::metrics_bytes(&message);
        reservation.resize(bytes).await?;
        let is_long = message.len() > INLINE_DECODE_BYTES_MAX;
        let mapping = self.circuits.mapping();
        let decoded = self.off_worker(is_long, move || decode_metrics(&message, &mapping));
        Ok(decoded.await??)
    }

    /// Runs a step, on a blocking thread if it is long.
    async fn off_worker<T: Send + 'static>(
        &self,
        is_long: bool,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IngestError> {
        if !is_long {
            return Ok(step());
        }
        tokio::task::spawn_blocking(step).await.map_err(|panic| {
            self.counters.incidents.add(Incident::DecodePanicked, 1);
            IngestError::Internal(format!("could not decode: {panic}"))
        })
    }
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
