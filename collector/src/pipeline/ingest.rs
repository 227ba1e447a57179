//! The entry of the pipeline: takes a message, waits until its content is durable, and returns what was
//! accepted.

use std::sync::Arc;

use bytes::Bytes;
use fusebox::semconv;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::messages::{self, Request};
use super::queue::{Job, Queue};
use super::{Budget, Health, IngestError, Log, Reservation, count_repairs};
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
        let decoded = self.decode(format, message, &mut reservation).await?;
        let circuits = &self.circuits;
        let stored = circuits.ingest_metrics(decoded.request, UnixNanos::now());
        let (points_not_kept, accepted) = self.record(stored.await, decoded.repairs)?;
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
        let decoded = self.decode(format, message, &mut reservation).await?;
        let now = UnixNanos::now();
        let read = self.read_logs(&decoded, now).await?;
        let stored = self.circuits.ingest_logs(decoded.request, now).await;
        let (records_not_kept, accepted) = self.record(stored, decoded.repairs)?;
        self.store_logs(read.records, reservation).await?;
        Ok(Accepted {
            records_not_kept,
            records_refused: read.refused,
            truncated: read.truncated,
            ..accepted
        })
    }

    /// Decodes the log records of a request that was already decoded for the circuits.
    async fn read_logs<R>(
        &self,
        decoded: &Decoded<R>,
        now: UnixNanos,
    ) -> Result<LogsRead, IngestError> {
        let (message, limits) = (decoded.message.clone(), self.limits.clone());
        let is_long = message.len() > INLINE_REWRITE_BYTES_MAX;
        let read = move || read_logs(&message, &limits, now);
        Ok(self.off_worker(is_long, read).await??)
    }

    /// Stores log records, except circuit events, which the circuits store.
    async fn store_logs(
        &self,
        mut records: Vec<LogRecord>,
        reservation: Reservation,
    ) -> Result<(), IngestError> {
        let events = [
            semconv::EVENT_TRANSITION,
            semconv::EVENT_SETTINGS,
            semconv::EVENT_ENDED,
        ];
        records.retain(|record| !events.contains(&record.event()));
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

    /// Decodes to structs that are many times larger than their bytes, so their estimated size is reserved too.
    async fn decode<R: Request>(
        &self,
        format: Format,
        message: Bytes,
        reservation: &mut Reservation,
    ) -> Result<Decoded<R>, IngestError> {
        let rewritten = format.rewritten_bytes(&message);
        reservation.resize(message.len() + rewritten).await?;
        let (message, mut repairs) = match rewritten {
            0 => (message, Repairs::default()),
            _ => {
                let rewrite = move || {
                    let (otlp, repairs) = format.to_otlp(R::SIGNAL, &message)?;
                    Ok::<_, DecodeError>((Bytes::from(otlp.into_owned()), repairs))
                };
                let is_long = rewritten > INLINE_REWRITE_BYTES_MAX;
                self.off_worker(is_long, rewrite).await??
            }
        };
        match self.build(message.clone(), reservation).await {
            Ok(request) => Ok(Decoded {
                request,
                message,
                repairs,
            }),
            Err(error) => {
                // A message is rejected for one string that is not UTF-8.
                reservation.resize(4 * message.len()).await?;
                let is_long = message.len() > INLINE_DECODE_BYTES_MAX;
                let repair = move || messages::repaired::<R>(&message);
                let (message, replaced) = self.off_worker(is_long, repair).await?.ok_or(error)?;
                repairs.replaced += replaced;
                let message = Bytes::from(message);
                let request = self.build(message.clone(), reservation).await?;
                Ok(Decoded {
                    request,
                    message,
                    repairs,
                })
            }
        }
    }

    /// Builds the structs of a protobuf message.
    async fn build<R: Request>(
        &self,
        message: Bytes,
        reservation: &mut Reservation,
    ) -> Result<R, IngestError> {
        let decoded_bytes = messages::decoded_bytes::<R>(&message)?;
        // Log records are built beside the request that they come from.
        let (copies, to_read) = match R::SIGNAL {
            Signal::Logs => (2, decoded_bytes),
            _ => (1, message.len()),
        };
        let bytes = message.len() + copies * decoded_bytes;
        reservation.resize(bytes).await?;
        let is_long = to_read > INLINE_DECODE_BYTES_MAX;
        let mapping = self.circuits.mapping();
        let decoded = self.off_worker(is_long, move || R::read(&message, &mapping));
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

/// A decoded request, and its protobuf with valid UTF-8.
struct Decoded<R> {
    request: R,
    message: Bytes,
    repairs: Repairs,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
