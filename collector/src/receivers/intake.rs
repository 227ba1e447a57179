//! The common path of all receivers: check the token or origin, read and inflate within limits, pass on,
//! count.

use std::sync::Arc;

use bytes::Bytes;
use http::request;
use tokio::time::Instant;

use super::auth::{Auth, Denied, Role, Roles};
use super::body::{self, LengthHint, RequestBody};
use super::cors::Cors;
use super::decompress::{Encoding, Inflater};
use super::held::Held;
use super::refusal::Refusal;
use crate::codec::otlp::Accepted;
use crate::codec::{Format, Signal};
use crate::counters::Counters;
use crate::live::circuits::Control;
use crate::live::registry::Registry;
use crate::pipeline::{Ingest, Reservation};

/// The common path of all receivers into the pipeline; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) ingest: Ingest,
    pub(crate) counters: Arc<Counters>,
    pub(crate) auth: Auth,
    pub(crate) body_bytes_max: usize,
    pub(crate) cors: Cors,
    pub(crate) control: Control,
    pub(crate) registry: Registry,
    pub(crate) held: Held,
}

impl Intake {
    /// Counts the request; the returned `Tally` must be settled with its outcome.
    pub(crate) fn tally(&self) -> Tally {
        self.counters.requests_received.add(1);
        Tally {
            counters: Arc::clone(&self.counters),
            settled: false,
        }
    }

    /// Checks the token if one is required, else that no page of a disallowed origin sends the request.
    pub(crate) async fn authorize(&self, head: &request::Parts) -> Result<(), Refusal> {
        // Foreign pages do not have the token; and proxies that add it pass on pages' requests with their
        // origin.
        if !self.auth.requires_token() && self.cors.is_foreign(&head.headers) {
            self.auth.turn_away(&head.extensions, Denied::Origin);
            return Err(Refusal::Origin);
        }
        let needed = Roles::of(&[Role::Send]);
        let admitted = self.auth.admit(&head.headers, &head.extensions, needed);
        admitted.await.map_err(|denied| match denied {
            Denied::Role(_) => Refusal::Forbidden,
            _ => Refusal::Unauthenticated,
        })
    }

    /// Marks the connection of a health check as authenticated if no token is required: balancers probe on
    /// one that stays open.
    pub(crate) fn probed(&self, head: &request::Parts) {
        self.auth.probed(&head.extensions);
    }

    /// Begins to account for the memory of a request.
    pub(crate) fn begin(&self, deadline: Option<Instant>) -> Result<Reservation, Refusal> {
        Ok(self.ingest.begin(deadline)?)
    }

    /// Reads a body without inflating it.
    pub(crate) async fn read<B: RequestBody>(
        &self,
        body: &mut B,
        hint: LengthHint,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        let received = body::collect(body, self.body_bytes_max, hint, reservation).await?;
        self.counters.bytes_received.add(received.len() as u64);
        Ok(received)
    }

    /// Inflates a body step by step: each step is accounted for, and other tasks run between the steps.
    pub(crate) async fn inflate(
        &self,
        body: Bytes,
        encoding: Encoding,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        if encoding == Encoding::Identity {
            return Ok(body);
        }
        let compressed = body.len();
        let mut inflater = Inflater::new(body, encoding, self.body_bytes_max)?;
        while inflater.step()? {
            reservation.resize(compressed + inflater.capacity()).await?;
            tokio::task::yield_now().await;
        }
        let inflated = inflater.finish();
        reservation.resize(inflated.len()).await?;
        Ok(inflated)
    }

    /// Passes a complete message to the pipeline and waits until it is durable.
    pub(crate) async fn accept(
        &self,
        signal: Signal,
        format: Format,
        message: Bytes,
        reservation: Reservation,
    ) -> Result<Accepted, Refusal> {
        let ingest = &self.ingest;
        Ok(match signal {
            Signal::Traces => ingest.spans(format, message, reservation).await?,
            Signal::Metrics => ingest.metrics(format, message, reservation).await?,
            Signal::Logs => ingest.logs(format, message, reservation).await?,
        })
    }
}

/// Counts a request exactly once: as accepted, rejected by reason, or abandoned by its sender.
#[derive(Debug)]
pub(crate) struct Tally {
    counters: Arc<Counters>,
    settled: bool,
}

impl Tally {
    pub(crate) fn settle<T>(mut self, outcome: &Result<T, Refusal>) {
        self.settled = true;
        match outcome {
            Ok(_) => self.counters.requests_accepted.add(1),
            Err(refusal) => self.counters.requests_refused.add(refusal.reason(), 1),
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.settled {
            self.counters.requests_refused.add("abandoned", 1);
        }
    }
}
