//! The way in: takes a request, waits until what it holds is durable, says what came of it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::messages::{self, Request};
use super::queue::{Job, Queue};
use super::{Budget, CircuitSink, Health, IngestError, Patience, Reservation};
use crate::codec::otlp::WalkReport;
use crate::counters::{Counters, Incident};
use crate::model::now_unix_nanos;
use crate::store::StoreError;

/// Metrics and logs above this, decoded, are built on a blocking thread: below, prost takes less than a millisecond.
const INLINE_DECODE_BYTES_MAX: usize = 1 << 20;

/// Takes requests in; cheap to clone.
#[derive(Clone)]
pub struct Ingest {
    queue: Arc<Queue>,
    budget: Budget,
    circuits: Arc<dyn CircuitSink>,
    counters: Arc<Counters>,
    health: Health,
}

impl Ingest {
    pub(super) fn new(
        queue: Arc<Queue>,
        budget: Budget,
        circuits: Arc<dyn CircuitSink>,
        counters: Arc<Counters>,
        health: Health,
    ) -> Self {
        Self {
            queue,
            budget,
            circuits,
            counters,
            health,
        }
    }

    /// Takes in an `ExportTraceServiceRequest` (protobuf, inflated); returns once its spans are durable.
    ///
    /// # Errors
    /// When nothing of it is stored; the error says whether sending it again may help.
    pub async fn spans(&self, request: Bytes) -> Result<WalkReport, IngestError> {
        let reservation = self.reserve(request.len()).await?;
        self.spans_reserved(request, reservation).await
    }

    /// Takes in an `ExportMetricsServiceRequest` (protobuf, inflated); returns once its circuit points are durable.
    ///
    /// # Errors
    /// When nothing of it is stored; the error says whether sending it again may help.
    pub async fn metrics(&self, request: Bytes) -> Result<(), IngestError> {
        let reservation = self.reserve(request.len()).await?;
        self.metrics_reserved(request, reservation).await
    }

    /// Takes in an `ExportLogsServiceRequest` (protobuf, inflated); returns once its circuit events are durable.
    ///
    /// # Errors
    /// When nothing of it is stored; the error says whether sending it again may help.
    pub async fn logs(&self, request: Bytes) -> Result<(), IngestError> {
        let reservation = self.reserve(request.len()).await?;
        self.logs_reserved(request, reservation).await
    }

    /// Begins a request that will grow while it is received.
    pub(crate) fn begin(&self, patience: Patience) -> Result<Reservation, IngestError> {
        if self.budget.is_closed() {
            return Err(IngestError::Stopping);
        }
        Ok(self.budget.begin(patience))
    }

    /// Takes in spans whose bytes are accounted for.
    pub(crate) async fn spans_reserved(
        &self,
        request: Bytes,
        reservation: Reservation,
    ) -> Result<WalkReport, IngestError> {
        let (reply, answer) = oneshot::channel();
        self.queue.push(Job {
            request,
            reservation,
            accepted: Instant::now(),
            reply,
        })?;
        answer.await.unwrap_or(Err(IngestError::ShardEnded))
    }

    /// Takes in metrics whose bytes are accounted for.
    pub(crate) async fn metrics_reserved(
        &self,
        request: Bytes,
        mut reservation: Reservation,
    ) -> Result<(), IngestError> {
        let decoded = self.decode(request, &mut reservation).await?;
        self.record(self.circuits.metrics(decoded, now_unix_nanos()).await)
    }

    /// Takes in log records whose bytes are accounted for.
    pub(crate) async fn logs_reserved(
        &self,
        request: Bytes,
        mut reservation: Reservation,
    ) -> Result<(), IngestError> {
        let decoded = self.decode(request, &mut reservation).await?;
        self.record(self.circuits.logs(decoded, now_unix_nanos()).await)
    }

    /// Reports how the circuits stored a request; without records nothing was written, which says nothing of the disk.
    fn record(&self, stored: Result<usize, StoreError>) -> Result<(), IngestError> {
        match stored {
            Ok(0) => Ok(()),
            Ok(_) => {
                self.health.commit_succeeded();
                Ok(())
            }
            Err(error) => {
                let error = IngestError::from(error);
                self.health.commit_failed(&error);
                Err(error)
            }
        }
    }

    /// Refuses what comes from now on.
    pub(crate) fn refuse_new(&self) {
        self.budget.close();
    }

    async fn reserve(&self, bytes: usize) -> Result<Reservation, IngestError> {
        let mut reservation = self.begin(Patience::until(None))?;
        reservation.resize(bytes).await?;
        Ok(reservation)
    }

    /// Decodes with prost, whose structs are many times larger than their bytes: their estimated size is reserved too.
    async fn decode<R: Request>(
        &self,
        request: Bytes,
        reservation: &mut Reservation,
    ) -> Result<R, IngestError> {
        let decoded_bytes = messages::decoded_bytes::<R>(&request)?;
        reservation.resize(request.len() + decoded_bytes).await?;
        if decoded_bytes <= INLINE_DECODE_BYTES_MAX {
            return Ok(messages::decode(&request)?);
        }
        let decoded = tokio::task::spawn_blocking(move || messages::decode(&request)).await;
        let decoded = decoded.map_err(|panic| {
            self.counters.incidents.add(Incident::DecodePanicked, 1);
            IngestError::Internal(format!("could not decode: {panic}"))
        })?;
        Ok(decoded?)
    }
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
