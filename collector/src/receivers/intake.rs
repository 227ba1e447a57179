//! What both OTLP receivers do alike: check the token, read and inflate within bounds, hand over, count.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use super::auth::Auth;
use super::body::{self, LengthHint};
use super::decompress::{Encoding, Inflater};
use super::refusal::Refusal;
use super::signal::{Signal, Taken};
use crate::codec::otlp::{DecodeError, json};
use crate::counters::{Counters, Incident};
use crate::pipeline::{Ingest, Patience, Reservation};

/// JSON above this is turned into protobuf on a blocking thread: it takes about a millisecond.
const INLINE_JSON_BYTES_MAX: usize = 64 << 10;

/// What reading JSON holds per byte of it: the text, and the protobuf, which is never larger.
const JSON_GROWTH: usize = 2;

/// The way from a receiver into the pipeline; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Intake {
    pub(crate) ingest: Ingest,
    pub(crate) counters: Arc<Counters>,
    pub(crate) auth: Auth,
    pub(crate) body_bytes_max: usize,
}

impl Intake {
    /// Counts a request that begins; what becomes of it must be told to the tally.
    pub(crate) fn tally(&self) -> Tally {
        self.counters.requests_received.add(1);
        Tally {
            counters: Arc::clone(&self.counters),
            settled: false,
        }
    }

    /// Checks the token, if one is required.
    pub(crate) fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.auth.permits(headers) {
            true => Ok(()),
            false => Err(Refusal::Unauthenticated),
        }
    }

    /// Begins to account for a request.
    pub(crate) fn begin(&self, patience: Patience) -> Result<Reservation, Refusal> {
        Ok(self.ingest.begin(patience)?)
    }

    /// Reads a body as it was sent.
    pub(crate) async fn read<B>(
        &self,
        body: &mut B,
        hint: LengthHint,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let received = body::collect(body, self.body_bytes_max, hint, reservation).await?;
        self.counters.bytes_received.add(received.len() as u64);
        Ok(received)
    }

    /// Inflates a body, step by step: each step is accounted for, and other requests get their turn between them.
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

    /// Turns OTLP JSON into protobuf.
    pub(crate) async fn transcode(
        &self,
        signal: Signal,
        text: Bytes,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        reservation.resize(text.len() * JSON_GROWTH).await?;
        let transcoded = if text.len() <= INLINE_JSON_BYTES_MAX {
            transcode(signal, &text)
        } else {
            tokio::task::spawn_blocking(move || transcode(signal, &text))
                .await
                .map_err(|panic| {
                    self.counters.incidents.add(Incident::DecodePanicked, 1);
                    Refusal::Internal(format!("could not read JSON: {panic}"))
                })?
        };
        let message = transcoded.map_err(|error| Refusal::Malformed(error.to_string()))?;
        reservation.resize(message.len()).await?;
        Ok(Bytes::from(message))
    }

    /// Hands over a whole request and waits until it is durable.
    pub(crate) async fn take(
        &self,
        signal: Signal,
        request: Bytes,
        reservation: Reservation,
    ) -> Result<Taken, Refusal> {
        let ingest = &self.ingest;
        match signal {
            Signal::Traces => {
                let report = ingest.spans_reserved(request, reservation).await?;
                return Ok(Taken::of_walk(&report));
            }
            Signal::Metrics => ingest.metrics_reserved(request, reservation).await?,
            Signal::Logs => ingest.logs_reserved(request, reservation).await?,
        }
        Ok(Taken::all(signal))
    }
}

fn transcode(signal: Signal, text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    match signal {
        Signal::Traces => json::traces_to_protobuf(text),
        Signal::Metrics => json::metrics_to_protobuf(text),
        Signal::Logs => json::logs_to_protobuf(text),
    }
}

/// Makes sure that every request is counted once: accepted, refused by reason, or given up by its sender.
#[derive(Debug)]
pub(crate) struct Tally {
    counters: Arc<Counters>,
    settled: bool,
}

impl Tally {
    /// Counts what became of it.
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
